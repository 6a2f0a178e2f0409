"""`galatune bench`: how close control comes to a tuned rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from galatune.bench.table import Standing

__all__ = ["bench"]


@click.command()
@click.option(
    "--tasks",
    metavar="NAMES",
    default="digits-cnn",
    show_default=True,
    help="Comma-separated names; an unknown one lists them.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Seeds 0 to N - 1.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench-results"),
    show_default=True,
    help="Folder of results.csv; a stopped bench goes on from there.",
)
def bench(tasks: str, seeds: int, out: Path) -> None:
    """Compare control with fixed learning rates, at the same number of steps.

    Ratios are mean validation losses over seeds, divided by that of the best fixed rate, which is chosen
    on the same mean. Gradients are those evaluated in one training, probes included.

    \b
    Example:
      galatune bench --tasks digits-cnn --seeds 5
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    import sys

    from rich.console import Console

    from galatune.bench.results import collect
    from galatune.bench.table import standings
    from galatune.bench.tasks import find_tasks

    def say(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done} of {total} trainings", err=True, nl=done == total)

    results = collect(find_tasks(tasks), seeds, out, say)
    console = Console(markup=False, highlight=False)
    for standing in standings(results):
        _print(console, standing)
    click.echo(f"Every training: {out / 'results.csv'}", err=True)


def _print(console: Console, standing: Standing) -> None:
    from rich.table import Table

    table = Table(
        title=f"{standing.task}, {standing.setup}, {standing.seeds} seeds", title_justify="left", box=None
    )
    table.add_column("method")
    table.add_column("validation loss", justify="right")
    table.add_column("ratio to best fixed", justify="right")
    table.add_column("gradients", justify="right")
    for row in standing.rows:
        table.add_row(row.method, f"{row.loss:.4f}", f"{row.ratio:.3f}", f"{row.gradient_evaluations:.0f}")
    console.print(table)
    if standing.at_the_edge:
        console.print(f"The best fixed rate, {standing.best_rate:g}, lies at the edge of the grid.")
    _print_invariance(console, standing)
    console.print()


def _print_invariance(console: Console, standing: Standing) -> None:
    seen = standing.invariance
    rates = ", ".join(f"{rate:g}: {loss!r}" for rate, loss in seen.initial_rates.items())
    same = "to the last digit" if seen.same_to_the_last_digit else "NOT equal"
    console.print(f"Rate the optimizer was built with ({same}): {rates}", soft_wrap=True)
    for dtype, pair in (("float32", seen.float32), ("float64", seen.float64)):
        equal = f"equal to {seen.digits(pair)} digits"
        console.print(
            f"Loss times 1, 1e-6 in {dtype} ({equal}): {pair[0]:.9g}, {pair[1]:.9g}", soft_wrap=True
        )
