"""`galatune bench`: how close control comes to a tuned rate, beside its peers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galatune.errors import GalatuneError

if TYPE_CHECKING:
    from rich.console import Console

    from galatune.bench.controller.methods import Schedule
    from galatune.bench.controller.runs import Result
    from galatune.bench.controller.tasks import Task
    from galatune.bench.sensitivity.curves import Curve

__all__ = ["bench"]

TASKS = "digits-cnn"
METHODS = "gala-graph,gala-closure,gala-sgd-graph,gala-sgd-closure"
WIDTH = 120
"""Columns where stdout is not a terminal."""


def _folder(_context: click.Context, _option: click.Parameter, value: str) -> Path:
    if not value.strip():
        raise GalatuneError(f"--out {value!r} names no folder; leave it out or name one")
    return Path(value)


@click.command()
@click.option(
    "--suite",
    type=click.Choice(["quick", "full"]),
    help="Tasks, methods and schedules that belong together. On two cores quick takes 5 to 15 minutes; full, "
    "all tasks and both schedules, over an hour.",
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
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    help="Seeds 0 to N - 1.  [default: 5; of a suite and of --sensitivity: 3]",
)
@click.option("--invariance", is_flag=True, help="Train with other initial rates and a scaled loss as well.")
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Instead: train from every decade of initial rates, 1e-8 to 10, on four tasks. With a suite: too.",
)
@click.option("--figures", is_flag=True, help="Draw what is printed, as SVG and PNG in the folder of --out.")
@click.option(
    "--cost",
    is_flag=True,
    help="Instead: time and memory of each probe, a transformer with control and without taking turns. "
    "Torch's own number of threads; 15 to 45 minutes.",
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="Of --cost; cuda trains GPT-2 small.  [default: cpu]"
)
@click.option("--steps", type=click.IntRange(min=1), help="Of each training of --cost.  [default: 300]")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default="all cores",
    help="Trainings side by side, a thread each.",
)
@click.option(
    "--out",
    metavar="FOLDER",
    default="bench-results",
    show_default=True,
    callback=_folder,
    help="Folder of results.csv; a stopped bench goes on from there.",
)
def bench(
    suite: str | None,
    tasks: str | None,
    methods: str | None,
    schedules: tuple[Schedule, ...],
    seeds: int | None,
    invariance: bool,
    sensitivity: bool,
    figures: bool,
    cost: bool,
    device: str | None,
    steps: int | None,
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
      galatune bench --sensitivity
      galatune bench --cost
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    if cost:
        if (
            suite
            or tasks is not None
            or methods is not None
            or schedules
            or invariance
            or sensitivity
            or figures
        ):
            raise click.UsageError("--cost goes alone, with --device or --steps")
        _cost(device, steps)
        return
    if device is not None or steps is not None:
        raise click.UsageError("--device and --steps belong to --cost")
    from galatune.bench.controller import comparison
    from galatune.bench.controller.methods import find_methods
    from galatune.bench.controller.suites import SUITES, Suite
    from galatune.bench.controller.tasks import available, find_tasks
    from galatune.bench.controller.text import invariance_lines
    from galatune.cli.countdown import Countdown

    chosen = SUITES[suite] if suite is not None else Suite(TASKS, METHODS, ("cosine",), 5)
    console, countdown = _console(), Countdown("trainings")
    if suite is not None or not sensitivity:
        wanted = (
            available(chosen.tasks) if suite and tasks is None else find_tasks(_given(tasks, chosen.tasks))
        )
        found = find_methods(_given(methods, chosen.methods))
        results = comparison.compare(
            wanted, found, schedules or chosen.schedules, seeds or chosen.seeds, out, jobs, countdown
        )
        _print_comparison(console, wanted, results)
        if figures:
            _draw(results, schedules or chosen.schedules, out)
        for one in comparison.invariance(wanted, out, jobs, countdown) if invariance else ():
            for line in invariance_lines(one):
                console.print(line, soft_wrap=True)
    if sensitivity:
        # What was chosen for a suite's comparison is not meant for this.
        own = (None, None) if suite is not None else (tasks, methods)
        curves = _sensitivity(console, *own, seeds or 3, out, jobs)
        if figures:
            _draw_sensitivity(curves, out)
    click.echo(f"Every training: {out / 'results.csv'}", err=True)


def _cost(device: str | None, steps: int | None) -> None:
    from galatune.bench.controller.text import cost_table
    from galatune.bench.cost.measure import measure, probes, workload_for
    from galatune.cli.countdown import Countdown

    workload = workload_for(device or "cpu")
    console = _console()
    for probe in probes():
        found = measure(workload, probe, steps or 300, Countdown(f"steps with the {probe} probe"))
        console.print(cost_table(found))
        console.print()
    console.print(
        f"{workload.name}, {workload.batch} x {workload.length} characters a step, AdamW.",
        soft_wrap=True,
    )


def _given(value: str | None, default: str) -> str:
    return default if value is None else value


def _console() -> Console:
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH)


def _print_comparison(console: Console, wanted: Sequence[Task], results: Sequence[Result]) -> None:
    from galatune.bench.controller.text import difference_tables, score_tables, task_tables

    for table in task_tables(results):
        console.print(table)
        console.print()
    if len(wanted) > 1:
        for table in (*score_tables(results), *difference_tables(results)):
            console.print(table)
            console.print()


def _draw(results: Sequence[Result], schedules: Sequence[Schedule], out: Path) -> None:
    from galatune.bench.controller import figures

    for schedule in schedules:
        found = figures.marks(results, schedule)
        if found:
            _saved(figures.save(figures.score_figure(found, schedule), out, f"scores-{schedule}"))
        lines = figures.rate_lines(results, schedule)
        if lines:
            _saved(figures.save(figures.rate_figure(lines), out, f"rates-{schedule}"))


def _draw_sensitivity(curves: Sequence[Curve], out: Path) -> None:
    from galatune.bench.controller import figures

    _saved(figures.save(figures.sensitivity_figure(curves), out, "sensitivity"))


def _saved(paths: Sequence[Path]) -> None:
    click.echo(f"written to {' and '.join(map(str, paths))}", err=True)


def _sensitivity(
    console: Console, tasks: str | None, methods: str | None, seeds: int, out: Path, jobs: int
) -> list[Curve]:
    from galatune.bench.controller.methods import METHODS as KNOWN
    from galatune.bench.controller.methods import find_methods
    from galatune.bench.controller.tasks import find_tasks
    from galatune.bench.controller.text import sensitivity_table
    from galatune.bench.sensitivity import curves as sensitivity
    from galatune.cli.countdown import Countdown

    names = _given(methods, sensitivity.SENSITIVITY_METHODS)
    curves = sensitivity.sensitivity(
        find_tasks(_given(tasks, sensitivity.SENSITIVITY_TASKS)),
        find_methods(names),
        seeds,
        out,
        jobs,
        Countdown("trainings"),
    )
    console.print(sensitivity_table(curves))
    console.print()
    if "prodigy" in KNOWN and "prodigy" in names:
        console.print("The initial rate of prodigy is its factor on the rate that it estimates.")
    return curves
