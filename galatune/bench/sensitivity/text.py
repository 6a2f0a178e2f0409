"""A sensitivity as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from galatune.bench.controller.methods import Method
from galatune.bench.sensitivity.curves import Curve
from galatune.bench.text import plain_table

__all__ = ["note", "sensitivity_table"]


def sensitivity_table(curves: Sequence[Curve]) -> Table:
    """One row per task and method."""
    rates = curves[0].rates
    table = plain_table(
        f"Sensitivity to the initial rate, every decade from {rates[0]:g} to {rates[-1]:g}, cosine, "
        f"{len(curves[0].losses[0])} seeds: mean of min(loss, loss at the start) - best",
        ("task", "method", "sensitivity", "best loss", "at", "largest loss", "losses"),
        left=("task", "method", "losses"),
    )
    for curve in curves:
        rate, loss = curve.best
        same = curve.same_to_the_last_digit
        table.add_row(
            curve.task,
            curve.method,
            f"{curve.sensitivity:.3g}",
            f"{loss:.4f}",
            "any" if same else f"{rate:g}",
            f"{max(curve.means):.4f}",
            "equal to the last digit" if same else f"{len(set(curve.means))} different",
        )
    return table


def note(methods: Sequence[Method]) -> list[str]:
    """What a reader should know about the initial rate of these methods."""
    if not any(method.name == "prodigy" for method in methods):
        return []
    return ["The initial rate of prodigy is its factor on the rate that it estimates."]
