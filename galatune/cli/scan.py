"""`galatune scan`: what can be left out of a study."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from galatune.cli.loading import load
from galatune.cli.options import (
    drop_schedule_option,
    json_option,
    keep_option,
    lr_option,
    storage_argument,
    study_option,
)
from galatune.formatting import duration, listed, plural, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from galatune.study.scan.plan import RateDimension, ShrinkPlan

__all__ = ["CONSTRAINED", "scan"]

CONSTRAINED = (
    "Its sampler knew constraints that no storage keeps: a smaller search knows only those that the "
    "objective sets itself, with trial.set_constraint."
)


@click.command()
@storage_argument
@study_option
@lr_option
@keep_option
@drop_schedule_option
@json_option
def scan(
    storage: str,
    study: str | None,
    lr: tuple[str, ...],
    keep: tuple[str, ...],
    drop_schedule: bool,
    as_json: bool,
) -> None:
    """Show which parameters of a study are learning rates. Nothing is changed.

    STORAGE is an Optuna storage URL, an SQLite file or a journal file. Without --study every study in it
    is shown.

    \b
    Example:
      galatune scan optuna.db --study mnist
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    load("galatune.study.scan.plan", "rich.table")
    from galatune.study.scan import plan

    if study is None:
        plans = plan.scan_all(storage, lr=lr, keep=keep, drop_schedule=drop_schedule)
    else:
        plans = (plan.scan(storage, study, lr=lr, keep=keep, drop_schedule=drop_schedule),)
    if plans[0].note:
        click.echo(plans[0].note, err=True)
    if as_json:
        click.echo(json.dumps(_body(plans), indent=2))
        return
    _print(plans)
    if not any(plan.placeholders for plan in plans):
        click.echo("If one of the parameters is a learning rate after all, say --lr NAME.", err=True)


def _body(plans: tuple[ShrinkPlan, ...]) -> dict[str, Any]:
    return plans[0].to_json() if len(plans) == 1 else {"studies": [plan.to_json() for plan in plans]}


def _print(plans: tuple[ShrinkPlan, ...]) -> None:
    from rich.console import Console

    # Names of studies and parameters are somebody else's text: nothing in them is markup.
    console = Console(markup=False, highlight=False, emoji=False)
    if len(plans) == 1:
        _print_plan(console, plans[0])
        return
    console.print(plans[0].storage, style="bold", soft_wrap=True)
    with_rates = sum(bool(plan.placeholders) for plan in plans)
    if with_rates:
        console.print(f"{with_rates} of {len(plans)} studies search a learning rate.", style="green")
    else:
        console.print(f"No learning rate found in any of the {len(plans)} studies.", style="yellow")
    console.print(_overview(plans))
    for plan in plans:
        if plan.learning_rate or plan.refused:
            console.print()
            _print_plan(console, plan)


def _overview(plans: tuple[ShrinkPlan, ...]) -> Table:
    table = _table()
    table.add_column("study", overflow="fold", ratio=2)
    for column in ("trials", "time", "distinct"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("to drop", overflow="fold", ratio=1)
    for plan in plans:
        names = ", ".join(printable(name) for name in plan.placeholders) or "no learning rate"
        table.add_row(
            printable(plan.study),
            str(plan.trials.total),
            duration(plan.hours) or "unknown",
            str(plan.unique_configurations),
            names,
        )
    return table


def _print_plan(console: Console, plan: ShrinkPlan) -> None:
    console.print(printable(plan.study), style="bold", soft_wrap=True)
    console.print(_counts(plan))
    console.print(_verdict(plan), style="green" if plan.placeholders else "yellow")
    if plan.learning_rate:
        console.print(_dimensions(plan.learning_rate))
        for line in _fixed_ratio(plan):
            console.print(line, style="yellow")
    console.print(f"Kept: {listed(plan.kept) or 'nothing'}")
    for refusal in plan.refused:
        console.print(f"Refused: {printable(refusal.name)}: {printable(refusal.reason)}", style="yellow")
    if plan.constrained:
        console.print(CONSTRAINED, style="yellow")
    for line in _unfinished(plan):
        console.print(line, style="yellow")
    if plan.projected:
        console.print(_projected(plan))


def _counts(plan: ShrinkPlan) -> str:
    trials = plan.trials
    states = ("complete", "pruned", "failed", "running", "waiting")
    by_state = ", ".join(f"{getattr(trials, state)} {state}" for state in states if getattr(trials, state))
    split = f" ({by_state})" if by_state else ""
    took = duration(plan.hours) or "time unknown"
    return f"{plural(trials.total, 'trial')}{split}, {took}, {' and '.join(plan.directions)}"


def _verdict(plan: ShrinkPlan) -> str:
    names = [printable(name) for name in plan.placeholders]
    if not plan.trials.total:
        return "No trials yet, so nothing is known about its parameters."
    if not names:
        return "No learning rate found: there is nothing to remove from this study."
    if not plan.kept:
        alone = "Nothing else was searched: every trial would be the same configuration with another seed."
        return f"{plural(len(names), 'dimension')} can be dropped: {', '.join(names)}. {alone}"
    distinct = plural(plan.unique_configurations, "distinct configuration")
    left = f"That leaves {distinct} in {plural(plan.trials.total, 'trial')}."
    return f"{plural(len(names), 'dimension')} can be dropped: {', '.join(names)}. {left}"


def _dimensions(dimensions: tuple[RateDimension, ...]) -> Table:
    table = _table()
    table.add_column("parameter", overflow="fold", ratio=3)
    table.add_column("role", no_wrap=True)
    table.add_column("placeholder", overflow="fold", ratio=2)
    table.add_column("evidence", overflow="fold", ratio=6)
    for d in dimensions:
        answer = _value(d.placeholder) if d.dropped else "not dropped"
        table.add_row(
            printable(d.name), d.role, answer, f"{printable(d.distribution)}\n{printable(d.evidence)}"
        )
    return table


def _fixed_ratio(plan: ShrinkPlan) -> list[str]:
    """Several rates become one: what they keep of each other."""
    from galatune.study.scan.distributions import as_rate

    dropped = [d for d in plan.learning_rate if d.dropped and d.role == "rate"]
    rates = [as_rate(d.placeholder, d.scale) for d in dropped]
    if len(dropped) < 2:
        return []
    names = " : ".join(printable(d.name) for d in dropped)
    if all(rates):
        shown = " : ".join("?" if rate is None else f"{rate:.3g}" for rate in rates)
        return [f"Used in one optimizer, the dropped rates keep the ratio {names} = {shown}."]
    return [f"Used in one optimizer, the dropped rates {names} keep the ratio of their placeholders."]


def _projected(plan: ShrinkPlan) -> Table:
    table = _table(title="Projected from the old study, not measured")
    table.add_column("way", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("assumption", overflow="fold")
    for way in plan.projected:
        table.add_row(way.way, str(way.trials), duration(way.hours) or "unknown", way.assumption)
    return table


def _unfinished(plan: ShrinkPlan) -> list[str]:
    from galatune.study.ledger.trial_counts import age_in_hours

    lines = []
    for trial in plan.running:
        age = age_in_hours(trial.started)
        since = f" since {trial.started[:16].replace('T', ' ')}" if trial.started else ""
        old = f", {age / 24:.0f} days ago" if age is not None and age >= 48 else ""
        fate = "its process is gone" if trial.abandoned else "at work, or its process is gone"
        lines.append(f"Trial {trial.number} is marked running{since}{old}: {fate}.")
    return lines if len(lines) <= 5 else [*lines[:4], f"And {len(lines) - 4} more marked running."]


def _table(title: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", title_style="italic", box=box.SIMPLE_HEAD, pad_edge=False)


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
