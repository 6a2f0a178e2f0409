"""What users of scikit-learn expect around an estimator: routing, devices, its picture in a notebook."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from galatune import GalaClassifier, GalaRegressor
from galatune.tabular.parameters import chosen_device

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"hidden_layer_sizes": (8,), "n_members": 2, "max_iter": 2, "random_state": 0}


def points(n: int = 90) -> tuple[pd.DataFrame, np.ndarray]:
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(n, 2)), columns=["a", "b"])
    return X, (X["a"] > 0).to_numpy().astype(int)


def test_weights_are_routed_through_a_search_and_a_pipeline() -> None:
    X, y = points()
    weight = np.arange(90) % 2
    with sklearn.config_context(enable_metadata_routing=True):
        model = GalaClassifier(**QUICK).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        scores = cross_validate(pipeline, X, y, params={"sample_weight": weight}, cv=3, error_score="raise")
        weighed = pipeline.fit(X, y, sample_weight=weight)
        kept = make_pipeline(StandardScaler().fit(X), GalaClassifier(**QUICK))
        alone = kept[-1].fit(kept[0].transform(X)[weight == 1], y[weight == 1])
    assert np.isfinite(scores["test_score"]).all()
    transformed = weighed[0].transform(X)
    np.testing.assert_array_equal(weighed[-1].predict_proba(transformed), alone.predict_proba(transformed))


def test_validation_rows_are_routed_and_transformed_by_a_pipeline() -> None:
    X, y = points()
    with sklearn.config_context(enable_metadata_routing=True):
        model = GalaClassifier(**QUICK).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
        pipeline.fit(X, y, X_val=X, y_val=y)
    assert len(pipeline[-1].validation_scores_) == pipeline[-1].n_iter_


def test_groups_keep_unseen_categories_apart_with_a_warning() -> None:
    X, y = points()
    groups = np.repeat([f"user{i}" for i in range(15)], 6)
    with pytest.warns(UserWarning, match="of column 'user'"):
        scores = cross_val_score(
            GalaClassifier(**QUICK),
            X.assign(user=groups),
            y,
            groups=groups,
            cv=GroupKFold(3),
            error_score="raise",
        )
    assert np.isfinite(scores).all()


def test_other_estimators_of_scikit_learn_take_ours() -> None:
    X, y = points()
    calibrated = CalibratedClassifierCV(GalaClassifier(**QUICK), cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (90, 2)
    logarithmic = TransformedTargetRegressor(GalaRegressor(**QUICK), func=np.log1p, inverse_func=np.expm1)
    assert np.isfinite(logarithmic.fit(X, y).predict(X)).all()
    model = GalaClassifier(**QUICK, class_weight="balanced").fit(X, y)
    assert permutation_importance(model, X, y, n_repeats=2, random_state=0).importances.shape == (2, 2)


def test_a_notebook_shows_the_estimator_and_its_parameters() -> None:
    page = GalaClassifier(dropout=0.25)._repr_html_()
    assert "GalaClassifier" in page
    assert "0.25" in page
    assert repr(GalaRegressor(max_iter=7)) == "GalaRegressor(max_iter=7)"


def test_the_automatic_device_is_one_that_the_machine_has() -> None:
    device = chosen_device("auto")
    assert torch.zeros(1, device=device).device.type == device.type
    X, y = points()
    model = GalaClassifier(**QUICK, device="auto").fit(X, y)
    assert all(parameter.device.type == "cpu" for parameter in model.network_.parameters())


def test_a_model_trained_elsewhere_goes_on_on_the_cpu() -> None:
    X, y = points()
    model = GalaClassifier(**QUICK).fit(X, y)
    object.__setattr__(model._state, "device", "cuda")  # its generator's state means nothing to the CPU's
    copies = [pickle.loads(pickle.dumps(model)).partial_fit(X, y) for _ in range(2)]
    np.testing.assert_array_equal(*(copy.predict_proba(X) for copy in copies))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of CUDA")
def test_a_model_of_a_gpu_loads_on_a_cpu() -> None:
    X, y = points()
    model = GalaClassifier(**QUICK, device="cuda").fit(X, y)
    state = model._state
    held = [*state.weights.values(), *state.network.state_dict().values(), *model.network_.parameters()]
    assert {tensor.device.type for tensor in held} == {"cpu"}
    copy = pickle.loads(pickle.dumps(model)).set_params(device="cpu").partial_fit(X, y)
    assert copy.n_iter_ == model.n_iter_ + 1
