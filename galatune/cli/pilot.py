"""`galatune pilot`: a few pairs of trainings choose how the smaller search sets its rates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galatune.cli.loading import load
from galatune.cli.options import (
    File,
    arguments_argument,
    control_options,
    drop_schedule_option,
    into_option,
    json_option,
    keep_option,
    lr_option,
    module_option,
    name_option,
    objective_argument,
    prior_option,
    repeats_option,
    seed_option,
    storage_argument,
    study_option,
    tolerance_option,
    yes_option,
)
from galatune.cli.run import plan_of, running
from galatune.cli.saved_plan import save_plan
from galatune.cli.scripts import ScriptRun, script_of, taken_over
from galatune.errors import ObjectiveError
from galatune.formatting import in_shell, plural

if TYPE_CHECKING:
    from galatune.cli.progress import RunProgress
    from galatune.study.ledger.pilot_report import PilotReport
    from galatune.study.scan.plan import ShrinkPlan
    from galatune.study.search.options import RunOptions
    from galatune.study.search.scripts.handed_over import HandedOver
    from galatune.study.search.scripts.running import Script

__all__ = ["pilot"]


@click.command()
@storage_argument
@objective_argument
@arguments_argument
@module_option
@study_option
@into_option
@name_option
@click.option(
    "--pairs",
    type=click.IntRange(2, 1000),
    metavar="N",
    help="At most N pairs of trainings.  [default: 5, or 15 % of the old study's trials, but at least 2]",
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    metavar="VALUE",
    help="Differences up to this size count as none, in the units of the objective.  [default: that of the "
    "goal]",
)
@click.option(
    "--save", type=File(), metavar="FILE", help="Write the plan with the pilot's choice, for run --plan."
)
@tolerance_option
@repeats_option
@lr_option
@keep_option
@drop_schedule_option
@control_options
@prior_option
@seed_option
@yes_option
@json_option
def pilot(
    storage: str,
    objective: str | None,
    arguments: tuple[str, ...],
    module: str | None,
    study: str | None,
    into: str | None,
    name: str | None,
    pairs: int | None,
    margin: float | None,
    save: Path | None,
    lr: tuple[str, ...],
    keep: tuple[str, ...],
    drop_schedule: bool,
    yes: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Compare control with a fixed rate on the best old configurations, and choose.

    Pairs of trainings follow one another: one configuration, one seed, once under control and once with the
    rate fixed at the old best's. They are trials of the smaller study, in which galatune run goes on with
    what was chosen. The same command continues an interrupted pilot. OBJECTIVE is path/to/file.py:function,
    package.module:function, or a script that calls study.optimize itself, with its own arguments behind --;
    the script ends there.

    \b
    Examples:
      galatune pilot optuna.db train.py:objective --save plan.json
      galatune pilot optuna.db train.py --save plan.json -- --epochs 5
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    load("torch", "galatune.study.search.pilot", "galatune.cli.progress")
    from galatune.study.search.options import RunOptions
    from galatune.study.search.pilot import pilot as run_pilot
    from galatune.study.storage.writing import default_target

    script = script_of(objective, module, arguments)
    if script is not None:
        script.check()
    plan = plan_of(storage, study, lr, keep, drop_schedule=drop_schedule, ask=not yes)
    place, options = into or default_target(plan.study)[0], RunOptions(**settings)
    called: dict[str, Any] = {"pairs": pairs, "margin": margin, "source": storage, "into": into, "name": name}
    if script is not None:
        report, failed = _of_script(script, plan, place, options, called, yes=yes)
    else:
        with running(str(objective), place, plan, yes=yes, as_json=as_json, command="pilot") as found:
            function, progress = found
            report = run_pilot(
                plan, function, options=options, watcher=progress, agree=progress.agree, **called
            )
        failed = None
    if save is not None and report.over:
        save_plan(save, replace(plan, pilot=report))
    _print(report, as_json)
    _check_over(report, failed)
    if not as_json and (command := _next(report, storage, script or str(objective), save, plan.study)):
        click.echo(f"To go on: {command}", err=True)


def _of_script(
    script: Script, plan: ShrinkPlan, place: str, options: RunOptions, called: dict[str, Any], *, yes: bool
) -> tuple[PilotReport, str | None]:
    """The pilot in the place of a script's search, and how the script failed meanwhile, if it did."""
    from galatune.study.search.pilot import pilot as run_pilot

    reports: list[PilotReport] = []

    def search(handed: HandedOver, progress: RunProgress) -> None:
        waiting = len(handed.enqueued_without(plan.placeholders))
        left = f"{plural(waiting, 'enqueued configuration')} left for the run. " if waiting else ""
        then = f"{left}The pilot comes in the place of its search, and the script ends there."
        taken_over(script, handed, handed.text_without_enqueued(), then)
        reports.append(
            run_pilot(
                plan,
                handed.objective,
                options=handed.options_with(options, plan),
                watcher=handed.watched(progress),
                agree=progress.agree,
                **called,
            )
        )

    served = ScriptRun(script, plan, place, called["source"], yes, search).serve()
    return reports[-1], served.failed


def _check_over(report: PilotReport, failed: str | None) -> None:
    """Say that there is no choice yet.

    Raises:
        ObjectiveError: The loop of a script ended before the pilot did.
    """
    from galatune.cli.again import again

    if not report.over:
        why = "the loop that asks for trials ends" + (f" (the script ended with {failed})" if failed else "")
        raise ObjectiveError(
            f"{report.sentence()}, since {why}; go on with the same command: "
            f"{again(click.get_current_context(), {})}"
        )


def _print(report: PilotReport, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
        return
    report.show(Console(markup=False, highlight=False, emoji=False))


def _next(
    report: PilotReport, storage: str, objective: str | Script, save: Path | None, study: str
) -> str | None:
    """The command that goes on from here, ready to be pasted; None if the search is better left."""
    from galatune.cli.again import shown
    from galatune.study.ledger.pilot_choice import LEAVE

    if report.way == LEAVE:
        return None
    given = click.get_current_context().params
    if isinstance(objective, str):
        place, behind = [objective], []
    else:
        place, behind = [*(["-m"] if objective.is_module else []), objective.place], [*objective.arguments]
    words = ["galatune", "run", shown(storage), *place]
    if save is not None:
        words += ["--plan", str(save)]
    else:
        words += ["--study", study] if given["study"] else []
        for option in ("lr", "keep"):
            words += [word for value in given[option] for word in (f"--{option}", value)]
        words += ["--drop-schedule"] if given["drop_schedule"] else []
    for option in ("into", "name"):
        words += [f"--{option}", shown(given[option])] if given[option] else []
    words += ["--seed", str(given["seed"])] if given["seed"] else []
    return " ".join(map(in_shell, [*words, *(["--", *behind] if behind else [])]))
