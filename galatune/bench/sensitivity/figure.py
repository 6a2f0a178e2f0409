"""The picture of a sensitivity: final loss by initial rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from galatune.bench.controller.methods import METHODS, controlled_first
from galatune.bench.drawing import look, panels
from galatune.bench.sensitivity.curves import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["sensitivity_figure"]


def sensitivity_figure(curves: Sequence[Curve]) -> Figure:
    """Draw one panel per task: mean final loss by the rate the optimizer was built with, on log scales."""
    methods = controlled_first(curve.method for curve in curves)

    def draw(axes: Axes, task: str) -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        for k, method in enumerate(methods):
            for curve in curves:
                if (curve.task, curve.method) == (task, method):
                    colour, marker = look(k)
                    axes.plot(
                        curve.rates,
                        curve.means,
                        color=colour,
                        marker=marker,
                        markersize=4.5,
                        markerfacecolor=colour if METHODS[method].controlled else "white",
                        linewidth=2.4 if METHODS[method].controlled else 1.4,
                        label=method,
                    )

    tasks = list(dict.fromkeys(curve.task for curve in curves))
    return panels(tasks, draw, "rate the optimizer was built with", "validation loss at the end", 2)
