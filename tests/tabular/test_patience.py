"""When a training ends, what it is chosen by, and what it shows."""

from __future__ import annotations

import io
import math
import time
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import make_scorer, mean_absolute_error, roc_auc_score

from galatune import GalaClassifier, GalaRegressor
from galatune.tabular import train
from galatune.tabular.progress import Progress

QUICK = {"hidden_layer_sizes": (16,), "n_members": 2, "max_iter": 8, "random_state": 0}


def waves(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(seed).normal(size=(n, 2))
    return X, np.sin(2 * X[:, 0])


class Clock:
    """Stands in for `time`: each look at it is a second later."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


@pytest.mark.parametrize("early_stopping", [True, False])
def test_training_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch, early_stopping: bool) -> None:
    monkeypatch.setattr("galatune.tabular.train.time", Clock())
    monkeypatch.setattr("galatune.tabular.estimator.time", type("Still", (), {"monotonic": lambda: 0.0}))
    model = GalaRegressor(**{**QUICK, "early_stopping": early_stopping}, max_time=25)
    with pytest.warns(ConvergenceWarning, match="max_time=25 seconds were over in epoch"):
        model.fit(*waves())
    assert len(model.history_) == 25
    assert model.n_iter_ == len(model.loss_curve_) == math.ceil(25 / 12)
    assert len(model.validation_scores_) == (model.n_iter_ if early_stopping else 0)


def test_time_that_is_over_at_once_leaves_one_step() -> None:
    with pytest.warns(ConvergenceWarning, match="were over in epoch 1"):
        model = GalaClassifier(**QUICK, max_time=1e-9).fit(waves()[0], waves()[1] > 0)
    assert len(model.history_) == 1
    assert model.predict_proba(waves()[0]).shape == (200, 2)


def interrupt(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Have the user press Ctrl-C in a step."""
    take_step = train._Loop._step

    def interrupted(self: Any, batch: Any) -> Any:
        if self.steps + 1 == step:
            raise KeyboardInterrupt
        return take_step(self, batch)

    monkeypatch.setattr(train._Loop, "_step", interrupted)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_an_interrupt_keeps_what_was_learned(monkeypatch: pytest.MonkeyPatch, early_stopping: bool) -> None:
    options = {**QUICK, "early_stopping": early_stopping}
    interrupt(monkeypatch, 40)
    with pytest.warns(ConvergenceWarning, match="it was interrupted in epoch 4, and the best weights"):
        model = GalaRegressor(**options).fit(*waves())
    assert len(model.history_) == 39
    assert model.n_iter_ == 4
    assert np.isfinite(model.predict(waves()[0])).all()
    monkeypatch.undo()
    model.partial_fit(*waves())
    assert model.n_iter_ == 5


def test_an_interrupt_before_anything_was_learned_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        GalaRegressor(**QUICK).fit(*waves())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("scoring", "score"),
    [
        ("roc_auc", lambda model, X, y: roc_auc_score(y, model.predict_proba(X)[:, 1])),
        ("accuracy", lambda model, X, y: model.score(X, y)),
        (make_scorer(roc_auc_score, response_method="decision_function"), None),
        (lambda model, X, y: float(model.predict_proba(X)[:, 1].mean()), None),
    ],
)
def test_a_chosen_metric_chooses_the_epoch(scoring: Any, score: Any) -> None:
    X, y = waves()
    X_val, y_val = waves(seed=1)
    model = GalaClassifier(**QUICK, scoring=scoring).fit(X, y > 0, X_val=X_val, y_val=y_val > 0)
    best = max(model.validation_scores_)
    assert model.validation_scores_[model.best_iteration_ - 1] == best
    if score is not None:
        assert score(model, X_val, y_val > 0) == pytest.approx(best, abs=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_metric_of_numbers_is_in_the_units_of_the_target() -> None:
    X, y = waves()
    model = GalaRegressor(**QUICK, scoring="neg_mean_absolute_error")
    model.fit(X, 1000 * y, X_val=X, y_val=1000 * y)
    error = mean_absolute_error(1000 * y, model.predict(X))
    assert -max(model.validation_scores_) == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"scoring": "beauty"}, "scoring must be 'loss', a scorer, or one of sklearn.metrics"),
        ({"max_time": 0}, "max_time must be None or a positive number of seconds"),
        ({"max_time": "1h"}, "however: max_time='1h'"),
        ({"warm_start": "yes"}, "warm_start must be True or False"),
    ],
)
def test_bad_options_are_refused(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GalaRegressor(**parameters).fit(*waves())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_history_is_a_frame_with_the_rate_of_each_step() -> None:
    model = GalaRegressor(**QUICK).fit(*waves())
    history = model.history_
    assert history.columns.tolist() == ["step", "epoch", "loss", "learning_rate", "validation_score"]
    assert (history["learning_rate"] > 0).all()
    scores = history.dropna().groupby("epoch")["validation_score"].last()
    assert scores.tolist() == model.validation_scores_
    means = history.groupby("epoch")["loss"].mean()
    np.testing.assert_allclose(means, model.loss_curve_, rtol=0.05)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_plot_shows_what_the_history_holds() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    model = GalaRegressor(**QUICK).fit(*waves())
    axes = model.plot()
    lines = {line.get_label(): line for line in (*axes.lines, *axes.figure.axes[1].lines)}
    np.testing.assert_array_equal(lines["learning rate"].get_ydata(), model.history_["learning_rate"])
    np.testing.assert_allclose(lines["validation loss"].get_ydata(), -np.array(model.validation_scores_))
    assert model.plot(axes) is axes
    pyplot.close("all")


def test_a_terminal_has_one_line_with_rate_and_time_left() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Progress(True, 10, time.monotonic() + 60, console) as progress:
        progress.step(0.5)
        progress.epoch("Epoch 1: loss 0.5, learning rate 0.01")
        progress.step(1.5)
        time.sleep(0.3)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Epoch 1: loss 0.5, learning rate 0.01, at most " in shown
    assert shown.count("\n") == 1


def test_nothing_is_shown_if_it_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(False, 10, math.inf) as progress:
        progress.step(0.5)
        progress.epoch("Epoch 1")
    assert capsys.readouterr().out == ""
