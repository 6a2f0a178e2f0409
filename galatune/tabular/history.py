"""The history of a training as a frame, a row per step, and as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from galatune.tabular.train import Training

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["history_frame", "plot_history"]


def history_frame(training: Training, epochs_before: int, steps_before: int) -> pd.DataFrame:
    """Return a row per step: step, epoch, loss, learning_rate, and validation_score at the end of an epoch.

    Args:
        training: The training.
        epochs_before: Epochs of the trainings that this one went on from.
        steps_before: Their steps.
    """
    epoch, loss, rate = training.steps.T
    last = np.append(np.diff(epoch) > 0, True)
    score = np.full(len(epoch), np.nan)
    scores = training.validation_scores
    score[np.flatnonzero(last)[: len(scores)]] = scores[: int(last.sum())]
    columns = {
        "step": np.arange(len(epoch)) + steps_before + 1,
        "epoch": epoch.astype(int) + epochs_before,
        "loss": loss,
        "learning_rate": rate,
        "validation_score": score,
    }
    return pd.DataFrame(columns)


def plot_history(history: pd.DataFrame, of_loss: bool, axes: Axes | None = None) -> Axes:
    """Draw loss, validation score and learning rate by step.

    Args:
        history: As `history_frame` returns it.
        of_loss: Whether the validation score is minus the loss, which is then drawn beside it.
        axes: Where to draw; None makes a figure.

    Returns:
        The axes of the loss; those of the rate share their steps.
    """
    from matplotlib import pyplot  # drawing is asked for rarely

    axes = pyplot.subplots()[1] if axes is None else axes
    scores = history.dropna(subset="validation_score")
    axes.plot(history["step"], history["loss"], alpha=0.4, label="loss")
    sign, label = (-1, "validation loss") if of_loss else (1, "validation score")
    if len(scores):
        axes.plot(scores["step"], sign * scores["validation_score"], label=label)
    axes.set(xlabel="step", ylabel="loss")
    rates: Any = axes.twinx()
    rates.plot(history["step"], history["learning_rate"], color="tab:red", label="learning rate")
    rates.set(ylabel="learning rate", yscale="log")
    handles, names = axes.get_legend_handles_labels()
    rate_handles, rate_names = rates.get_legend_handles_labels()
    axes.legend(handles + rate_handles, names + rate_names, loc="upper right")
    return axes
