"""`galatune bench`: how close control comes to a tuned rate, beside its peers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from galatune.bench.comparison import Invariance
    from galatune.bench.runs import Result
    from galatune.bench.score import Score

__all__ = ["bench"]

TASKS = "digits-cnn"
METHODS = "gala-graph,gala-closure,gala-sgd-graph,gala-sgd-closure"


@click.command()
@click.option(
    "--suite",
    type=click.Choice(["quick", "full"]),
    help="Tasks, methods and schedules that belong together; quick takes 5 to 15 minutes on two cores.",
)
@click.option(
    "--tasks", metavar="NAMES", help=f"Comma-separated; an unknown one lists them.  [default: {TASKS}]"
)
@click.option(
    "--methods",
    metavar="NAMES",
    help="Comma-separated; an unknown one lists them. The fixed rates they are compared with are added.  "
    "[default: ours]",
)
@click.option(
    "--schedule",
    "schedules",
    type=click.Choice(["cosine", "constant"]),
    multiple=True,
    help="May be repeated.  [default: cosine]",
)
@click.option("--seeds", type=click.IntRange(min=1), help="Seeds 0 to N - 1.  [default: 5; of a suite: 3]")
@click.option("--invariance", is_flag=True, help="Train with other initial rates and a scaled loss as well.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default="all cores",
    help="Trainings side by side, a thread each.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench-results"),
    show_default=True,
    help="Folder of results.csv; a stopped bench goes on from there.",
)
def bench(
    suite: str | None,
    tasks: str | None,
    methods: str | None,
    schedules: tuple[str, ...],
    seeds: int | None,
    invariance: bool,
    jobs: int,
    out: Path,
) -> None:
    """Compare control with tuned learning rates and with other optimizers that need none.

    A ratio is a mean validation loss over seeds divided by that of the best fixed rate, which is chosen on
    the same mean. A score is the mean logarithm of the ratios over tasks: 0 is as good as tuning. Gradients
    are those evaluated in one training, probes included.

    \b
    Example:
      galatune bench --tasks digits-cnn --seeds 5 --invariance
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    from rich.console import Console

    from galatune.bench import comparison
    from galatune.bench.methods import find_methods
    from galatune.bench.suites import SUITES
    from galatune.bench.tasks import available, find_tasks

    chosen = SUITES[suite] if suite is not None else None
    wanted = available(chosen.tasks) if chosen is not None and tasks is None else find_tasks(tasks or TASKS)
    results = comparison.compare(
        wanted,
        find_methods(methods or (chosen.methods if chosen is not None else METHODS)),
        schedules or (chosen.schedules if chosen is not None else ("cosine",)),  # type: ignore[arg-type]
        seeds or (chosen.seeds if chosen is not None else 5),
        out,
        jobs,
        _say,
    )
    console = Console(markup=False, highlight=False)
    _print_tasks(console, results)
    if len(wanted) > 1:
        _print_scores(console, results)
    if invariance:
        for one in comparison.invariance(wanted, out, jobs, _say):
            _print_invariance(console, one)
    click.echo(f"Every training: {out / 'results.csv'}", err=True)


def _say(done: int, total: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{done} of {total} trainings ", err=True, nl=done == total)


def _print_tasks(console: Console, results: Sequence[Result]) -> None:
    from rich.table import Table

    from galatune.bench.methods import METHODS
    from galatune.bench.score import cells, tuned

    found = cells(results)
    for task, base, schedule in dict.fromkeys(
        (cell.task, METHODS[cell.method].base, cell.schedule.removeprefix("warmup-")) for cell in found
    ):
        best = tuned(results, task, base, schedule)
        assert best is not None
        table = Table(
            title=f"{task}, {base}, {schedule}, {len(best.losses)} seeds", title_justify="left", box=None
        )
        for heading in ("method", "validation loss", "ratio", "gradients", "diverged"):
            table.add_column(heading, justify="left" if heading == "method" else "right")
        reference = sum(best.losses) / len(best.losses)
        for rate, loss in best.grid:
            mark = " (edge)" if rate == best.rate and best.at_the_edge else ""
            table.add_row(f"fixed {rate:g}{mark}", f"{loss:.4f}", f"{loss / reference:.3f}", "", "")
        for cell in found:
            if (cell.task, METHODS[cell.method].base, cell.schedule.removeprefix("warmup-")) == (
                task,
                base,
                schedule,
            ):
                mean = sum(cell.losses) / len(cell.losses)
                table.add_row(
                    cell.method + (", equal gradients" if cell.equal_gradients else ""),
                    f"{mean:.4f}",
                    f"{cell.ratio:.3f}",
                    f"{cell.gradient_evaluations:.0f}",
                    str(cell.diverged or ""),
                )
        console.print(table)
        console.print()


def _print_scores(console: Console, results: Sequence[Result]) -> None:
    from rich.table import Table

    from galatune.bench.score import scores

    table = Table(title="Score: mean ln(ratio); 0 is as good as tuning", title_justify="left", box=None)
    for heading in ("method", "schedule", "score", "95 % interval", "worst", "on", "diverged", "tasks"):
        table.add_column(heading, justify="left" if heading in ("method", "schedule", "on") else "right")
    for score in scores(results):
        table.add_row(*_cells(score))
    console.print(table)


def _cells(score: Score) -> tuple[str, ...]:
    low, high = score.interval
    return (
        score.method + (", equal gradients" if score.equal_gradients else ""),
        score.schedule,
        f"{score.score:+.3f}",
        f"{low:+.3f} to {high:+.3f}",
        f"{score.worst[0]:.2f}",
        score.worst[1],
        str(score.diverged),
        str(score.tasks),
    )


def _print_invariance(console: Console, one: Invariance) -> None:
    rates = ", ".join(f"{rate:g}: {loss!r}" for rate, loss in one.initial_rates.items())
    same = "to the last digit" if one.same_to_the_last_digit else "NOT equal"
    console.print(f"{one.task}, {one.method}, first seed", soft_wrap=True)
    console.print(f"  loss by the rate the optimizer was built with ({same}): {rates}", soft_wrap=True)
    for dtype, (plain, scaled) in one.scaled.items():
        what = f"training loss, epsilon and coupled decay times 1 and 1e-6, {dtype}"
        console.print(
            f"  {what} (equal to {one.digits(dtype)} digits): {plain:.9g}, {scaled:.9g}", soft_wrap=True
        )
