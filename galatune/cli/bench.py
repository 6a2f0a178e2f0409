"""`galatune bench`: how close control comes to a tuned rate, and what it costs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galatune.errors import GalatuneError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from galatune.bench.controller.methods import Schedule

__all__ = ["bench", "out_option", "printed"]

WIDTH = 120
"""Columns of the tables if stdout is no terminal."""


def _folder(_context: click.Context, _option: click.Parameter, value: str) -> Path:
    if not value.strip():
        raise GalatuneError(f"--out {value!r} names no folder; leave it out or name one")
    return Path(value)


jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default="all cores",
    help="Trainings side by side, with one thread each.",
)
out_option = click.option(
    "--out",
    metavar="FOLDER",
    default="bench-results",
    show_default=True,
    callback=_folder,
    help="Folder of the results; a bench that was stopped goes on from there.",
)
figures_option = click.option(
    "--figures", is_flag=True, help="Draw what is printed, as SVG and PNG in the folder of --out."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measure control against tuned learning rates and other optimizers, and what it costs.

    \b
    galatune bench compare --tasks digits-cnn --seeds 5 --invariance
    galatune bench studies
    galatune bench cost
    galatune bench sensitivity
    galatune bench workers
    galatune bench tables
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines


@bench.command()
@click.option(
    "--suite",
    type=click.Choice(["quick", "full", "held-out", "long"]),
    help="Tasks, methods and schedules that belong together. On two cores quick takes 5 to 15 minutes; full, "
    "all tasks of usual length and both schedules, about two hours; held-out, tasks on which nothing was "
    "chosen, 10 to 20 minutes; long, trainings of 4,000 and 20,000 steps, two to three hours. All but the "
    "first are estimates.",
)
@click.option(
    "--tasks", metavar="NAMES", help="Comma-separated; an unknown one lists them.  [default: digits-cnn]"
)
@click.option(
    "--methods",
    metavar="NAMES",
    help="Comma-separated; an unknown one lists them. The fixed rates they are compared with are added.  "
    "[default: control with the graph and the closure probe]",
)
@click.option(
    "--schedule",
    "schedules",
    type=click.Choice(["cosine", "constant"]),
    multiple=True,
    help="May be repeated.  [default: cosine]",
)
@click.option("--seeds", type=click.IntRange(min=1),
              help="Number of seeds.  [default: 5; of a suite: 3; of long: 2]")  # fmt: skip
@click.option("--first-seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="The other seeds follow it. Nothing was chosen on seeds from 6 on.")  # fmt: skip
@click.option("--invariance", is_flag=True, help="Train with other initial rates and a scaled loss as well.")
@click.option(
    "--regret",
    is_flag=True,
    help="Show the regret of each controlled method: how much lower its modelled loss per probe would have "
    "been at the best fixed rate.",
)
@figures_option
@jobs_option
@out_option
def compare(
    suite: str | None,
    tasks: str | None,
    methods: str | None,
    schedules: tuple[Schedule, ...],
    seeds: int | None,
    first_seed: int,
    invariance: bool,
    regret: bool,
    figures: bool,
    jobs: int,
    out: Path,
) -> None:
    """Compare control with tuned learning rates and with other optimizers that need none.

    A ratio is a mean validation loss over seeds divided by that of the best fixed rate, which is chosen on
    the same mean. A score is the mean logarithm of the ratios over tasks: 0 is as good as tuning. Gradients
    are those evaluated in one training, probes included. "one-rate" is one fixed rate for all tasks, chosen
    for each task on the others. Tasks and seeds that had a part in choosing the method ("chosen on") and
    those that had none ("held-out") have tables of their own.

    \b
    galatune bench compare --tasks digits-cnn --seeds 5 --invariance
    galatune bench compare --tasks digits-mlp --methods discounted-ftrl,ftrl,coin-betting --regret
    galatune bench compare --suite quick
    galatune bench compare --suite held-out --seeds 3 --first-seed 100
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    from galatune.bench.controller import comparison
    from galatune.bench.controller.figures import comparison_figures
    from galatune.bench.controller.suites import choose
    from galatune.bench.controller.text import comparison_tables, invariance_lines
    from galatune.cli.countdown import Countdown

    chosen, countdown = choose(suite, tasks, methods, schedules, seeds, first_seed), Countdown("trainings")
    results = comparison.compare(
        chosen.tasks, chosen.methods, chosen.schedules, chosen.seeds, out, jobs, countdown
    )
    printed(comparison_tables(results, several=len(chosen.tasks) > 1, regret=regret))
    if figures:
        _save(comparison_figures(results, chosen.schedules), out)
    for one in comparison.invariance(chosen.tasks, out, jobs, countdown) if invariance else ():
        for line in invariance_lines(one):
            click.echo(line)
    click.echo(f"Every training: {out / 'results.csv'}", err=True)


@bench.command()
@click.option(
    "--suite",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="quick takes about 20 minutes on two cores and is too small to claim anything; full takes hours.",
)
@click.option(
    "--objectives", metavar="NAMES", help="Comma-separated; an unknown one lists them.  [default: all]"
)
@click.option("--settings", metavar="NAMES", help="What changed since the old study.  [default: all]")
@click.option("--ways", metavar="NAMES", help="Ways of searching; the null is added.  [default: the suite's]")
@click.option("--seeds", type=click.IntRange(min=1), help="Use seeds 0 to N - 1.  [default: the suite's]")
@click.option(
    "--frozen",
    metavar="COMMIT",
    help="Where the method was frozen; uses the seeds from 5 up, on which nothing was chosen.",
)
@figures_option
@jobs_option
@out_option
def studies(
    suite: str,
    objectives: str | None,
    settings: str | None,
    ways: str | None,
    seeds: int | None,
    frozen: str | None,
    figures: bool,
    jobs: int,
    out: Path,
) -> None:
    """Search whole studies anew in every way, and judge what each finds by what it costs.

    An old study is drawn per objective and seed. Then its space is searched again on rows that it has not
    seen: as it was ("again") or moved to other widths, batches, epochs or fewer rows. What a search
    considers best at a third, at two thirds and at the whole cost of the old one is trained with four new
    seeds and judged on test rows.

    \b
    galatune bench studies
    galatune bench studies --suite full --figures
    galatune bench studies --objectives friedman --ways fixed,galatune --seeds 2
    galatune bench studies --ways fixed,galatune-prior,galatune-pilot
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    from galatune.bench.studies.comparisons import Testbed
    from galatune.bench.studies.figures import studies_figures
    from galatune.bench.studies.suites import choose
    from galatune.bench.studies.testbed import run_testbed
    from galatune.bench.studies.text import studies_tables, studies_words
    from galatune.cli.countdown import Countdown

    plan = choose(suite, objectives, settings, ways, seeds, frozen)
    testbed = Testbed(run_testbed(plan, out, jobs, Countdown("searches")))
    printed(studies_tables(testbed))
    for line in studies_words(testbed):
        click.echo(line)
    if figures:
        _save(studies_figures(testbed), out)
    click.echo(f"Every search: {out / 'studies.jsonl'}", err=True)


@bench.command()
@click.option(
    "--objectives", metavar="NAMES", help="Comma-separated; an unknown one lists them.  [default: all]"
)
@click.option("--settings", metavar="NAMES", help="What changed since the old study.  [default: all]")
@click.option("--studies", type=click.IntRange(1, 5), default=2, show_default=True, help="Old studies each.")
@click.option(
    "--repeats", type=click.IntRange(min=1), default=4, show_default=True, help="Seeds of each training."
)
@click.option(
    "--frozen",
    metavar="COMMIT",
    help="Where the method was frozen; uses the old studies on which nothing was chosen.",
)
@jobs_option
@out_option
def prior(
    objectives: str | None,
    settings: str | None,
    studies: int,
    repeats: int,
    frozen: str | None,
    jobs: int,
    out: Path,
) -> None:
    """Train old best configurations at the old rate, at six others, controlled, and controlled with a prior.

    As they were and moved to other nets, batches, epochs and fewer rows. The old studies are those of
    bench studies. By default it takes about half an hour on two cores.

    \b
    galatune bench prior
    galatune bench prior --objectives friedman --settings again --repeats 16
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    from galatune.bench.prior.text import prior_tables, prior_words
    from galatune.bench.prior.trainings import run_trainings
    from galatune.bench.studies.suites import choose
    from galatune.cli.countdown import Countdown

    plan = choose("quick", objectives, settings, None, studies, frozen)
    trained = run_trainings(plan, repeats, out, jobs, Countdown("trainings"))
    printed(prior_tables(trained))
    for line in prior_words(trained):
        click.echo(line)
    click.echo(f"Every training: {out / 'trainings.jsonl'}", err=True)


@bench.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True,
              help="Where to train; cuda trains GPT-2 small.")  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(min=1), default=300, show_default=True, help="Steps of each training."
)
@click.option(
    "--gradients", is_flag=True, help="Measure instead what a probe counts, on small nets: about 2 minutes."
)
@click.option("--short", is_flag=True, help="Measure instead short trainings of small nets: about 2 minutes.")
def cost(device: str, steps: int, gradients: bool, short: bool) -> None:
    """Measure time and memory of each probe: a transformer with control and without, step by step in turns.

    Torch uses its own number of threads. On a CPU it takes 15 to 45 minutes.

    \b
    galatune bench cost --steps 80
    galatune bench cost --gradients
    galatune bench cost --short
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    if gradients and short:
        raise click.UsageError("--gradients and --short measure different things; give one of them")
    if (gradients or short) and device != "cpu":
        option = "gradients" if gradients else "short"
        raise click.UsageError(f"--{option} measures processor time; leave --device out")
    if gradients:
        _count_gradients(steps)
        return
    if short:
        _time_short_trainings()
        return
    from galatune.bench.cost.measure import measure, probes, workload_for
    from galatune.bench.cost.text import cost_table
    from galatune.cli.countdown import Countdown

    workload = workload_for(device)
    for probe in probes():
        found = measure(workload, probe, steps, Countdown(f"steps with the {probe} probe"))
        printed([cost_table(found)])
    click.echo(f"{workload.name}, {workload.batch} x {workload.length} characters per step, AdamW.")


def _count_gradients(steps: int) -> None:
    from galatune.bench.cost.gradients import COUNTED, gradient_cost, gradient_table, nets
    from galatune.cli.countdown import Countdown

    for probe in COUNTED:
        printed([gradient_table(gradient_cost(probe, nets(), steps, Countdown(f"trainings with {probe}")))])


def _time_short_trainings() -> None:
    from galatune.bench.cost.short import short_costs, short_table
    from galatune.cli.countdown import Countdown

    printed([short_table(short_costs(5, Countdown("trainings")))])


@bench.command()
@click.option("--tasks", metavar="NAMES", help="Comma-separated; an unknown one lists them.  [default: four]")
@click.option(
    "--methods",
    metavar="NAMES",
    help="Comma-separated; an unknown one lists them.  [default: adam, sgd, gala-graph and, if installed, "
    "prodigy]",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Use seeds 0 to N - 1."
)
@figures_option
@jobs_option
@out_option
def sensitivity(
    tasks: str | None, methods: str | None, seeds: int, figures: bool, jobs: int, out: Path
) -> None:
    """Train from every decade of initial rates, 1e-8 to 10, and see what that changes.

    \b
    galatune bench sensitivity --tasks digits-mlp --methods gala-graph --figures
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    from galatune.bench.controller.methods import find_methods
    from galatune.bench.controller.tasks import find_tasks
    from galatune.bench.sensitivity import curves
    from galatune.bench.sensitivity.figure import sensitivity_figure
    from galatune.bench.sensitivity.text import note, sensitivity_table
    from galatune.cli.countdown import Countdown

    wanted = find_tasks(curves.SENSITIVITY_TASKS if tasks is None else tasks)
    found = find_methods(curves.SENSITIVITY_METHODS if methods is None else methods)
    measured = curves.sensitivity(wanted, found, seeds, out, jobs, Countdown("trainings"))
    printed([sensitivity_table(measured)])
    for line in note(found):
        click.echo(line)
    if figures:
        _save({"sensitivity": sensitivity_figure(measured)}, out)
    click.echo(f"Every training: {out / 'results.csv'}", err=True)


def printed(tables: Iterable[RenderableType]) -> None:
    """Print tables, each with an empty line below."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH
    console = Console(markup=False, highlight=False, emoji=False, width=width)
    for table in tables:
        console.print(table)
        console.print()


def _save(figures: dict[str, Figure], out: Path) -> None:
    from galatune.bench.drawing import save

    for name, figure in figures.items():
        click.echo(f"written to {' and '.join(map(str, save(figure, out, name)))}", err=True)
