"""Two pictures of a comparison: ratios by task, and the learning rate by step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from galatune.bench.controller.groups import Group, by_group
from galatune.bench.controller.methods import METHODS, controlled_first
from galatune.bench.controller.methods.method import schedule_factor
from galatune.bench.controller.runs import Result
from galatune.bench.controller.score import cells, scores, tuned
from galatune.bench.drawing import INK, colour_of, empty_figure, label_axes, legend, look, panels, style_of
from galatune.statistics import log_ratio_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Mark", "RateLine", "comparison_figures", "marks", "rate_figure", "rate_lines", "score_figure"]

NARROWEST, WIDEST = 0.4, 8.0
"""Ratios that the axis shows; those beyond are marked at its edge."""
SCORE = "score"
PANELS = 3
"""Panels side by side."""


def comparison_figures(results: Sequence[Result], schedules: Sequence[str]) -> dict[str, Figure]:
    """Draw both pictures of each schedule, as far as there is something to draw.

    Returns:
        Name of the file, without its ending, to the figure.
    """
    drawn = {}
    for schedule in schedules:
        found, lines = marks(results, schedule), rate_lines(results, schedule)
        if found:
            drawn[f"scores-{schedule}"] = score_figure(found, schedule)
        if lines:
            drawn[f"rates-{schedule}"] = rate_figure(lines)
    return drawn


@dataclass(frozen=True)
class Mark:
    """One method in one row of the first picture.

    Attributes:
        row: Task, or "score": the geometric mean over the tasks that count; with the group in brackets, if
            the method was not chosen on it.
        method: Name.
        ratio: To the best fixed rate.
        interval: 95 % bootstrap interval; seeds are drawn, and for the score also tasks.
    """

    row: str
    method: str
    ratio: float
    interval: tuple[float, float]


def marks(results: Sequence[Result], schedule: str) -> list[Mark]:
    """Return the points of the first picture: every method at equal steps under one schedule."""
    return [mark for group, own in by_group(results).items() for mark in _marks(own, group, schedule)]


def _marks(results: Sequence[Result], group: Group, schedule: str) -> Iterable[Mark]:
    note = f" ({group.kind})" if group.held_out else ""
    for cell in cells(results):
        if cell.schedule.removeprefix("warmup-") != schedule or cell.equal_gradients:
            continue
        best = tuned(results, cell.task, METHODS[cell.method].base, schedule)
        assert best is not None
        low, high = log_ratio_interval([(cell.losses, best.losses)], paired=True)
        yield Mark(cell.task + note, cell.method, cell.ratio, (math.exp(low), math.exp(high)))
    note = f" ({group})" if group != Group("chosen on") else ""
    for score in scores(results):
        if score.schedule.removeprefix("warmup-") == schedule and not score.equal_gradients:
            low, high = (math.exp(end) for end in score.interval)
            yield Mark(SCORE + note, score.method, math.exp(score.score), (low, high))


def score_figure(found: Sequence[Mark], schedule: str) -> Figure:
    """Draw one row per task and the score below, on a log axis of ratios; controlled methods are filled."""
    rows = list(dict.fromkeys(mark.row for mark in found))
    methods = controlled_first(mark.method for mark in found)
    room = 0.8 / len(methods)
    height = 1.6 + len(rows) * max(0.3, 0.11 * len(methods))
    figure = empty_figure(8.0, height)
    axes = figure.add_subplot()
    label_axes(axes, f"validation loss / that of the best fixed rate, {schedule} schedule", "")
    axes.set_xscale("log")
    axes.axvline(1.0, color=INK, linewidth=1)
    for k, method in enumerate(methods):
        colour, marker = look(k)
        label: str | None = method
        for mark in found:
            if mark.method == method:
                place = rows.index(mark.row) + (k + 0.5) * room - 0.4
                _mark(axes, mark, place, colour, marker, label)
                label = None
    for i in range(1, len(rows)):
        axes.axhline(i - 0.5, color=INK, alpha=0.25, linewidth=0.6)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(NARROWEST / 1.2, WIDEST * 1.2)
    ticks = [0.5, 0.7, 1, 1.5, 2, 3, 5, 8]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(visible=False, axis="y")
    legend(figure)
    return figure


def _mark(axes: Axes, mark: Mark, place: float, colour: str, marker: str, label: str | None) -> None:
    inside = NARROWEST <= mark.ratio <= WIDEST
    ratio = min(max(mark.ratio, NARROWEST), WIDEST)
    low, high = (min(max(end, NARROWEST), WIDEST) for end in mark.interval)
    axes.plot([low, high], [place, place], color=colour, linewidth=1.1, alpha=0.7)
    filled = colour if METHODS[mark.method].controlled else "white"
    axes.plot(
        [ratio],
        [place],
        marker,
        color=colour,
        markerfacecolor=filled,
        markersize=5.5,
        label=label,
        linestyle="none",
    )
    if not inside:
        axes.annotate(
            f"{mark.ratio:.3g}",
            (ratio, place),
            textcoords="offset points",
            xytext=(7 if mark.ratio > WIDEST else -7, 0),
            ha="left" if mark.ratio > WIDEST else "right",
            va="center",
            fontsize=7.5,
            color=colour,
        )


@dataclass(frozen=True)
class RateLine:
    """One line of the second picture.

    Attributes:
        panel: Task and base.
        label: Method, or "best fixed rate".
        steps: From 1.
        rates: Rate as applied at these steps.
    """

    panel: str
    label: str
    steps: tuple[int, ...]
    rates: tuple[float, ...]


FIXED_LABEL = "best fixed rate"


def rate_lines(results: Sequence[Result], schedule: str) -> list[RateLine]:
    """Return the lines of the second picture: controlled methods, first seed, and the best fixed rate."""
    lines: dict[tuple[str, str], RateLine] = {}
    first = min((r.run.seed for r in results), default=0)
    for r in results:
        run = r.run
        wanted = run.schedule == schedule and run.seed == first and not run.equal_gradients and run.scale == 1
        if not (wanted and METHODS[run.method].controlled and r.rates and run.dtype == "float32"):
            continue
        base = METHODS[run.method].base
        panel = f"{run.task}, {base}"
        best = tuned(results, run.task, base, schedule)
        if best is not None:
            factor = schedule_factor(run.schedule, r.steps)
            taken = tuple(range(1, r.steps + 1))
            rates = tuple(best.rate * factor(step - 1) for step in taken)
            lines[panel, FIXED_LABEL] = RateLine(panel, FIXED_LABEL, taken, rates)
        steps, own = zip(*r.rates, strict=True)
        lines[panel, run.method] = RateLine(panel, run.method, steps, own)
    return list(lines.values())


def rate_figure(lines: Sequence[RateLine]) -> Figure:
    """Draw one panel per task and base: the learning rate by step, on a log axis."""
    labels = [FIXED_LABEL, *controlled_first({line.label for line in lines} - {FIXED_LABEL})]

    def draw(axes: Axes, panel: str) -> None:
        axes.set_yscale("log")
        own = [line for line in lines if line.panel == panel]
        for line in own:
            k = labels.index(line.label)
            fixed = line.label == FIXED_LABEL
            axes.plot(
                line.steps,
                line.rates,
                color=INK if fixed else colour_of(k - 1),
                linestyle="--" if fixed else style_of(k - 1),
                linewidth=1.6,
                label=line.label,
            )
        largest = max(max(line.rates) for line in own)
        axes.set_ylim(largest * 1e-5, largest * 3)

    names = list(dict.fromkeys(line.panel for line in lines))
    return panels(names, draw, "step", "learning rate as applied", PANELS)
