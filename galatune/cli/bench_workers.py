"""`galatune bench workers`: what several workers cost."""

from __future__ import annotations

import click

from galatune.cli.bench import printed
from galatune.cli.options import Duration

__all__ = ["workers"]


def _numbers(ctx: click.Context, param: click.Parameter, value: str) -> list[int]:
    words = [word.strip() for word in value.split(",")]
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise click.BadParameter(f"{value!r} is no list of numbers such as 1,2,4")
    return [int(word) for word in words]


@click.command()
@click.option(
    "--workers",
    "counts",
    metavar="NUMBERS",
    default="1,2,4",
    show_default=True,
    callback=_numbers,
    help="How many workers, comma-separated.",
)
@click.option(
    "--trials", type=click.IntRange(min=1), default=200, show_default=True, help="Trials of each search."
)
@click.option(
    "--sleep", type=Duration(min=0), default=0.5, show_default=True, metavar="SECONDS",
    help="How long a trial sleeps.",
)  # fmt: skip
@click.option(
    "--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Searches of either kind."
)
def workers(counts: list[int], trials: int, sleep: float, repeats: int) -> None:
    """Measure what several workers cost: searches in turns with plain Optuna in as many processes.

    A trial takes one step with the rate pinned under control, and sleeps. Timed is from the first trial's
    start to the last one's end; the rest, and the use of the database (an SQLite file), are listed apart.
    The defaults take about 20 minutes; the processor is idle most of the time.

    \b
    galatune bench workers
    galatune bench workers --workers 2 --trials 20 --repeats 1
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    from galatune.bench.cost.workers import compare_workers
    from galatune.bench.cost.workers_text import workers_table
    from galatune.cli.countdown import Countdown

    found = compare_workers(counts, trials, sleep, repeats, Countdown("searches"))
    printed([workers_table(found, sleep)])
