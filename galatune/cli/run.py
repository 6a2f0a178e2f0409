"""`galatune run`: the smaller study."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from galatune.cli.loading import load
from galatune.cli.options import (
    drop_schedule_option,
    into_option,
    json_option,
    keep_option,
    lr_option,
    name_option,
    objective_argument,
    storage_argument,
    study_option,
    tolerance_option,
)
from galatune.formatting import in_shell, plural, printable

if TYPE_CHECKING:
    import optuna

    from galatune.study.scan.plan import ShrinkPlan

__all__ = ["run"]


@click.command()
@storage_argument
@objective_argument
@study_option
@into_option
@name_option
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Run N trials.")
@click.option(
    "--until-match",
    is_flag=True,
    help="Stop as soon as the old best is reached; --trials or the old number of trials is the bound. "
    "This is what happens where no budget is named.",
)
@tolerance_option
@click.option(
    "--patience", type=click.IntRange(min=1), metavar="N", help="Stop after N trials without a better value."
)
@click.option("--confirm", is_flag=True, help="A match counts only once it was reached a second time.")
@lr_option
@keep_option
@drop_schedule_option
@click.option(
    "--min-lr", type=float, metavar="RATE", default=0.0, help="Lower bound of the rate, before the schedule."
)
@click.option(
    "--max-lr", type=float, metavar="RATE", default=math.inf, help="Upper bound of the rate as applied."
)
@click.option(
    "--probe",
    type=click.Choice(["auto", "closure", "graph", "echo", "consecutive"]),
    default="auto",
    show_default=True,
    help="Where the controller's gradient pairs come from.",
)
@click.option(
    "--step-scale", type=float, metavar="FACTOR", help="Multiplies the rate.  [default: the recipe's rule]"
)
@click.option(
    "--pace",
    type=float,
    metavar="FACTOR",
    help="Most growth of the rate a step, once steps are large enough to matter; 2 for trainings of a "
    "hundred steps without a schedule.  [default: 1.05]",
)
@click.option("--per-group", is_flag=True, help="A rate of its own for each parameter group.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    show_default=True,
    help="Of the sampler and of each trial.",
)
@click.option("--yes", is_flag=True, help="Answer every question with yes.")
@json_option
def run(
    storage: str,
    objective: str,
    study: str | None,
    into: str | None,
    name: str | None,
    lr: tuple[str, ...],
    keep: tuple[str, ...],
    drop_schedule: bool,
    yes: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run the smaller study: no learning rate in it, the rate set during training.

    STORAGE holds the old study, which is only read. OBJECTIVE is its objective, unchanged:
    path/to/file.py:function or package.module:function. The same command continues an interrupted run.

    \b
    Example:
      galatune run optuna.db train.py:objective --trials 20
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    load("torch", "galatune.study.search.run", "galatune.cli.progress")
    from galatune.cli.progress import RunProgress
    from galatune.study.scan.plan import scan
    from galatune.study.search.objective import as_script, load_objective
    from galatune.study.search.options import RunOptions
    from galatune.study.search.run import run as run_study
    from galatune.study.storage.writing import default_target

    plan = scan(storage, study, lr=lr, keep=keep, drop_schedule=drop_schedule)
    if plan.note:
        click.echo(plan.note, err=True)
    place = into or default_target(plan.study)[0]
    with as_script(objective), RunProgress(place, plan, yes=yes) as progress:
        smaller = run_study(
            plan,
            load_objective(objective),
            source=storage,
            into=into,
            name=name,
            options=RunOptions(**settings),
            watcher=progress,
            agree=progress.agree,
        )
    body = summary(smaller, place)
    if as_json:
        click.echo(json.dumps(body, indent=2))
    else:
        _print(body, plan, storage, into, name)


def summary(smaller: optuna.Study, place: str) -> dict[str, Any]:
    """The keys of ``galatune run --json``."""
    from galatune.study.ledger.attributes import INTERRUPTED, RECORD
    from galatune.study.ledger.rows import ledger
    from galatune.study.storage.address import redact

    rows = ledger(smaller)
    best = None
    if len(rows.directions) == 1:
        sign = -1.0 if rows.directions[0] == "maximize" else 1.0
        best = min(rows.complete, key=lambda row: sign * (row.value or 0.0), default=None)
    records = [row.record for row in rows.rows if row.record is not None]
    return {
        "study": smaller.study_name,
        "storage": redact(place),
        "trials": len(rows.finished),
        "by_state": rows.by_state,
        "interrupted": sum(bool(t.user_attrs.get(INTERRUPTED)) for t in smaller.get_trials(deepcopy=False)),
        "best_value": None if best is None else best.value,
        "best_params": None if best is None else dict(best.params),
        "best_trials": _best_trials(smaller),
        "stopped_because": smaller.user_attrs[RECORD].get("stopped_because"),
        "events": sum(len(record.events) for record in records),
    }


MOST_SHOWN = 10
"""Trials of a Pareto front that are printed."""


def _best_trials(smaller: optuna.Study) -> list[dict[str, Any]]:
    """Numbers and values of the best trial, or of those on the Pareto front."""
    try:
        found = smaller.best_trials if len(smaller.directions) > 1 else [smaller.best_trial]
    except ValueError:  # none is complete
        return []
    finite = [trial for trial in found if all(map(math.isfinite, trial.values))]
    return [{"number": trial.number, "values": list(trial.values)} for trial in finite]


def _best_rows(body: dict[str, Any], objectives: int) -> list[tuple[str, str]]:
    """What a reader of the table is told of the best."""
    if objectives == 1:
        value = "none" if body["best_value"] is None else f"{body['best_value']:.6g}"
        return [("best value", value), *((f"  {k}", str(v)) for k, v in (body["best_params"] or {}).items())]
    front = body["best_trials"]
    rows = [("Pareto front", plural(len(front), "trial"))]
    for trial in front[:MOST_SHOWN]:
        rows.append((f"  trial {trial['number']}", ", ".join(f"{value:.6g}" for value in trial["values"])))
    return rows if len(front) <= MOST_SHOWN else [*rows, ("  ...", f"{len(front) - MOST_SHOWN} more")]


def _print(body: dict[str, Any], plan: ShrinkPlan, storage: str, into: str | None, name: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    states = ", ".join(f"{n} {state}" for state, n in body["by_state"].items())
    if body["interrupted"]:
        states += f" ({body['interrupted']} interrupted, which use no budget)"
    for label, value in (
        ("study", f"{body['study']} in {body['storage']}"),
        ("stopped", body["stopped_because"]),
        ("trials", states),
        *_best_rows(body, len(plan.directions)),
    ):
        table.add_row(printable(str(label)), printable(str(value)))
    Console(markup=False, highlight=False, emoji=False).print(table)
    command = ["galatune", "report", _place(storage), "--study", plan.study]
    command += ["--into", _place(into)] if into else []
    command += ["--name", name] if name else []
    click.echo(f"What it saved: {' '.join(map(in_shell, command))}", err=True)


def _place(storage: str) -> str:
    """A URL without its password; a file's name stays whatever it is."""
    from galatune.study.storage.address import is_url, redact

    return redact(storage) if is_url(storage) else storage
