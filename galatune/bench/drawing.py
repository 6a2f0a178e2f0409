"""How the pictures of the testbed look; each room says what is drawn."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galatune.files import write_files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["INK", "colour_of", "empty_figure", "label_axes", "legend", "look", "panels", "save", "style_of"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
"""Told apart with any colour vision (Okabe and Ito; Tol); markers and line styles differ as well."""
MARKERS = "osD^vP*X<>ph"
STYLES = ("-", "--", "-.", ":")
INK = "#555555"


def colour_of(k: int) -> str:
    """Return the colour of the k-th method."""
    return COLOURS[k % len(COLOURS)]


def look(k: int) -> tuple[str, str]:
    """Return colour and marker of the k-th method."""
    return colour_of(k), MARKERS[k % len(MARKERS)]


def style_of(k: int) -> str:
    """Return the line style of the k-th method."""
    return STYLES[k % len(STYLES)]


def panels(names: Sequence[str], draw: Callable[[Axes, str], None], x: str, y: str, columns: int) -> Figure:
    """Draw one panel per name, with a common legend.

    Args:
        names: Titles of the panels.
        draw: Draws the panel of that name.
        x: Label of all horizontal axes.
        y: Label of all vertical axes.
        columns: Panels side by side, at most.
    """
    columns = min(columns, len(names))
    rows = math.ceil(len(names) / columns)
    figure = empty_figure(1.0 + 3.2 * columns, 1.0 + 2.4 * rows)
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1)
        label_axes(axes, "", "")
        axes.set_title(name, fontsize=10, color=INK)
        draw(axes, name)
        _plain_numbers(axes)
    figure.supxlabel(x, fontsize=10, color=INK)
    figure.supylabel(y, fontsize=10, color=INK)
    legend(figure)
    return figure


def empty_figure(width: float, height: float) -> Figure:
    """Return a figure without pyplot, so that nothing is left in the caller's session."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Label the axes, and draw them thin and grey."""
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(which="both", colors=INK, labelsize=9)
    axes.grid(which="major", color=INK, alpha=0.25, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))


def _plain_numbers(axes: Axes) -> None:
    """Label an axis of less than two decades 2, 3, 4 instead of 2 x 10^0."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = axes.get_ylim()
    if high < 100 * low:
        plain = FuncFormatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
        axes.yaxis.set_major_formatter(plain)
        axes.set_yticks([], minor=True)


def legend(figure: Figure) -> None:
    """Draw a legend above the panels, with each label once."""
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


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as SVG and as PNG.

    Returns:
        Both files.

    Raises:
        GalatuneError: They cannot be written; those of an earlier bench stay as they were.
    """
    files = {}
    for kind in ("svg", "png"):
        drawn = io.BytesIO()
        figure.savefig(drawn, format=kind, dpi=130)
        files[folder / f"{name}.{kind}"] = drawn.getvalue()
    write_files(files)
    return list(files)
