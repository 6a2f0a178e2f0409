"""The two estimators as their users meet them."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from galatune import GalaClassifier, GalaRegressor

QUICK = {"hidden_layer_sizes": (32, 32), "n_members": 4, "max_iter": 20, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def people(n: int = 300, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """A made-up table with numbers, text, categories, booleans and gaps, and a label they explain."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n),
            "city": rng.choice(["Bern", "Oslo", "Rome"], n),
            "plan": pd.Categorical(rng.choice(["s", "m"], n)),
            "member": rng.random(n) > 0.5,
        }
    )
    score = (table["age"] - 40) / 10 + 2 * (table["city"] == "Oslo") - 1.5 * table["member"]
    label = pd.Series(np.where(score > 0, "stays", "leaves"))
    table.loc[rng.choice(n, 20, replace=False), "age"] = np.nan
    table.loc[rng.choice(n, 20, replace=False), "city"] = None
    return table, label


@pytest.fixture(scope="module")
def classifier() -> GalaClassifier:
    return GalaClassifier(**QUICK).fit(*people())


@pytest.mark.parametrize("estimator", [GalaClassifier, GalaRegressor])
def test_there_is_no_learning_rate_to_choose(estimator: type) -> None:
    names = estimator().get_params()
    assert not [name for name in names if "lr" in name.split("_") or "learning" in name or "rate" in name]


@pytest.mark.slow
def test_defaults_classify_and_give_probabilities() -> None:
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    model = GalaClassifier(random_state=0).fit(X_train, y_train)
    assert model.score(X_test, y_test) > 0.93
    np.testing.assert_allclose(model.predict_proba(X_test).sum(axis=1), 1)


@pytest.mark.slow
def test_defaults_regress() -> None:
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    assert GalaRegressor(random_state=0).fit(X_train, y_train).score(X_test, y_test) > 0.3


def test_data_frames_with_text_and_gaps_are_understood(classifier: GalaClassifier) -> None:
    X, y = people(seed=1)
    assert classifier.classes_.tolist() == ["leaves", "stays"]
    assert classifier.feature_names_in_.tolist() == ["age", "city", "plan", "member"]
    assert classifier.score(X, y) > 0.85


def test_history_has_an_entry_an_epoch_and_the_rate_of_every_step(classifier: GalaClassifier) -> None:
    assert len(classifier.loss_curve_) == len(classifier.validation_scores_) == classifier.n_iter_
    assert 1 <= classifier.best_iteration_ <= classifier.n_iter_
    steps, rates = classifier.learning_rate_curve_.T
    assert steps.tolist() == list(range(1, len(steps) + 1))
    assert rates.max() > 10 * rates[0] > 0


@pytest.mark.parametrize(("estimator", "target"), [(GalaClassifier, "label"), (GalaRegressor, "age")])
def test_fitting_twice_gives_the_same_to_the_last_bit(estimator: type, target: str) -> None:
    X, label = people()
    y = label if target == "label" else X["city"].eq("Oslo") + X["member"].astype(float)
    first, second = (estimator(**QUICK).fit(X, y) for _ in range(2))
    states = zip(first.network_.parameters(), second.network_.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in states)
    np.testing.assert_array_equal(first.learning_rate_curve_, second.learning_rate_curve_)
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


def test_a_fit_moves_no_global_generator_and_no_thread_count() -> None:
    X, y = people(100)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    GalaClassifier(**QUICK).fit(X, y)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert torch.get_num_threads() == before[2]


def test_fits_in_threads_do_not_disturb_each_other() -> None:
    X, y = people(100)
    alone = GalaClassifier(**QUICK).fit(X, y).predict_proba(X)
    with ThreadPoolExecutor(3) as pool:
        models = list(pool.map(lambda _: GalaClassifier(**QUICK).fit(X, y), range(3)))
    for model in models:
        np.testing.assert_allclose(model.predict_proba(X), alone, rtol=1e-9, atol=1e-12)


def test_another_seed_gives_another_network() -> None:
    X, y = people(100)
    models = [GalaClassifier(**{**QUICK, "random_state": seed}).fit(X, y) for seed in (0, 1)]
    assert not np.array_equal(models[0].predict_proba(X), models[1].predict_proba(X))


def test_a_row_does_not_depend_on_its_neighbours(classifier: GalaClassifier) -> None:
    X, _ = people(50, seed=2)
    alone = np.concatenate([classifier.predict_proba(X.iloc[[row]]) for row in range(len(X))])
    np.testing.assert_allclose(classifier.predict_proba(X), alone, rtol=0, atol=1e-9)


def test_predicting_in_chunks_changes_nothing(
    classifier: GalaClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, _ = people(50, seed=2)
    whole = classifier.predict_proba(X)
    monkeypatch.setattr("galatune.tabular.estimator.PREDICTED_AT_ONCE", 7)
    np.testing.assert_allclose(classifier.predict_proba(X), whole, rtol=0, atol=1e-9)


def test_pickle_and_joblib_bring_back_the_same_model(classifier: GalaClassifier, tmp_path: Path) -> None:
    X, _ = people(50, seed=2)
    joblib.dump(classifier, tmp_path / "model.joblib")
    for copy in (pickle.loads(pickle.dumps(classifier)), joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(copy.predict_proba(X), classifier.predict_proba(X))
        again = pickle.loads(pickle.dumps(copy))
        np.testing.assert_array_equal(again.predict(X), classifier.predict(X))


def test_a_clone_is_unfitted_and_fits_alike(classifier: GalaClassifier) -> None:
    copy = clone(classifier)
    assert not hasattr(copy, "network_")
    X, y = people()
    np.testing.assert_array_equal(copy.fit(X, y).predict_proba(X), classifier.predict_proba(X))


def test_a_pipeline_hands_its_data_frame_on() -> None:
    X, y = people()
    older = FunctionTransformer(lambda frame: frame.assign(age=frame["age"] + 1))
    pipeline = make_pipeline(older, GalaClassifier(**QUICK)).fit(X, y)
    assert pipeline.score(X, y) > 0.85


def test_grid_search_over_widths() -> None:
    X, y = people(150)
    search = GridSearchCV(GalaClassifier(**QUICK), {"hidden_layer_sizes": [(4,), (32, 32)]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.6


def test_read_only_arrays_are_fine() -> None:
    X, y = load_wine(return_X_y=True)
    weight = np.ones(len(y))
    for array in (X, y, weight):
        array.flags.writeable = False
    GalaClassifier(**QUICK).fit(X, y, weight).predict(X)


def test_several_outputs_keep_their_shape_and_units() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = np.column_stack([1000 * X[:, 0], 1e-3 * X[:, 1] + 5])
    model = GalaRegressor(**QUICK).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.score(X, y) > 0.9
    assert model.predict(X[:4]).shape == (4, 2)


def test_units_of_the_target_do_not_matter() -> None:
    X, y = load_diabetes(return_X_y=True)
    small, large = (
        GalaRegressor(**QUICK).fit(X, factor * y).predict(X) / factor for factor in (1.0, 2.0**20)
    )
    np.testing.assert_allclose(small, large, rtol=1e-3)


def test_a_row_of_weight_zero_is_as_if_not_there() -> None:
    X, y = people()
    weight = np.ones(len(X))
    weight[::3] = 0
    left_out = GalaClassifier(**QUICK).fit(X[weight > 0], y[weight > 0])
    weighted = GalaClassifier(**QUICK).fit(X, y, weight)
    np.testing.assert_array_equal(weighted.predict_proba(X), left_out.predict_proba(X))


def test_whole_weights_act_like_repeated_rows_in_full_batches() -> None:
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(40, 2)), rng.integers(1, 4, size=40)
    y = X[:, 0] * X[:, 1]
    options = {**QUICK, "batch_size": 1000, "dropout": 0.0, "early_stopping": False}
    weighted = GalaRegressor(**options).fit(X, y, weight)
    repeated = GalaRegressor(**options).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-3)


def test_balanced_classes_find_more_of_the_rare_one() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(600) < 0.08).astype(int)
    X = rng.normal(size=(600, 2)) + y[:, None]
    found = [
        GalaClassifier(class_weight=weight, **QUICK).fit(X, y).predict(X)[y == 1].mean()
        for weight in (None, "balanced")
    ]
    assert found[1] > found[0] + 0.2


def test_small_tables_keep_all_rows_for_training() -> None:
    X, y = people(40)
    model = GalaClassifier(**QUICK).fit(X, y)
    assert model.validation_scores_ == []
    assert model.n_iter_ == model.best_iteration_ == QUICK["max_iter"]


def test_one_class_and_a_constant_target_are_learned() -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    assert set(GalaClassifier(**QUICK).fit(X, ["only"] * 60).predict(X)) == {"only"}
    np.testing.assert_allclose(GalaRegressor(**QUICK).fit(X, np.full(60, 7.0)).predict(X), 7, atol=0.05)


def test_verbose_prints_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    model = GalaClassifier(**{**QUICK, "max_iter": 3}, verbose=True).fit(*people(60))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_
    assert lines[0].startswith("Epoch 1: loss ")
    assert "learning rate" in lines[0]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes must be a positive integer or a sequence"),
        ({"hidden_layer_sizes": "wide"}, "however: hidden_layer_sizes='wide'"),
        ({"batch_size": 0}, "batch_size must be 'auto' or a positive integer, however: batch_size=0"),
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 1\), however: dropout=1.0"),
        ({"weight_decay": np.nan}, "weight_decay must be a finite number"),
        ({"max_iter": 2.5}, "max_iter must be a positive integer"),
        ({"early_stopping": "yes"}, "early_stopping must be 'auto', True or False"),
        ({"validation_fraction": 1.0}, "validation_fraction must be 'auto' or a number between 0 and 1"),
        ({"patience": True}, "patience must be a positive integer"),
        ({"n_members": 0}, "n_members must be a positive integer"),
        ({"embed_numbers": "yes"}, "embed_numbers must be True or False"),
        ({"embed_levels": 1}, "embed_levels must be True or False"),
        ({"device": "abacus"}, "device must be .auto. or a torch device that this machine has"),
        ({"device": None}, "device must be .auto. or a torch device that this machine has"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "early_stopping needs rows to hold out"),
    ],
)
def test_bad_parameters_are_refused_in_fit_in_one_line(parameters: dict[str, object], says: str) -> None:
    model = GalaClassifier(**parameters)
    with pytest.raises(ValueError, match=says) as caught:
        model.fit(*people(60))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("X", "weight", "says"),
    [
        (np.array([["a", "b"]] * 60), None, "Pass a data frame: its text columns are encoded"),
        (np.full((60, 2), np.inf), None, "Input X contains infinity"),
        (pd.DataFrame(np.zeros((60, 2)), columns=["a", "a"]), None, "'a' comes more than once"),
        (pd.DataFrame(index=range(60)), None, r"0 feature\(s\)"),
        (np.zeros((59, 2)), None, "inconsistent numbers of samples"),
        (np.zeros((60, 2)), np.zeros(60), "must contain at least one non-zero|must be positive"),
        (np.zeros((60, 2)), -np.ones(60), "Negative values"),
    ],
)
def test_bad_tables_and_weights_are_refused_in_one_line(X: object, weight: object, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        GalaClassifier(**QUICK).fit(X, np.arange(60) % 2, weight)
    assert "\n" not in str(caught.value).strip()


def test_a_real_table_is_classified_better_than_by_chance(data: Path) -> None:
    table = pd.read_parquet(data / "tabular" / "credit_g.parquet")
    y = table.pop("class")
    X_train, X_test, y_train, y_test = train_test_split(table, y, random_state=0, stratify=y)
    model = GalaClassifier(random_state=0).fit(X_train, y_train)
    assert model.score(X_test, y_test) > 0.72
