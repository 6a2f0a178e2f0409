"""The lines and tables of a plan.

Names of studies and parameters may hold anything: they are printed on one line, and nothing in them is
markup.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from galatune.formatting import duration, listed, plural, printable
from galatune.study.ledger.trial_counts import RunningTrial, TrialCounts, age_in_hours
from galatune.study.scan.dimensions import RateDimension
from galatune.study.scan.distributions import as_rate
from galatune.study.scan.projection import Projection

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "CONSTRAINED",
    "counts_line",
    "dimension_table",
    "dropped_line",
    "overview_table",
    "projection_table",
    "ratio_line",
    "running_lines",
]

CONSTRAINED = (
    "Its sampler knew constraints that no storage keeps: a smaller search knows only those that the "
    "objective sets itself, with trial.set_constraint."
)
"""Said of a study whose constraints were computed outside its objective."""

MOST_RUNNING = 5
"""Running trials that are told one by one."""

_STATES = ("complete", "pruned", "failed", "running", "waiting")


def counts_line(trials: TrialCounts, hours: float | None, directions: Collection[str]) -> str:
    """How many trials the study has, how long they took, and which way is better."""
    by_state = ", ".join(f"{getattr(trials, state)} {state}" for state in _STATES if getattr(trials, state))
    split = f" ({by_state})" if by_state else ""
    took = duration(hours) or "time unknown"
    return f"{plural(trials.total, 'trial')}{split}, {took}, {' and '.join(directions)}"


def dropped_line(trials: int, dropped: Collection[str], kept: Collection[str], unique: int) -> str:
    """What can be dropped, and what that leaves."""
    if not trials:
        return "No trials yet, so nothing is known about its parameters."
    if not dropped:
        return "No learning rate found: there is nothing to remove from this study."
    found = f"{plural(len(dropped), 'dimension')} can be dropped: {listed(dropped)}."
    if not kept:
        alone = "Nothing else was searched: every trial would be the same configuration with another seed."
        return f"{found} {alone}"
    return f"{found} That leaves {plural(unique, 'distinct configuration')} in {plural(trials, 'trial')}."


def ratio_line(dimensions: Sequence[RateDimension]) -> str | None:
    """The ratio that several dropped rates keep in one optimizer; None for fewer than two rates."""
    dropped = [d for d in dimensions if d.dropped and d.role == "rate"]
    if len(dropped) < 2:
        return None
    names = " : ".join(printable(d.name) for d in dropped)
    rates = [as_rate(d.placeholder, d.scale) for d in dropped]
    if all(rates):
        shown = " : ".join("?" if rate is None else f"{rate:.3g}" for rate in rates)
        return f"Used in one optimizer, the dropped rates keep the ratio {names} = {shown}."
    return f"Used in one optimizer, the dropped rates {names} keep the ratio of the values they are fixed at."


def running_lines(running: Sequence[RunningTrial]) -> list[str]:
    """One line per trial without an end, and a sum if there are many."""
    lines = [_running(trial) for trial in running]
    if len(lines) <= MOST_RUNNING:
        return lines
    told = MOST_RUNNING - 1
    return [*lines[:told], f"And {len(lines) - told} more marked running."]


def _running(trial: RunningTrial) -> str:
    age = age_in_hours(trial.started)
    since = f" since {trial.started[:16].replace('T', ' ')}" if trial.started else ""
    old = f", {age / 24:.0f} days ago" if age is not None and age >= 48 else ""
    fate = "its process is gone" if trial.abandoned else "at work, or its process is gone"
    return f"Trial {trial.number} is marked running{since}{old}: {fate}."


def dimension_table(dimensions: Sequence[RateDimension]) -> Table:
    """Rates, schedules and multipliers, what each is fixed at, and why."""
    table = _table()
    table.add_column("parameter", overflow="fold", ratio=3)
    table.add_column("role", no_wrap=True)
    table.add_column("fixed at", overflow="fold", ratio=2)
    table.add_column("evidence", overflow="fold", ratio=6)
    for d in dimensions:
        constant = _value(d.placeholder) if d.dropped else "not dropped"
        evidence = f"{printable(d.distribution)}\n{printable(d.evidence)}"
        table.add_row(printable(d.name), d.role, constant, evidence)
    return table


def projection_table(projected: Sequence[Projection]) -> Table:
    """What the smaller search might cost."""
    table = _table(title="Projected from the old study, not measured")
    table.add_column("way", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("assumption", overflow="fold")
    for way in projected:
        table.add_row(way.way, str(way.trials), duration(way.hours) or "unknown", way.assumption)
    return table


def overview_table(studies: Sequence[tuple[str, int, float | None, int, Collection[str]]]) -> Table:
    """One row per study.

    Args:
        studies: Name, trials, hours, distinct configurations, dropped dimensions.
    """
    table = _table()
    table.add_column("study", overflow="fold", ratio=2)
    for column in ("trials", "time", "distinct"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("to drop", overflow="fold", ratio=1)
    for name, trials, hours, unique, dropped in studies:
        took = duration(hours) or "unknown"
        table.add_row(printable(name), str(trials), took, str(unique), listed(dropped) or "no learning rate")
    return table


def _table(title: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", title_style="italic", box=box.SIMPLE_HEAD, pad_edge=False)


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
