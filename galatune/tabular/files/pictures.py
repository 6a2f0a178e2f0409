"""Pictures of a card: the learning rate by step, and predictions beside what came.

Names from a table are drawn as they are written, never as formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galatune.formatting import printable, shortened
from galatune.report.plots import empty_figure, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "picture_of_classes", "picture_of_numbers", "picture_of_rate"]

MODEL, TRUTH = "#0072B2", "#D55E00"
MOST_CLASSES = 20
"""Classes in a confusion matrix; rarer ones are drawn together."""

MOST_POINTS = 2000
MOST_STEPS = 2000
LONGEST_NAME = 18
OTHERS = "all others"
DARK = 0.65
"""From this share on, a cell of the confusion matrix is dark enough for white digits."""


@dataclass(frozen=True)
class Picture:
    """A picture as inline SVG.

    Attributes:
        title: A few words.
        description: What it shows, in a sentence.
        svg: The picture.
    """

    title: str
    description: str
    svg: str


def picture_of_rate(history: pd.DataFrame) -> Picture:
    """Draw the learning rate as applied by step, on a log scale if it is not 0 throughout.

    Args:
        history: The attribute `history_` of an estimator.
    """
    shown = history.iloc[:: max(1, len(history) // MOST_STEPS)]
    scale = (
        "log" if (shown["learning_rate"] > 0).any() else "linear"
    )  # all are 0 if there is nothing to learn
    figure, axes = empty_figure("step", f"learning rate ({scale} scale)")
    axes.plot(shown["step"], shown["learning_rate"], color=MODEL, linewidth=1.4)
    axes.set_yscale(scale)
    return _picture(
        figure, "Learning rate", "The learning rate that the controller set, by step of the training."
    )


def picture_of_numbers(y: NDArray[Any], guess: NDArray[Any], target: str) -> Picture:
    """Draw predicted numbers against true ones, at most `MOST_POINTS` of them.

    Args:
        y: True numbers of the rows held out, (n_rows,).
        guess: Predicted ones.
        target: Name of the target.
    """
    figure, axes = empty_figure(f"true {_shown(target)}", f"predicted {_shown(target)}")
    every = max(1, -(-len(y) // MOST_POINTS))
    truth, predicted = np.asarray(y, float)[::every], np.asarray(guess, float)[::every]
    ends = [float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))]
    axes.plot(ends, ends, color=TRUTH, linewidth=1.2, linestyle="--")
    axes.plot(truth, predicted, ".", color=MODEL, alpha=0.5, markersize=5)
    return _picture(
        figure,
        "Predicted against true",
        f"{len(truth)} of the {len(y)} rows held out; on the dashed line a prediction is exact.",
    )


def picture_of_classes(y: NDArray[Any], guess: NDArray[Any], labels: NDArray[Any]) -> Picture:
    """Draw how many rows of each class were predicted as which.

    Args:
        y: True labels of the rows held out, (n_rows,).
        guess: Predicted ones.
        labels: All classes.
    """
    names, counts = _confusion(y, guess, labels)
    figure, axes = empty_figure("predicted class", "true class", height=3.2 + 0.22 * len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    places = np.arange(len(names))
    axes.set_xticks(places, names, rotation=90 if len(names) > 4 else 0, parse_math=False)
    axes.set_yticks(places, names, parse_math=False)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > DARK else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    return _picture(
        figure,
        "Confusion matrix",
        f"Rows held out by true and predicted class, {int(counts.sum())} in all; the diagonal is right.",
    )


def _confusion(
    y: NDArray[Any], guess: NDArray[Any], labels: NDArray[Any]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of the classes drawn and the counts, rarer classes together in the last row."""
    places, counts = pd.Index(labels), np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, (places.get_indexer(y), places.get_indexer(guess)), 1)
    names = [_shown(str(label)) for label in labels]
    if len(labels) <= MOST_CLASSES:
        return names, counts
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    kept, rest = order[: MOST_CLASSES - 1], order[MOST_CLASSES - 1 :]
    groups = np.zeros((len(labels), MOST_CLASSES), dtype=np.int64)
    groups[kept, np.arange(len(kept))] = 1
    groups[rest, -1] = 1
    return [*(names[place] for place in kept), OTHERS], groups.T @ counts @ groups


def _shown(name: str) -> str:
    return shortened(printable(name), LONGEST_NAME)


def _picture(figure: Figure, title: str, description: str) -> Picture:
    return Picture(title, description, svg(figure, title, description))
