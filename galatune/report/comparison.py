"""The numbers of a report: what each study cost, what it needed to match, and the difference.

Every number is measured: both studies ran. What was not measured is None, never 0, and each group says
so in words. docs/accounting.md states how each number is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from galatune.errors import ReportError
from galatune.report.quality import Quality, quality_of
from galatune.study.ledger.match import Goal, best_so_far, goal_of, trials_to_reach
from galatune.study.ledger.rows import Ledger

__all__ = ["NOT_REACHED", "Comparison", "Saved", "StudySummary", "ToMatch", "compare"]

NOT_REACHED = "the smaller study did not reach the old best"
"""Why nothing is measured in the usual case, which the report states in its first sentence."""


@dataclass(frozen=True)
class StudySummary:
    """What one study cost in all and what it reached.

    Attributes:
        study: Study name.
        trials: Number of finished trials: complete, pruned and failed.
        running: Number of trials without an end, which are listed and not counted.
        hours: Sum of the durations of the finished trials, None if no duration was recorded.
        best_value: None if there are several objectives, or if no trial is COMPLETE.
        best_values: Best of each objective on its own, empty if no trial is COMPLETE.
        by_state: Number of trials by state.
        measured: Whether every finished trial recorded its duration.
        why: What is not measured, None if everything is.
        control: "on", or "off" if its rates were fixed; None if galatune did not make it.
    """

    study: str
    trials: int
    running: int
    hours: float | None
    best_value: float | None
    best_values: tuple[float, ...]
    by_state: Mapping[str, int]
    measured: bool
    why: str | None
    control: str | None = None


@dataclass(frozen=True)
class ToMatch:
    """What each study needed to come within the tolerance of the old study's best.

    Attributes:
        baseline_trials: Finished trials up to and including the first that did; None if no old trial is
            COMPLETE.
        shrunk_trials: The same of the smaller study, None if it never did.
        baseline_hours: Sum of the durations of those trials, None if one of them is unknown.
        shrunk_hours: The same of the smaller study.
        matched: Whether the smaller study reached it.
        tolerance: Fraction of |median - best| of the old values (of the hypervolume, if there are several
            objectives).
        threshold: The value that counts as reached; a hypervolume if there are several objectives.
        reference_point: Of the hypervolume, None with one objective.
        measured: Whether trials and hours can both be compared.
        hours_measured: Whether the hours can be compared.
        same_machine: Whether both studies are known to have run on one machine. Hours on two machines
            are not measured against each other, matched or not.
        why: What is not measured, None if everything is.
    """

    baseline_trials: int | None
    shrunk_trials: int | None
    baseline_hours: float | None
    shrunk_hours: float | None
    matched: bool
    tolerance: float
    threshold: float | None
    reference_point: tuple[float, ...] | None
    measured: bool
    hours_measured: bool
    same_machine: bool
    why: str | None


@dataclass(frozen=True)
class Saved:
    """Differences of `ToMatch`: negative if the smaller study needed more, None if it did not match.

    Attributes:
        trials: Number of trials.
        trials_percent: Percent of the old study's.
        hours: Hours.
        hours_percent: Percent of the old study's.
        cost: Hours times the price per hour, None if no price was given.
        currency: Of `cost`, None if no price was given.
        measured: Whether every number here is measured.
        hours_measured: Whether hours and cost are, which needs both studies on the same known machine.
        why: What is not measured, None if everything is.
    """

    trials: int | None
    trials_percent: float | None
    hours: float | None
    hours_percent: float | None
    cost: float | None
    currency: str | None
    measured: bool
    hours_measured: bool
    why: str | None


@dataclass(frozen=True)
class Comparison:
    """All numbers of a report.

    Attributes:
        directions: "minimize" or "maximize", one per objective.
        baseline: The old study.
        shrunk: The smaller one.
        to_match: What each needed to reach the old best.
        saved: The difference.
        quality: The smaller study's best compared with the old one's.
    """

    directions: tuple[str, ...]
    baseline: StudySummary
    shrunk: StudySummary
    to_match: ToMatch
    saved: Saved
    quality: Quality


def compare(
    baseline: Ledger,
    shrunk: Ledger,
    *,
    tolerance: float = 0.01,
    price: float | None = None,
    currency: str | None = None,
) -> Comparison:
    """Compute all numbers of a report; the options are those of `galatune.savings`.

    Raises:
        ReportError: The studies have different directions, or an option makes no sense.
    """
    _check(baseline, shrunk, tolerance, price, currency)
    goal = goal_of(baseline, tolerance)
    to_match = _to_match(baseline, shrunk, goal, tolerance)
    return Comparison(
        directions=baseline.directions,
        baseline=_summary(baseline),
        shrunk=_summary(shrunk),
        to_match=to_match,
        saved=_saved(to_match, price, currency),
        quality=quality_of(baseline, shrunk, goal),
    )


def _check(
    baseline: Ledger, shrunk: Ledger, tolerance: float, price: float | None, currency: str | None
) -> None:
    if baseline.directions != shrunk.directions:
        raise ReportError(
            f"the two studies must have the same directions, however: {baseline.study!r} has "
            f"{', '.join(baseline.directions)} and {shrunk.study!r} has {', '.join(shrunk.directions)}"
        )
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ReportError(f"the tolerance must be a fraction of at least 0, however: {tolerance=}")
    if price is not None and not (math.isfinite(price) and price >= 0):
        raise ReportError(f"the price must be money an hour, at least 0, however: {price=}")
    if (price is None) != (currency is None):
        raise ReportError(f"a price and its currency go together, however: {price=}, {currency=}")


def _summary(study: Ledger) -> StudySummary:
    columns = list(zip(*(row.values or () for row in study.complete), strict=True))
    pick = {"minimize": min, "maximize": max}
    bests = tuple(pick[d](column) for d, column in zip(study.directions, columns, strict=False))
    why = _untimed(study)
    if not study.finished:
        why = f"no trial of {study.study} is finished"
    return StudySummary(
        study=study.study,
        trials=len(study.finished),
        running=sum(row.state == "RUNNING" for row in study.rows),
        hours=study.hours,
        best_value=bests[0] if len(bests) == 1 else None,
        best_values=bests,
        by_state=study.by_state,
        measured=why is None,
        why=why,
        control=_control(study),
    )


def _control(study: Ledger) -> str | None:
    if not study.provenance.made_by_galatune:
        return None
    return "on" if study.provenance.fixed_rates is None else "off"


def _to_match(baseline: Ledger, shrunk: Ledger, goal: Goal | None, tolerance: float) -> ToMatch:
    before = trials_to_reach(baseline, goal) if goal else None
    after = trials_to_reach(shrunk, goal, confirmed=True) if goal and before else None
    old_hours, new_hours = _hours_of_first(baseline, before), _hours_of_first(shrunk, after)
    why = _why_no_match(baseline, shrunk, goal) if after is None else None
    machines = _incomparable(baseline, shrunk)
    why = why or machines
    if why is None and (old_hours is None or new_hours is None):
        why = "hours: " + (_untimed(baseline) or _untimed(shrunk) or "no durations")
    return ToMatch(
        baseline_trials=before,
        shrunk_trials=after,
        baseline_hours=old_hours,
        shrunk_hours=new_hours,
        matched=after is not None,
        tolerance=tolerance,
        threshold=goal.threshold if goal else None,
        reference_point=goal.reference_point if goal else None,
        measured=why is None,
        hours_measured=why is None,
        same_machine=machines is None,
        why=why,
    )


def _saved(to_match: ToMatch, price: float | None, currency: str | None) -> Saved:
    trials = _difference(to_match.baseline_trials, to_match.shrunk_trials)
    hours = _difference(to_match.baseline_hours, to_match.shrunk_hours)
    return Saved(
        trials=None if trials is None else int(trials),
        trials_percent=_percent(trials, to_match.baseline_trials),
        hours=hours,
        hours_percent=_percent(hours, to_match.baseline_hours),
        cost=None if hours is None or price is None else hours * price + 0.0,  # never -0.0
        currency=currency,
        measured=to_match.measured,
        hours_measured=to_match.hours_measured,
        why=to_match.why,
    )


def _hours_of_first(study: Ledger, trials: int | None) -> float | None:
    """Return None if the duration of one of these trials is unknown: a partial sum would be too small."""
    if trials is None:
        return None
    seconds = [row.seconds for row in study.finished[:trials]]
    known = [second for second in seconds if second is not None]
    return math.fsum(known) / 3600 if len(known) == len(seconds) else None


def _why_no_match(baseline: Ledger, shrunk: Ledger, goal: Goal | None) -> str:
    if goal is None:
        return f"no trial of {baseline.study} is complete: there is nothing to match"
    if not shrunk.complete:
        return f"no trial of {shrunk.study} is complete"
    if goal.reference_point is not None and goal.best == 0:
        return f"the hypervolume of {baseline.study} is 0: its trials do not differ"
    if goal.reached(best_so_far(shrunk, goal)[-1]):
        return "reached, but running that configuration once more did not reach it again"
    return NOT_REACHED


def _incomparable(baseline: Ledger, shrunk: Ledger) -> str | None:
    """Return why the hours of the two studies cannot be compared, None if they can."""
    old, new = baseline.machines, shrunk.machines
    if not old:
        return f"hours: the machine of {baseline.study} is unknown"
    if not new:
        return f"hours: the machine of {shrunk.study} is unknown"
    if all(machine in new for machine in old) and all(machine in old for machine in new):
        return None
    keys = [key for key in {**old[0], **new[0]} if old[0].get(key) != new[0].get(key)]
    return "hours: the machines differ" + (f" ({', '.join(keys)})" if keys else "")


def _untimed(study: Ledger) -> str | None:
    if not study.untimed:
        return None
    return f"{study.untimed} of {len(study.finished)} finished trials of {study.study} recorded no duration"


def _difference(old: float | None, new: float | None) -> float | None:
    return None if old is None or new is None else old - new


def _percent(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else 100 * part / whole
