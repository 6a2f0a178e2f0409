"""`galatune run`: the smaller study."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galatune.cli.loading import load
from galatune.cli.options import (
    arguments_argument,
    control_option,
    control_options,
    drop_schedule_option,
    into_option,
    json_option,
    keep_option,
    lr_option,
    module_option,
    name_option,
    objective_argument,
    plan_option,
    polish_option,
    prior_option,
    pruner_option,
    repeats_option,
    sampler_option,
    seed_option,
    storage_argument,
    study_option,
    tolerance_option,
    warm_start_option,
    workers_option,
    yes_option,
)
from galatune.cli.saved_plan import saved_plan
from galatune.cli.scripts import ScriptRun, script_of, taken_over
from galatune.errors import ObjectiveError
from galatune.formatting import in_shell

if TYPE_CHECKING:
    import optuna

    from galatune.cli.progress import RunProgress
    from galatune.study.scan.plan import ShrinkPlan
    from galatune.study.search.objective import Objective
    from galatune.study.search.processes.origin import OfScript
    from galatune.study.search.scripts.handed_over import HandedOver
    from galatune.study.search.summary import RunSummary

__all__ = ["plan_of", "run", "running"]


@click.command()
@storage_argument
@objective_argument
@arguments_argument
@module_option
@study_option
@into_option
@name_option
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Run N trials.")
@click.option(
    "--until-match",
    is_flag=True,
    help="Stop as soon as the old best is reached, at the latest after --trials or as many trials as the old "
    "study finished. This is the default without --trials.",
)
@tolerance_option
@click.option(
    "--patience", type=click.IntRange(min=1), metavar="N", help="Stop after N trials without a better value."
)
@repeats_option
@click.option(
    "--confirm/--no-confirm",
    default=None,
    help="A match counts only if the mean of as many repeats of it matches as well, on top of the budget.  "
    "[default: --confirm unless --repeats is 0]",
)
@lr_option
@keep_option
@drop_schedule_option
@control_option
@control_options
@warm_start_option
@polish_option
@prior_option
@sampler_option
@pruner_option
@seed_option
@workers_option
@plan_option
@click.option(
    "--stop-after-search", is_flag=True, help="End a script with its search; without, it goes on behind it."
)
@yes_option
@json_option
def run(
    storage: str,
    objective: str | None,
    arguments: tuple[str, ...],
    module: str | None,
    study: str | None,
    into: str | None,
    name: str | None,
    lr: tuple[str, ...],
    keep: tuple[str, ...],
    drop_schedule: bool,
    plan_file: Path | None,
    stop_after_search: bool,
    yes: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run the smaller study: it has no learning rate, which is set during training.

    STORAGE holds the old study, which is only read. OBJECTIVE is its objective, unchanged:
    path/to/file.py:function or package.module:function; or the script that calls study.optimize itself,
    with its own arguments behind --. The same command continues an interrupted run.

    \b
    Examples:
      galatune run optuna.db train.py:objective --trials 20
      galatune run optuna.db train.py --trials 20 -- --epochs 5
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    load("torch", "galatune.study.search.run", "galatune.cli.progress")
    from galatune.study.search.options import RunOptions
    from galatune.study.search.processes.origin import Named, OfScript
    from galatune.study.search.run import pilot_place
    from galatune.study.search.run import run as run_study
    from galatune.study.storage.writing import default_target

    script = script_of(objective, module, arguments)
    if script is None and stop_after_search:
        raise click.UsageError("--stop-after-search is for a script (train.py), not for FILE:function")
    if script is not None:
        script.check()
    if plan_file is None:
        plan = plan_of(storage, study, lr, keep, drop_schedule=drop_schedule, ask=not yes)
    else:
        plan = saved_plan(plan_file, study, said=bool(lr or keep or drop_schedule))
    into, name = pilot_place(plan, into, name)
    place, options, failed = into or default_target(plan.study)[0], RunOptions(**settings), None
    # Now, since workers start from the present folder, which a script may leave.
    origin = Named(str(objective)) if script is None else OfScript(script, storage, plan.study, options)
    called: dict[str, Any] = {"options": options, "source": storage, "into": into, "name": name}
    if isinstance(origin, OfScript):
        served = ScriptRun(
            *(origin.script, plan, place, storage, yes),
            search=lambda handed, progress: _of_script(origin, plan, called, handed, progress),
            stop_after=stop_after_search,
            reached=lambda study: _print_reached(study, place, as_json),
        ).serve()
        assert served.study is not None  # `_of_script` always returns one
        smaller, failed = served.study, served.failed
    else:
        with running(str(objective), place, plan, yes=yes, as_json=as_json) as (function, progress):
            called |= {"watcher": progress, "agree": progress.agree}
            smaller = run_study(plan, function, origin=origin, **called)
    _print(_summary(smaller, place), as_json)
    if not as_json:
        click.echo(f"What it saved: {_next(storage, plan.study, into, name)}", err=True)
    if script is not None and failed is not None:
        where = f"The search is stored in {place}, but {script.name} failed behind it"
        raise ObjectiveError(f"{where}: {failed}. --stop-after-search ends it there")


def _of_script(
    origin: OfScript,
    plan: ShrinkPlan,
    called: dict[str, Any],
    handed: HandedOver,
    progress: RunProgress,
) -> optuna.Study:
    """The smaller search in the place of a script's."""
    from galatune.study.search.run import run as run_study

    then = "The budget is the command's."
    if origin.given.workers > 1:
        then += f" Each of {origin.given.workers} workers runs the script as far as here, too."
    taken_over(origin.script, handed, handed.text(plan.placeholders), then)
    return run_study(
        plan,
        handed.objective,
        watcher=handed.watched(progress),
        agree=progress.agree,
        enqueued=handed.enqueued_without(plan.placeholders),
        origin=replace(origin, handed=handed),
        **{**called, "options": handed.options_with(origin.given, plan)},
    )


@contextmanager
def running(
    objective: str, place: str, plan: ShrinkPlan, *, yes: bool, as_json: bool, command: str = "run"
) -> Iterator[tuple[Objective, RunProgress]]:
    """The objective and the progress of its run, which prints what it reached if it is cut short.

    Args:
        objective: FILE:function.
        place: File or URL of the smaller study.
        plan: What is dropped.
        yes: Answer questions with yes.
        as_json: Print one JSON object.
        command: The one that runs: what cannot be named is offered to it as a script.
    """
    from galatune.cli.progress import RunProgress
    from galatune.study.search.objective import as_script, imported

    progress = None
    try:
        # The progress is made where the objective's output goes to stderr already.
        with (
            as_script(objective),
            RunProgress(place, plan, yes=yes) as progress,
            imported(objective, command) as function,
        ):
            yield function, progress
    except (KeyboardInterrupt, ObjectiveError):
        if progress is not None and progress.study is not None:
            _print_reached(progress.study, place, as_json)
        raise


def plan_of(
    storage: str,
    study: str | None,
    lr: tuple[str, ...],
    keep: tuple[str, ...],
    *,
    drop_schedule: bool,
    ask: bool,
) -> ShrinkPlan:
    """What is dropped, once it is settled what may be a learning rate."""
    from galatune.cli.unsure import settle_unsure
    from galatune.study.scan.scan import scan

    plan = scan(storage, study, lr=lr, keep=keep, drop_schedule=drop_schedule)
    if plan.note:
        click.echo(plan.note, err=True)
    return settle_unsure(
        plan,
        lambda rates, others: scan(
            storage, plan.study, lr=(*lr, *rates), keep=(*keep, *others), drop_schedule=drop_schedule
        ),
        ask=ask,
    )


def _summary(smaller: optuna.Study, place: str) -> RunSummary:
    from galatune.cli.again import again
    from galatune.study.search.summary import RunSummary

    ctx = click.get_current_context()
    return RunSummary.of(smaller, place, lambda options: again(ctx, options))


def _print(summary: RunSummary, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=2))
        return
    summary.show(Console(markup=False, highlight=False, emoji=False))
    if summary.next is not None:
        click.echo(f"To go on: {summary.next}", err=True)


def _print_reached(smaller: optuna.Study, place: str, as_json: bool) -> None:
    """The same of a search that was interrupted or failed, if it has reached anything."""
    summary = _summary(smaller, place)
    if summary.best_trials:
        _print(summary, as_json)


def _next(storage: str, study: str, into: str | None, name: str | None) -> str:
    """The command that reports on this run, ready to be pasted; passwords are left out of it."""
    from galatune.cli.again import shown

    words = ["galatune", "report", shown(storage), "--study", study]
    words += ["--into", shown(into)] if into else []
    words += ["--name", name] if name else []
    return " ".join(map(in_shell, words))
