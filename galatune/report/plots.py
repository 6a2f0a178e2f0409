"""The two pictures of a report: first the points, then the drawing.

Only numbers of a study are drawn, so that no name can break a label.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from galatune.study.ledger.match import Goal, best_so_far, oriented
from galatune.study.ledger.rows import Ledger, TrialRow

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BestByTrial",
    "RateByStep",
    "RateCurve",
    "SearchCurve",
    "best_by_trial",
    "empty_figure",
    "rate_by_step",
    "svg",
]

OLD, NEW = "#D55E00", "#0072B2"
CURVES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
"""Okabe and Ito's colours, distinct for every colour vision; line styles differ as well."""
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
LARGEST = 1e200
"""Larger values are drawn at this one: matplotlib's axes reach a little beyond what they show."""
MOST_CORNERS = 500
INK = "#767676"
"""Readable on white and on the dark background alike."""


@dataclass(frozen=True)
class SearchCurve:
    """Best value after each finished trial of one study.

    Attributes:
        label: "old study" or "smaller study".
        trials: Finished trials so far, from 1.
        best: Best value so far; hypervolume with several objectives.
        matched_at: Number of trials at which it came within the tolerance, None if it did not.
    """

    label: str
    trials: tuple[int, ...]
    best: tuple[float, ...]
    matched_at: int | None


@dataclass(frozen=True)
class BestByTrial:
    """Both studies and the value that counts as reached."""

    curves: tuple[SearchCurve, ...]
    quantity: str
    threshold: float | None
    tolerance: float

    def frame(self) -> pd.DataFrame:
        """Columns: study, trials, best."""
        import pandas as pd

        points = [(c.label, n, v) for c in self.curves for n, v in zip(c.trials, c.best, strict=True)]
        return pd.DataFrame(points, columns=["study", "trials", "best"])

    def draw(self) -> Figure:
        """Draw one step line per study, and mark the value that counts as reached and who reached it."""
        from matplotlib.ticker import MaxNLocator

        figure, axes = empty_figure("finished trials", f"best {self.quantity} so far")
        curves = [replace(curve, best=tuple(map(_drawable, curve.best))) for curve in self.curves]
        for curve, colour, style in zip(curves, (OLD, NEW), ("--", "-"), strict=True):
            trials, best = _corners(curve)
            axes.step(trials, best, style, where="post", color=colour, linewidth=2, label=curve.label)
            _ring(axes, curve, colour, self.threshold)
        if self.threshold is not None:
            label = f"old best, within {100 * self.tolerance:g} %"
            axes.axhline(_drawable(self.threshold), color=INK, linestyle=":", linewidth=1.2, label=label)
        axes.margins(y=0.1)  # room for the label of a ring
        _spread(axes, [value for curve in curves for value in curve.best])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(figure)
        return figure


@dataclass(frozen=True)
class RateCurve:
    """Learning rate of one optimizer in one trial.

    Attributes:
        trial: Trial number.
        optimizer: Which of the trial's optimizers, from 0.
        value: Objective value of the trial, None with several objectives.
        steps: Optimizer steps.
        rates: Learning rate as applied at these steps.
    """

    trial: int
    optimizer: int
    value: float | None
    steps: tuple[int, ...]
    rates: tuple[float, ...]


@dataclass(frozen=True)
class RateByStep:
    """Learning-rate curves of the best trials, best first."""

    curves: tuple[RateCurve, ...]

    def frame(self) -> pd.DataFrame:
        """Columns: trial, optimizer, step, learning_rate."""
        import pandas as pd

        points = [
            (c.trial, c.optimizer, step, rate)
            for c in self.curves
            for step, rate in zip(c.steps, c.rates, strict=True)
        ]
        return pd.DataFrame(points, columns=["trial", "optimizer", "step", "learning_rate"])

    def draw(self) -> Figure:
        """Draw one line per optimizer, with the rate on a log scale."""
        figure, axes = empty_figure("optimizer step", "learning rate as applied (log scale)")
        axes.set_yscale("log")
        order = list(dict.fromkeys(curve.trial for curve in self.curves))
        for curve in self.curves:
            place = order.index(curve.trial) % len(CURVES)
            axes.plot(
                curve.steps,
                curve.rates,
                linestyle=STYLES[place],
                color=CURVES[place],
                linewidth=1.6,
                label=_curve_label(curve, self.curves),
            )
        _legend(figure)
        return figure


def best_by_trial(
    baseline: Ledger, shrunk: Ledger, goal: Goal | None, matched_at: Sequence[int | None]
) -> BestByTrial | None:
    """Points of the first picture.

    Args:
        baseline: The old study.
        shrunk: The smaller one.
        goal: What counts as reached; None if the old study has no COMPLETE trial.
        matched_at: Number of trials at which each study reached it.

    Returns:
        The points, None if there is nothing to draw.
    """
    if goal is None:
        return None
    curves = []
    labels = ("old study", "smaller study")
    for study, label, matched in zip((baseline, shrunk), labels, matched_at, strict=True):
        best = list(enumerate(best_so_far(study, goal), start=1))
        known = [(n, value) for n, value in best if value is not None]
        curves.append(
            SearchCurve(label, tuple(n for n, _ in known), tuple(value for _, value in known), matched)
        )
    quantity = "value" if goal.reference_point is None else "hypervolume"
    return BestByTrial(tuple(curves), quantity, goal.threshold, goal.tolerance)


def rate_by_step(shrunk: Ledger, best: int = 5) -> RateByStep | None:
    """Points of the second picture.

    Args:
        shrunk: The smaller study.
        best: Number of trials, best first (by the first objective, if there are several).

    Returns:
        The points, None if no complete trial recorded a rate.
    """
    ranked = sorted(shrunk.complete, key=lambda row: oriented(row, shrunk.directions))
    found = islice(filter(None, map(_curves, ranked)), best)
    curves = tuple(curve for curves in found for curve in curves)
    return RateByStep(curves) if curves else None


def svg(figure: Figure, title: str, description: str) -> str:
    """Inline SVG for a page: no XML header, no metadata, nothing that points outside, text as text.

    Args:
        figure: A matplotlib figure.
        title: Read out by screen readers.
        description: What the picture shows, in a sentence.
    """
    import matplotlib as mpl
    from markupsafe import escape

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", transparent=True)
    body = buffer.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    head, _, rest = body.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    opening = f'<svg role="img" {box.group() if box else ""} preserveAspectRatio="xMidYMid meet">'
    return f"{opening}<title>{escape(title)}</title><desc>{escape(description)}</desc>{rest}"


def empty_figure(x: str, y: str, height: float = 3.9) -> tuple[Figure, Axes]:
    """Return a figure without pyplot, so that nothing is left in the caller's session.

    Args:
        x: Label of the horizontal axis; drawn as it is written, never as a formula.
        y: Label of the vertical one.
        height: In inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(x, color=INK, parse_math=False)
    axes.set_ylabel(y, color=INK, parse_math=False)
    axes.tick_params(which="both", colors=INK)
    axes.grid(which="major", color=INK, alpha=0.25, linewidth=0.6)
    for name, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(name in ("left", "bottom"))
    return figure, axes


def _legend(figure: Figure) -> None:
    """Draw the legend above the axes, out of the way of the curves."""
    figure.legend(loc="outside upper left", ncols=3, frameon=False, labelcolor=INK, fontsize=9)


def _ring(axes: Axes, curve: SearchCurve, colour: str, threshold: float | None) -> None:
    """Mark who came within the tolerance; the label stands on the side away from the threshold's line."""
    if curve.matched_at is None or curve.matched_at not in curve.trials:
        return
    best = curve.best[curve.trials.index(curve.matched_at)]
    below = threshold is not None and best <= _drawable(threshold)
    axes.plot([curve.matched_at], [best], "o", markersize=9, markerfacecolor="none", color=colour, mew=2)
    axes.annotate(
        f"{curve.matched_at} trials",
        (curve.matched_at, best),
        textcoords="offset points",
        xytext=(9, -5 if below else 5),
        ha="left",
        va="top" if below else "bottom",
        color=colour,
        fontsize=9,
    )


def _corners(curve: SearchCurve) -> tuple[list[int], list[float]]:
    """The points at which a step line changes, and its end: a long search would fill the page with others."""
    last = len(curve.best) - 1
    kept = [i for i, best in enumerate(curve.best) if i in (0, last) or best != curve.best[i - 1]]
    thin = kept[:: 1 + len(kept) // MOST_CORNERS] + kept[-1:]
    return [curve.trials[i] for i in thin], [curve.best[i] for i in thin]


def _drawable(value: float) -> float:
    return min(max(value, -LARGEST), LARGEST)


def _spread(axes: Axes, values: Sequence[float]) -> None:
    """Use a log scale if all values are positive and lie more than a factor of 5 apart."""
    if values and min(values) > 0 and max(values) / min(values) > 5:
        axes.set_yscale("log")
        axes.set_ylabel(f"{axes.get_ylabel()} (log scale)", color=INK)


def _curves(row: TrialRow) -> list[RateCurve]:
    if row.record is None:
        return []
    points: dict[int, list[tuple[int, float]]] = {}
    for point in row.record.learning_rate:
        if math.isfinite(point.rate) and point.rate > 0:
            points.setdefault(point.optimizer, []).append((point.step, point.rate))
    return [
        RateCurve(row.number, which, row.value, tuple(s for s, _ in curve), tuple(r for _, r in curve))
        for which, curve in sorted(points.items())
    ]


def _curve_label(curve: RateCurve, curves: Sequence[RateCurve]) -> str:
    several = sum(other.trial == curve.trial for other in curves) > 1
    value = "" if curve.value is None else f": {curve.value:.4g}"
    return f"trial {curve.trial}{f', optimizer {curve.optimizer + 1}' if several else ''}{value}"
