"""What the default network and its training promise, as users of the estimators see it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from galatune import GalaClassifier, GalaRegressor

QUICK = {"hidden_layer_sizes": (32, 32), "random_state": 0, "patience": 100}


def jumps(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A target that jumps many times along one column, which a smooth network learns slowly."""
    X = np.random.default_rng(seed).uniform(size=(n, 2))
    return X, np.floor(6 * X[:, 0]) % 2 + X[:, 1]


def shops(n: int = 500, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """A target that depends on which of 15 shops a row is from."""
    rng = np.random.default_rng(seed)
    shop = rng.integers(0, 15, n)
    effect = np.random.default_rng(1).normal(size=15)
    X = pd.DataFrame({"size": rng.normal(size=n), "shop": [f"shop{number}" for number in shop]})
    return X, effect[shop] + X["size"].to_numpy()


def test_a_training_that_is_not_finished_warns() -> None:
    with pytest.warns(ConvergenceWarning, match=r"end of max_iter=3 epochs.* Set max_iter higher"):
        GalaRegressor(**QUICK, max_iter=3).fit(*jumps())


def test_a_target_that_nothing_explains_warns() -> None:
    X, _ = jumps(200)
    y = np.random.default_rng(1).normal(size=200)
    with pytest.warns(ConvergenceWarning, match="no better than a constant"):
        GalaRegressor(**QUICK).fit(X, y)


@pytest.mark.parametrize("y", [np.full(80, 7.0), np.arange(80.0)])
def test_a_target_that_is_learned_or_constant_does_not_warn(y: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GalaRegressor(**QUICK).fit(np.arange(80.0)[:, None], y)


def test_without_rows_held_out_every_epoch_is_run_and_nothing_warns() -> None:
    model = GalaRegressor(**QUICK, early_stopping=False, max_iter=3).fit(*jumps())
    assert (model.n_iter_, model.best_iteration_, model.validation_scores_) == (3, 3, [])


@pytest.mark.slow
def test_more_patience_only_adds_epochs() -> None:
    short, long = (GalaRegressor(**QUICK | {"patience": patience}).fit(*jumps()) for patience in (40, 120))
    assert long.n_iter_ > short.n_iter_
    assert long.loss_curve_[: short.n_iter_] == short.loss_curve_
    assert max(long.validation_scores_) >= max(short.validation_scores_)


@pytest.mark.filterwarnings("ignore:The best epoch:sklearn.exceptions.ConvergenceWarning")
def test_bins_learn_jumps_and_are_chosen_by_rows_held_out() -> None:
    X, y = jumps()
    X_test, y_test = jumps(seed=1)
    embedded, plain = (GalaRegressor(**QUICK, embed_numbers=choice).fit(X, y) for choice in (True, False))
    assert embedded.score(X_test, y_test) > plain.score(X_test, y_test) + 0.1
    assert embedded.network_.n_members == 2
    assert plain.network_.n_members == 4


@pytest.mark.parametrize("embed_levels", [True, False])
def test_many_levels_are_learned_and_new_ones_are_understood(embed_levels: bool) -> None:
    model = GalaRegressor(**QUICK, embed_levels=embed_levels).fit(*shops())
    X_test, y_test = shops(seed=2)
    assert model.score(X_test, y_test) > 0.8
    with pytest.warns(UserWarning, match="did not see"):
        strange = model.predict(pd.DataFrame({"size": [0.0], "shop": ["new"]}))
    assert abs(strange[0]) < 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("factor", [1000.0, 1e-3])
def test_units_of_columns_and_target_do_not_matter(factor: float) -> None:
    X, y = jumps(200)
    one = GalaRegressor(**QUICK, max_iter=15).fit(X, y).predict(X)
    other = GalaRegressor(**QUICK, max_iter=15).fit(factor * X + 3, 1e6 * y).predict(factor * X + 3) / 1e6
    np.testing.assert_allclose(other, one, rtol=1e-3)


@pytest.mark.parametrize("given", [{"n_members": 1}, {"n_members": 3}, {"hidden_layer_sizes": ()}])
def test_any_number_of_members_and_layers_learns(given: dict[str, Any]) -> None:
    X = np.random.default_rng(0).normal(size=(200, 2))
    model = GalaClassifier(**QUICK | given).fit(X, X[:, 0] > X[:, 1])
    assert model.score(X, X[:, 0] > X[:, 1]) > 0.9
