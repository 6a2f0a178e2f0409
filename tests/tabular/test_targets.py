"""What is learned: classes, several labels, numbers of any size, quantiles; and one's own validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss, mean_pinball_loss

from galatune import GalaClassifier, GalaRegressor
from galatune.tabular.loss import LabelLoss, PinballLoss
from galatune.tabular.targets import Classes, Labels, Values

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"hidden_layer_sizes": (32,), "n_members": 2, "max_iter": 20, "random_state": 0}
FEW = {**QUICK, "max_iter": 4}


def waves(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, np.sin(2 * X[:, 0]) + 0.3 * rng.normal(size=n)


def test_several_labels_are_predicted_at_once() -> None:
    X, _ = waves()
    y = np.column_stack([X[:, 0] > 0, X[:, 1] > 0.5, X.sum(axis=1) > 0]).astype(int)
    model = GalaClassifier(**QUICK).fit(X, pd.DataFrame(y, columns=["a", "b", "c"]))
    for predicted in (model.predict(X), model.predict_proba(X)):
        assert predicted.shape == y.shape
        assert ((predicted > 0.5) == y).mean() > 0.9
    assert model.score(X, y) > 0.75
    np.testing.assert_array_equal(model.decision_function(X) > 0, model.predict(X))


def test_decisions_and_log_probabilities_agree_with_probabilities() -> None:
    X, y = waves()
    two, three = (GalaClassifier(**FEW).fit(X, np.digitize(y, bins)) for bins in ([0], [-0.5, 0.5]))
    for model in (two, three):
        np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))
    odds = two.predict_proba(X)
    np.testing.assert_allclose(two.decision_function(X), np.log(odds[:, 1] / odds[:, 0]))
    assert three.decision_function(X).shape == (400, 3)
    np.testing.assert_array_equal(three.decision_function(X).argmax(axis=1), three.predict(X))


def test_log_probabilities_stay_finite_at_certainty() -> None:
    target = Classes(np.array([0, 1]))
    np.testing.assert_array_equal(target.log_probabilities(np.array([[0.0, 2000.0]])), [[-2000, 0]])
    assert Labels(np.arange(1)).log_probabilities(np.array([[-2000.0]])) == -2000


@pytest.mark.parametrize("level", [0.1, 0.9])
def test_a_quantile_leaves_its_share_below(level: float) -> None:
    X, y = waves(1500)
    model = GalaRegressor(loss="quantile", quantile=level, **QUICK).fit(X[:1000], y[:1000])
    predicted = model.predict(X[1000:])
    assert predicted.shape == (500,)
    assert np.mean(y[1000:] < predicted) == pytest.approx(level, abs=0.08)
    constant = np.full(500, np.quantile(y[:1000], level))
    loss, other = (mean_pinball_loss(y[1000:], p, alpha=level) for p in (predicted, constant))
    assert model.score(X[1000:], y[1000:]) > 0
    assert loss < 0.8 * other


def test_several_quantiles_have_a_column_each_and_never_cross() -> None:
    X, y = waves()
    model = GalaRegressor(loss="quantile", quantile=(0.9, 0.1, 0.5), **FEW).fit(X, y)
    predicted = model.predict(X)
    assert predicted.shape == (400, 3)
    assert (np.diff(predicted[:, [1, 2, 0]], axis=1) >= 0).all()
    assert -1 < model.score(X, y) < 1


def test_the_absolute_error_is_not_led_astray_by_outliers() -> None:
    X, y = waves()
    wrong = y.copy()
    wrong[::20] = 1e6
    errors = [
        np.median(np.abs(GalaRegressor(loss=loss, **QUICK).fit(X, wrong).predict(X) - y))
        for loss in ("squared_error", "absolute_error")
    ]
    assert errors[1] < 0.4 < errors[0]


def test_quantiles_of_several_columns_are_predicted_one_level_at_a_time() -> None:
    X, y = waves()
    both = np.column_stack([y, -y])
    model = GalaRegressor(loss="quantile", quantile=0.8, **FEW).fit(X, both)
    assert model.predict(X).shape == (400, 2)
    with pytest.raises(ValueError, match=r"Several quantiles need one column of numbers, however: y.shape"):
        GalaRegressor(loss="quantile", quantile=[0.2, 0.8], **QUICK).fit(X, both)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"loss": "hinge"}, "loss must be 'squared_error', 'absolute_error' or 'quantile'"),
        ({"quantile": 1.0}, "quantile must be a number between 0 and 1"),
        ({"quantile": [0.5, 2]}, "quantile must be a number between 0 and 1"),
        ({"quantile": []}, "or a sequence of such numbers"),
    ],
)
def test_bad_losses_and_levels_are_refused(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GalaRegressor(**parameters).fit(*waves(60))


@pytest.mark.parametrize(("columns", "target"), [(1000, 1e6), (1e-3, 1e-6), (1e200, 1e300), (1e-200, 1e-300)])
def test_units_of_columns_and_target_do_not_matter(columns: float, target: float) -> None:
    X, y = waves(200)
    X[:5] = np.nan
    one, other = (
        GalaRegressor(**FEW).fit(a * X, b * y).predict(a * X) / b for a, b in ((1.0, 1.0), (columns, target))
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_units_of_columns_do_not_matter_to_a_classifier() -> None:
    X, y = waves(200)
    one, other = (GalaClassifier(**FEW).fit(a * X, y > 0).predict_proba(a * X) for a in (1.0, 1000.0))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile"])
def test_targets_at_the_end_of_the_floats_stay_finite(loss: str) -> None:
    X = waves(100)[0]
    largest = 1.7e308
    y = np.where(np.arange(100) % 2, largest, -largest)
    assert np.isfinite(GalaRegressor(**FEW, loss=loss, quantile=0.9).fit(X, y).predict(X)).all()


def test_weights_at_the_end_of_the_floats_are_weights_like_others() -> None:
    X, y = waves(100)
    weight = 1.0 + np.arange(100) % 2
    one, other = (GalaRegressor(**FEW).fit(X, y, w).predict(X) for w in (weight / 2, weight * 2.0**1022))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("labels", [[3, 1], [True, False], [0.0, 1.0]])
def test_labels_of_a_frame_of_several_types_are_those_that_they_are(labels: list[Any]) -> None:
    X = waves(100)[0]
    objects = pd.Series(labels * 50, dtype=object)
    model = GalaClassifier(**FEW).fit(X, objects)
    assert model.classes_.dtype == np.array(labels).dtype
    assert set(model.predict(X)) <= set(labels)


def test_a_constant_that_rounding_blurs_is_a_constant() -> None:
    target = Values.fit(np.full(7, 0.1) + 1e-18, np.ones(7))
    assert target.scale == 1.0


def test_a_duplicated_and_a_constant_column_do_no_harm() -> None:
    X, y = waves()
    wider = pd.DataFrame({"a": X[:, 0], "again": X[:, 0], "same": 3.0, "empty": np.nan, "word": "x"})
    assert GalaRegressor(**QUICK).fit(wider, y).score(wider, y) > 0.6


def test_a_rare_class_is_learned_and_a_class_of_one_row_is_kept() -> None:
    X, _ = waves()
    y = np.where(X[:, 0] > 1.8, "rare", "common").astype(object)
    y[0] = "once"
    model = GalaClassifier(**QUICK).fit(X, y)
    assert model.classes_.tolist() == ["common", "once", "rare"]
    assert (model.predict(X)[y == "rare"] == "rare").mean() > 0.5


@pytest.mark.parametrize("form", ["X_val", "pair", "list"])
def test_rows_of_ones_own_choose_the_epoch(form: str) -> None:
    X, y = waves()
    X_val, y_val = waves(100, seed=1)
    arguments: dict[str, Any] = {
        "X_val": {"X_val": X_val, "y_val": y_val > 0},
        "pair": {"eval_set": (X_val, y_val > 0)},
        "list": {"eval_set": [(X_val, y_val > 0)]},
    }[form]
    model = GalaClassifier(**FEW).fit(X, y > 0, **arguments)
    assert len(model.validation_scores_) == model.n_iter_
    loss = log_loss(y_val > 0, model.predict_proba(X_val))
    assert loss == pytest.approx(-max(model.validation_scores_), rel=1e-4)


def test_weights_of_validation_rows_count() -> None:
    X, y = waves()
    X_val, y_val = waves(100, seed=1)
    weight = np.arange(100) % 2
    kept = {"X_val": X_val[weight == 1], "y_val": y_val[weight == 1]}
    weighed = {"X_val": X_val, "y_val": y_val, "sample_weight_val": weight}
    one, other = (GalaRegressor(**FEW).fit(X, y, **rows) for rows in (kept, weighed))
    assert one.validation_scores_ == pytest.approx(other.validation_scores_, rel=1e-5)


def test_validation_rows_are_used_even_without_early_stopping_by_held_out_rows() -> None:
    X, y = waves(60)
    model = GalaRegressor(**{**FEW, "early_stopping": False}).fit(X, y, X_val=X, y_val=y)
    assert len(model.validation_scores_) == model.n_iter_
    assert clone(model).fit(X, y).validation_scores_ == []


def test_the_constant_of_each_loss_is_the_best_one() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(50, generator=generator)
    numbers = torch.randn(50, 2, generator=generator)
    end = torch.tensor([9.0, 9.0])
    for loss, targets in [
        (PinballLoss((0.25, 0.75), -end, end), numbers),
        (LabelLoss(), (numbers > 0).float()),
    ]:
        best = loss.constant(targets, weights)

        def value(outputs: torch.Tensor, loss: Any = loss, targets: torch.Tensor = targets) -> float:
            return float((loss.rows(outputs.expand(1, 50, -1), targets) * weights).sum())

        for step in (0.05, -0.05):
            moved = [value(best + step * one) for one in torch.eye(len(best))]
            assert value(best) <= min(moved) + 1e-4
