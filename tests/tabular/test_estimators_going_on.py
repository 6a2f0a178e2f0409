"""partial_fit and warm_start: a training that goes on, in this process or another, to the last bit."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from galatune import GalaClassifier, GalaRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"hidden_layer_sizes": (16,), "n_members": 2, "max_iter": 5, "random_state": 0}


def people(n: int = 200, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n),
            "city": rng.choice(["Bern", "Oslo", "Rome"], n),
            "street": np.char.add("s", rng.integers(0, 20, n).astype(str)),
        }
    )
    return X, (X["age"] / 10 + 2 * (X["city"] == "Oslo")).to_numpy() + rng.normal(0, 0.1, n)


def tensors(model: Any) -> list[torch.Tensor]:
    state = model._state
    return [*model.network_.parameters(), *state.weights.values(), state.generator]


IN_ANOTHER_PROCESS = """
import pickle, sys, torch
torch.set_num_threads(1)
work = pickle.load(open(sys.argv[1], "rb"))
pickle.dump([model.partial_fit(*arguments) for model, arguments in work], open(sys.argv[2], "wb"))
"""


@pytest.mark.slow
def test_another_process_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    X, y = people()
    work = [
        (GalaRegressor(**QUICK).fit(X, y), (X[:90], y[:90])),
        (GalaClassifier(**QUICK).fit(X, y > 4), (X[:90], y[:90] > 4)),
    ]
    (tmp_path / "before").write_bytes(pickle.dumps(work))
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, tmp_path / "before", tmp_path / "after"]
    subprocess.run(command, check=True)
    for (model, arguments), there in zip(work, pickle.loads((tmp_path / "after").read_bytes()), strict=True):
        here = model.partial_fit(*arguments)
        assert all(torch.equal(a, b) for a, b in zip(tensors(here), tensors(there), strict=True))
        np.testing.assert_array_equal(here.predict(X), there.predict(X))
        pd.testing.assert_frame_equal(here.history_, there.history_)


def test_passes_over_the_rows_are_counted_and_their_rate_goes_on() -> None:
    X, y = people()
    model = GalaRegressor(**QUICK)
    for call in range(1, 4):
        assert model.partial_fit(X, y).n_iter_ == call
    history = model.history_
    assert history["step"].tolist() == list(range(1, len(history) + 1))
    assert history["epoch"].unique().tolist() == [1, 2, 3]
    growth = (history["learning_rate"] / history["learning_rate"].shift()).dropna()
    assert growth.min() > 0.3
    assert growth.max() < 3


def test_many_small_passes_learn() -> None:
    X, y = people(600)
    X = X.drop(columns="street")
    model = GalaRegressor(**QUICK)
    for _ in range(10):
        for start in range(0, 600, 100):
            part = slice(start, start + 100)
            model.partial_fit(X[part], y[part])
    X, y = people(seed=1)
    assert model.score(X.drop(columns="street"), y) > 0.8


def test_the_first_pass_fixes_classes_encoding_and_scales() -> None:
    X, y = people()
    labels = np.where(y > y.mean(), "old", "young")
    model = GalaClassifier(**QUICK).partial_fit(X, labels, classes=["young", "old", "other"])
    assert model.classes_.tolist() == ["old", "other", "young"]
    assert model.predict_proba(X).shape == (200, 3)
    encoder = model.encoder_
    model.partial_fit(X.assign(age=1000 * X["age"]), labels, classes=["other", "young", "old"])
    assert model.encoder_ is encoder
    with pytest.raises(ValueError, match="classes must stay as they were in the first call"):
        model.partial_fit(X, labels, classes=["young", "old"])


def test_later_passes_count_what_is_new() -> None:
    X, y = people()
    model = GalaClassifier(**QUICK).partial_fit(X, y > 4)
    with pytest.warns(UserWarning, match=r"'Paris' and others like it in 3 of 200 rows of column 'city'"):
        model.partial_fit(X.assign(city=["Paris"] * 3 + ["Bern"] * 197), y > 4)
    with pytest.raises(ValueError, match=r"have others, such as 2. Fit anew to learn new classes"):
        model.partial_fit(X, np.arange(200) % 3)
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        model.partial_fit(X[["age"]], y > 4)


def test_a_failed_pass_leaves_the_model_as_it_was() -> None:
    X, y = people()
    model = GalaRegressor(**QUICK).fit(X, y)
    before, wanted = model._state, model.predict(X)
    with pytest.raises(ValueError, match="must hold numbers"):
        model.partial_fit(X.assign(age="old"), y)
    assert model._state is before
    np.testing.assert_array_equal(model.predict(X), wanted)


def test_numbers_beyond_those_of_the_first_pass_can_be_predicted() -> None:
    X, y = people(400)
    low, high = y < np.median(y), y >= np.median(y)
    model = GalaRegressor(**QUICK).partial_fit(X[low], y[low])
    for _ in range(20):
        model.partial_fit(X[high], y[high])
    assert model.predict(X[high]).max() > y[low].max() + 0.5


def test_balancing_without_all_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"partial_fit does not see all rows.*class_weight='balanced'"):
        GalaClassifier(class_weight="balanced").partial_fit(*people())


def test_a_warm_start_goes_on_and_a_cold_one_begins_anew() -> None:
    X, y = people()
    cold, warm = (GalaRegressor(**QUICK, warm_start=flag).fit(X, y) for flag in (False, True))
    losses = warm.loss_curve_
    first = cold.predict(X)
    np.testing.assert_array_equal(cold.fit(X, y).predict(X), first)
    assert cold.n_iter_ == QUICK["max_iter"]
    warm.fit(X, y)
    assert warm.n_iter_ == 2 * QUICK["max_iter"]
    assert warm.loss_curve_[: len(losses)] == losses
    assert min(warm.loss_curve_) < min(losses)
    assert warm.best_iteration_ > QUICK["max_iter"]


def test_a_warm_start_refuses_another_table() -> None:
    X, y = people()
    model = GalaRegressor(**QUICK, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="feature names should match"):
        model.fit(X.rename(columns={"age": "years"}), y)


def test_a_network_cannot_change_while_it_goes_on() -> None:
    X, y = people()
    model = GalaRegressor(**QUICK, warm_start=True).fit(X, y)
    wanted = model.predict(X)
    model.set_params(hidden_layer_sizes=(8, 8), embed_levels=False)
    np.testing.assert_array_equal(model.predict(X), wanted)
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=r"hidden_layer_sizes must stay as it was .*, \[16\], however:"):
            method(X, y)


def test_a_first_pass_over_a_few_rows_warns_that_it_fixes_the_scales() -> None:
    X, y = people(5)
    with pytest.warns(UserWarning, match="fixes scales and categories for good, however: it has 5 rows"):
        GalaRegressor(**QUICK).partial_fit(X, y)


def test_several_labels_and_quantiles_go_on_too() -> None:
    X, y = people()
    both = np.column_stack([y > 4, X["city"] == "Rome"])
    model = GalaClassifier(**QUICK).partial_fit(X, both).partial_fit(X, both)
    assert model.predict(X).shape == (200, 2)
    bands = GalaRegressor(**QUICK, loss="quantile", quantile=(0.1, 0.9)).fit(X, y).partial_fit(X, y)
    assert bands.predict(X).shape == (200, 2)
