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
    control_options,
    drop_schedule_option,
    into_option,
    json_option,
    keep_option,
    lr_option,
    name_option,
    named_objective_argument,
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
from galatune.formatting import in_shell

if TYPE_CHECKING:
    from galatune.study.ledger.pilot_report import PilotReport

__all__ = ["pilot"]


@click.command()
@storage_argument
@named_objective_argument
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
    objective: str,
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
    what was chosen. The same command continues an interrupted pilot.

    \b
    Example:
      galatune pilot optuna.db train.py:objective --save plan.json
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    load("torch", "galatune.study.search.pilot", "galatune.cli.progress")
    from galatune.study.search.options import RunOptions
    from galatune.study.search.pilot import pilot as run_pilot
    from galatune.study.storage.writing import default_target

    plan = plan_of(storage, study, lr, keep, drop_schedule=drop_schedule, ask=not yes)
    place = into or default_target(plan.study)[0]
    with running(objective, place, plan, yes=yes, as_json=as_json) as (function, progress):
        report = run_pilot(
            plan,
            function,
            pairs=pairs,
            margin=margin,
            source=storage,
            into=into,
            name=name,
            options=RunOptions(**settings),
            watcher=progress,
            agree=progress.agree,
        )
    if save is not None:
        save_plan(save, replace(plan, pilot=report))
    _print(report, as_json)
    if not as_json and (command := _next(report, storage, objective, save, plan.study)):
        click.echo(f"To go on: {command}", err=True)


def _print(report: PilotReport, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
        return
    report.show(Console(markup=False, highlight=False, emoji=False))


def _next(report: PilotReport, storage: str, objective: str, save: Path | None, study: str) -> str | None:
    """The command that goes on from here, ready to be pasted; None if the search is better left."""
    from galatune.cli.again import shown
    from galatune.study.ledger.pilot_choice import LEAVE

    if report.way == LEAVE:
        return None
    ctx = click.get_current_context()
    words = ["galatune", "run", shown(storage), objective]
    if save is not None:
        words += ["--plan", str(save)]
    else:
        words += ["--study", study] if ctx.params["study"] else []
        for option in ("lr", "keep"):
            words += [word for value in ctx.params[option] for word in (f"--{option}", value)]
        words += ["--drop-schedule"] if ctx.params["drop_schedule"] else []
    for option in ("into", "name"):
        words += [f"--{option}", shown(ctx.params[option])] if ctx.params[option] else []
    return " ".join(
        map(in_shell, words + (["--seed", str(ctx.params["seed"])] if ctx.params["seed"] else []))
    )
