"""Three pictures: ratios by task, final loss by initial rate, learning rate by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galatune.bench.controller.methods import METHODS, OURS
from galatune.bench.controller.methods.method import schedule_factor
from galatune.bench.controller.runs import Result
from galatune.bench.controller.score import cells, scores, tuned
from galatune.bench.sensitivity.curves import Curve
from galatune.errors import GalatuneError
from galatune.statistics import log_ratio_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Mark",
    "RateLine",
    "marks",
    "rate_figure",
    "rate_lines",
    "save",
    "score_figure",
    "sensitivity_figure",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
"""Told apart with any colour vision (Okabe and Ito; Tol); markers and line styles differ as well."""
MARKERS = "osD^vP*X<>ph"
STYLES = ("-", "--", "-.", ":")
INK = "#555555"
NARROWEST, WIDEST = 0.4, 8.0
"""Ratios that the axis shows; what lies beyond is marked at its edge."""
SCORE = "score"
PANELS = 3
"""Side by side."""


@dataclass(frozen=True)
class Mark:
    """One method in one row of the first picture.

    Attributes:
        row: Task, or "score": the geometric mean over the tasks that count.
        method: Name.
        ratio: To the best fixed rate.
        interval: 95 %, bootstrap over seeds; of the score over tasks and seeds.
    """

    row: str
    method: str
    ratio: float
    interval: tuple[float, float]


def marks(results: Sequence[Result], schedule: str) -> list[Mark]:
    """Points of the first picture: every method at equal steps under one schedule."""
    found = []
    for cell in cells(results):
        if cell.schedule.removeprefix("warmup-") != schedule or cell.equal_gradients:
            continue
        best = tuned(results, cell.task, METHODS[cell.method].base, schedule)
        assert best is not None
        low, high = log_ratio_interval([(cell.losses, best.losses)], paired=True)
        found.append(Mark(cell.task, cell.method, cell.ratio, (math.exp(low), math.exp(high))))
    for score in scores(results):
        if score.schedule.removeprefix("warmup-") == schedule and not score.equal_gradients:
            low, high = (math.exp(end) for end in score.interval)
            found.append(Mark(SCORE, score.method, math.exp(score.score), (low, high)))
    return found


def score_figure(found: Sequence[Mark], schedule: str) -> Figure:
    """One row a task, the score last; ours filled, peers hollow; a logarithmic axis of ratios."""
    rows = list(dict.fromkeys(mark.row for mark in found))
    methods = _ours_first({mark.method for mark in found})
    room = 0.8 / len(methods)
    height = 1.6 + len(rows) * max(0.3, 0.11 * len(methods))
    figure = _figure(8.0, height)
    axes = figure.add_subplot()
    _plain(axes, f"validation loss / that of the best fixed rate, {schedule} schedule", "")
    axes.set_xscale("log")
    axes.axvline(1.0, color=INK, linewidth=1)
    for k, method in enumerate(methods):
        colour, marker = _look(k)
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
    _legend(figure)
    return figure


def _mark(axes: Axes, mark: Mark, place: float, colour: str, marker: str, label: str | None) -> None:
    inside = NARROWEST <= mark.ratio <= WIDEST
    ratio = min(max(mark.ratio, NARROWEST), WIDEST)
    low, high = (min(max(end, NARROWEST), WIDEST) for end in mark.interval)
    axes.plot([low, high], [place, place], color=colour, linewidth=1.1, alpha=0.7)
    filled = colour if mark.method in _own() else "white"
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


def sensitivity_figure(curves: Sequence[Curve]) -> Figure:
    """One panel a task: mean final loss by the rate the optimizer was built with, both logarithmic."""
    methods = _ours_first({curve.method for curve in curves})

    def draw(axes: Axes, task: str) -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        for k, method in enumerate(methods):
            for curve in curves:
                if (curve.task, curve.method) == (task, method):
                    colour, marker = _look(k)
                    axes.plot(
                        curve.rates,
                        curve.means,
                        color=colour,
                        marker=marker,
                        markersize=4.5,
                        markerfacecolor=colour if method in _own() else "white",
                        linewidth=2.4 if method in _own() else 1.4,
                        label=method,
                    )

    tasks = list(dict.fromkeys(curve.task for curve in curves))
    return _panels(tasks, draw, "rate the optimizer was built with", "validation loss at the end", 2)


@dataclass(frozen=True)
class RateLine:
    """One line of the third picture.

    Attributes:
        panel: Task and base.
        label: Method, or "best fixed rate".
        steps: From 1.
        rates: As applied at these steps.
    """

    panel: str
    label: str
    steps: tuple[int, ...]
    rates: tuple[float, ...]


FIXED_LABEL = "best fixed rate"


def rate_lines(results: Sequence[Result], schedule: str) -> list[RateLine]:
    """Points of the third picture: the first seed of ours, and the best fixed rate with its schedule."""
    lines: dict[tuple[str, str], RateLine] = {}
    for r in results:
        run = r.run
        wanted = run.schedule == schedule and run.seed == 0 and not run.equal_gradients and run.scale == 1
        if not (wanted and run.method in _own() and r.rates and run.dtype == "float32"):
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
    """One panel a task and base: the learning rate by step, logarithmic."""
    labels = [FIXED_LABEL, *_ours_first({line.label for line in lines} - {FIXED_LABEL})]

    def draw(axes: Axes, panel: str) -> None:
        axes.set_yscale("log")
        own = [line for line in lines if line.panel == panel]
        for line in own:
            k = labels.index(line.label)
            fixed = line.label == FIXED_LABEL
            axes.plot(
                line.steps,
                line.rates,
                color=INK if fixed else COLOURS[(k - 1) % len(COLOURS)],
                linestyle="--" if fixed else STYLES[(k - 1) % len(STYLES)],
                linewidth=1.6,
                label=line.label,
            )
        largest = max(max(line.rates) for line in own)
        axes.set_ylim(largest * 1e-5, largest * 3)

    panels = list(dict.fromkeys(line.panel for line in lines))
    return _panels(panels, draw, "step", "learning rate as applied", PANELS)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as SVG and as PNG.

    Returns:
        Both files.

    Raises:
        GalatuneError: They cannot be written.
    """
    paths = [folder / f"{name}.{kind}" for kind in ("svg", "png")]
    for path in paths:
        try:
            figure.savefig(path, dpi=130)
        except OSError as error:
            raise GalatuneError(
                f"cannot write {path}: {error.strerror}; trainings that are in {folder} stay"
            ) from error
    return paths


def _own() -> set[str]:
    return {method.name for method in OURS}


def _ours_first(methods: set[str]) -> list[str]:
    return [name for name in METHODS if name in methods & _own()] + [
        name for name in METHODS if name in methods - _own()
    ]


def _look(k: int) -> tuple[str, str]:
    return COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]


def _panels(names: Sequence[str], draw: Callable[[Axes, str], None], x: str, y: str, columns: int) -> Figure:
    columns = min(columns, len(names))
    rows = math.ceil(len(names) / columns)
    figure = _figure(1.0 + 3.2 * columns, 1.0 + 2.4 * rows)
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1)
        _plain(axes, "", "")
        axes.set_title(name, fontsize=10, color=INK)
        draw(axes, name)
        _plain_numbers(axes)
    figure.supxlabel(x, fontsize=10, color=INK)
    figure.supylabel(y, fontsize=10, color=INK)
    _legend(figure)
    return figure


def _figure(width: float, height: float) -> Figure:
    """A figure of its own: no pyplot, so that nothing is left in the caller's session."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(which="both", colors=INK, labelsize=9)
    axes.grid(which="major", color=INK, alpha=0.25, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))


def _plain_numbers(axes: Axes) -> None:
    """An axis of less than two decades is labelled 2, 3, 4 and not 2 x 10^0."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = axes.get_ylim()
    if high < 100 * low:
        plain = FuncFormatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
        axes.yaxis.set_major_formatter(plain)
        axes.set_yticks([], minor=True)


def _legend(figure: Figure) -> None:
    """Above, each label once."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(
        found.values(),
        found.keys(),
        loc="outside upper left",
        ncols=4,
        frameon=False,
        labelcolor=INK,
        fontsize=9,
    )
