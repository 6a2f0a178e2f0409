"""The lines and tables of a plan.

Names of studies and parameters may hold anything: they are printed on one line, and nothing in them is
markup.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from galatune.formatting import duration, listed, plural, printable, shortened
from galatune.study.ledger.trial_counts import RunningTrial, TrialCounts, age_in_hours
from galatune.study.scan.dimensions import RateDimension, Refusal
from galatune.study.scan.distributions import as_rate
from galatune.study.scan.projection import Projection
from galatune.study.scan.vocabulary import OTHER_FRAMEWORKS, tokens

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "CONSTRAINED",
    "Tried",
    "counts_line",
    "dimension_table",
    "dropped_line",
    "left_alone_lines",
    "overview_table",
    "projection_table",
    "ratio_line",
    "running_lines",
    "torch_line",
]

CONSTRAINED = (
    "Its sampler knew constraints that no storage keeps: a smaller search knows only those that the "
    "objective sets itself, with trial.set_constraint."
)
"""Said of a study whose constraints were computed outside its objective."""

TORCH_ONLY = "galatune controls torch optimizers only; a study does not say which it used."

MOST_LEFT_ALONE = 5
"""Names of parameters that are left alone for one reason,"""
MOST_DROPPED = 3
"""and of those that are dropped, in an overview,"""
LONGEST_NAME = 60
"""and characters of a study's name there."""

MOST_RUNNING = 5
"""Running trials that are told one by one."""

_STATES = ("complete", "pruned", "failed", "running", "waiting")


@dataclass(frozen=True)
class Tried:
    """How often the old study tried the same.

    Attributes:
        trials: Those that suggested something.
        unique: Distinct configurations without what is dropped.
        repeated: Trials that repeat an earlier one, with what is dropped.
    """

    trials: int
    unique: int
    repeated: int


def counts_line(trials: TrialCounts, hours: float | None, directions: Collection[str]) -> str:
    """How many trials the study has, how long they took, and which way is better."""
    by_state = ", ".join(f"{getattr(trials, state)} {state}" for state in _STATES if getattr(trials, state))
    split = f" ({by_state})" if by_state else ""
    took = duration(hours) or "time unknown"
    return f"{plural(trials.total, 'trial')}{split}, {took}, {' and '.join(directions)}"


def dropped_line(
    counts: TrialCounts, dimensions: Sequence[RateDimension], kept: Collection[str], tried: Tried
) -> str:
    """What can be dropped, and what that leaves."""
    dropped = [d.name for d in dimensions if d.dropped]
    if dropped:
        return f"{plural(len(dropped), 'dimension')} can be dropped: {listed(dropped)}.{_left(kept, tried)}"
    if not counts.total:
        return "No trials yet, so nothing is known about its parameters."
    if any(d.role == "unsure" for d in dimensions):
        return "Nothing is certainly a learning rate; what may be one is kept."
    return "No learning rate found: there is nothing to remove from this study."


def _left(kept: Collection[str], tried: Tried) -> str:
    """What is left once rates are dropped, a sentence or nothing."""
    if not kept:
        return " Nothing else was searched: every trial would be the same configuration with another seed."
    if tried.trials < 2:
        return ""
    if tried.unique == tried.trials:
        return " No configuration was tried twice: a saving has to come from stopping sooner."
    differed = tried.trials - tried.unique - tried.repeated
    parts = [f"{differed} differed in the learning rate alone"] if differed else []
    parts += [f"{tried.repeated} repeated an earlier one"] if tried.repeated else []
    settings = f"{tried.trials} trials tried only {plural(tried.unique, 'setting')} of the other parameters"
    return f" {settings}; {', '.join(parts)}."


def ratio_line(dimensions: Sequence[RateDimension]) -> str | None:
    """The ratio that several dropped rates keep in one optimizer; None for fewer than two rates."""
    dropped = [d for d in dimensions if d.dropped and d.role == "rate"]
    if len(dropped) < 2:
        return None
    *first, last = (printable(d.name) for d in dropped)
    rates = [as_rate(d.placeholder, d.scale) or 0.0 for d in dropped]
    ratio = "that of the values they are fixed at"
    if all(rate > 0 for rate in rates):
        ratio = " : ".join(f"{rate / min(rates):.2g}" for rate in rates)
    count = "two" if len(dropped) == 2 else "several"
    names = f"{', '.join(first)} and {last}"
    return (
        f"If {names} belong to one optimizer, their ratio stays {ratio}; {count} optimizers get a rate each."
    )


def left_alone_lines(refused: Sequence[Refusal]) -> list[str]:
    """What only looks like a learning rate: one line per reason."""
    by_reason: dict[str, list[str]] = {}
    for refusal in refused:
        by_reason.setdefault(refusal.reason, []).append(refusal.name)
    return [
        f"Left alone: {listed(names, MOST_LEFT_ALONE)}: {printable(reason)}"
        for reason, names in by_reason.items()
    ]


def torch_line(study: str, rates: Collection[str], others: Collection[str]) -> str:
    """That only torch is controlled, with a caution if a name says that something else trained."""
    said = [(name, _framework(name, OTHER_FRAMEWORKS | {"tf"})) for name in (study, *rates)]
    said += [(name, _framework(name, OTHER_FRAMEWORKS)) for name in others]  # tf_layers: of a transformer
    name, framework = next(((n, f) for n, f in said if f), ("", ""))
    if not framework:
        return TORCH_ONLY
    caution = f"{printable(name)} says {framework}: check that a torch optimizer trains it."
    return f"{TORCH_ONLY} Caution: {caution}"


def _framework(name: str, frameworks: Collection[str]) -> str | None:
    return next((word for word in tokens(name) if word in frameworks), None)


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
        evidence = f"{printable(d.distribution)}\n{printable(d.evidence)}"
        table.add_row(printable(d.name), d.role, _fixed_at(d), evidence)
    return table


def _fixed_at(dimension: RateDimension) -> str:
    if dimension.dropped:
        return _value(dimension.placeholder)
    return "kept" if dimension.role in ("rate", "unsure") else "kept (drop with --drop-schedule)"


def projection_table(projected: Sequence[Projection]) -> Table:
    """What the smaller search might cost."""
    table = _table(title="Projected from the old study, not measured")
    table.add_column("way", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("assumption", overflow="fold")
    for way in projected:
        table.add_row(f"--{way.way}", str(way.trials), duration(way.hours) or "unknown", way.assumption)
    return table


def overview_table(
    studies: Sequence[tuple[str, TrialCounts, float | None, Sequence[RateDimension]]],
) -> Table:
    """One row per study.

    Args:
        studies: Name, trials, hours, rates with their schedules.
    """
    table = _table()
    table.add_column("study", overflow="fold")
    for column in ("trials", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("learning rate", overflow="fold")
    for name, trials, hours, dimensions in studies:
        took = duration(hours) or "unknown"
        row = (_brief(name), str(trials.total), took, _found(dimensions))
        table.add_row(*row)
    return table


def _brief(name: str) -> str:
    return shortened(printable(name), LONGEST_NAME)


def _found(dimensions: Sequence[RateDimension]) -> str:
    """The dropped dimensions of one study, or those that may be rates."""
    dropped = [_brief(d.name) for d in dimensions if d.dropped]
    unsure = [_brief(d.name) for d in dimensions if d.role == "unsure"]
    if dropped or not unsure:
        return listed(dropped, MOST_DROPPED) or "none"
    return f"unsure: {listed(unsure, MOST_DROPPED)}"


def _table(title: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", title_style="italic", box=box.SIMPLE_HEAD, pad_edge=False)


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
