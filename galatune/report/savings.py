"""Two studies in, what the second one saved out.

Every number is measured: both studies ran. What was not measured is None, never 0, and each group says
so in words. How each number is computed: docs/accounting.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import optuna

from galatune.errors import ReportError
from galatune.report.quality import Quality, quality_of
from galatune.study.ledger.match import Goal, best_so_far, goal_of, trials_to_reach
from galatune.study.ledger.rows import Ledger, ledger

__all__ = ["Saved", "SavingsReport", "StudySummary", "ToMatch", "compare", "savings"]

NOT_REACHED = "the smaller study did not reach the old best"


@dataclass(frozen=True)
class StudySummary:
    """What one study cost in all and what it reached.

    Attributes:
        study: Study name.
        trials: Finished trials: complete, pruned and failed.
        running: Trials without an end: listed, not counted.
        hours: Sum of the durations of the finished trials, None where none was recorded.
        best_value: None with several objectives, or where no trial is COMPLETE.
        best_values: Best of each objective on its own, empty where no trial is COMPLETE.
        by_state: Trials by state.
        measured: Whether every finished trial recorded its duration.
        why: What is not measured, None where all is.
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


@dataclass(frozen=True)
class ToMatch:
    """What each study needed to come within the tolerance of the old study's best.

    Attributes:
        baseline_trials: Finished trials up to and including the first that did.
        shrunk_trials: The same, None where it was not reached.
        baseline_hours: Durations of those trials, None where one is unknown.
        shrunk_hours: The same.
        matched: Whether the smaller study reached it.
        tolerance: Fraction of |median - best| of the old values (of the hypervolume, with several
            objectives).
        threshold: The value that counts as reached; a hypervolume with several objectives.
        reference_point: Of the hypervolume, None with one objective.
        measured: Whether trials and hours can both be compared.
        hours_measured: Whether the hours can be compared.
        same_machine: Whether both studies are known to have run on one machine; hours of two are not
            measured beside each other, whether there is a match or not.
        why: What is not measured, None where all is.
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
    """Differences of `ToMatch`; negative where the smaller study needed more. None where not matched.

    Attributes:
        trials: Trials.
        trials_percent: Percent of the old study's.
        hours: Hours.
        hours_percent: Percent of the old study's.
        cost: Hours times price, None without a price.
        currency: Of `cost`, None without a price.
        measured: Whether every number here is.
        hours_measured: Whether hours and cost are: both studies ran on the same known machine.
        why: What is not measured, None where all is.
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
class SavingsReport:
    """What the smaller study saved, and what that did to the best value.

    Attributes:
        directions: "minimize" or "maximize", one an objective.
        baseline: The old study.
        shrunk: The smaller one.
        to_match: What each needed to reach the old best.
        saved: The difference.
        quality: The smaller study's best beside the old one's.
    """

    directions: tuple[str, ...]
    baseline: StudySummary
    shrunk: StudySummary
    to_match: ToMatch
    saved: Saved
    quality: Quality

    def to_json(self) -> dict[str, Any]:
        """The keys of ``galatune report --json``; every number is finite or None."""
        body: dict[str, Any] = _finite(asdict(self))
        return body


def savings(
    baseline: optuna.Study,
    shrunk: optuna.Study,
    *,
    tolerance: float = 0.01,
    price: float | None = None,
    currency: str | None = None,
    seed: int = 0,
) -> SavingsReport:
    """Account for what a smaller study saved.

    Args:
        baseline: The old study.
        shrunk: The study without the learning-rate dimensions.
        tolerance: Fraction of |median - best| of the old complete values that counts as no difference.
        price: Money an hour.
        currency: Of the price; both or none.
        seed: Of the resampling behind `Quality.interval`.

    Returns:
        The report; ``.to_json()`` gives the keys of ``galatune report --json``.

    Raises:
        ReportError: The studies have different directions, or an option makes no sense.

    Examples:
        >>> from optuna.trial import create_trial
        >>> old, new = optuna.create_study(), optuna.create_study()
        >>> old.add_trials([create_trial(value=v) for v in (5.0, 3.0, 2.0, 1.0)])
        >>> new.add_trials([create_trial(value=v) for v in (2.0, 1.0)])
        >>> savings(old, new).saved.trials
        2
    """
    return compare(
        ledger(baseline), ledger(shrunk), tolerance=tolerance, price=price, currency=currency, seed=seed
    )


def compare(
    baseline: Ledger,
    shrunk: Ledger,
    *,
    tolerance: float = 0.01,
    price: float | None = None,
    currency: str | None = None,
    seed: int = 0,
) -> SavingsReport:
    """`savings` for ledgers that are already read."""
    _check(baseline, shrunk, tolerance, price, currency)
    goal = goal_of(baseline, tolerance)
    to_match = _to_match(baseline, shrunk, goal, tolerance)
    return SavingsReport(
        directions=baseline.directions,
        baseline=_summary(baseline),
        shrunk=_summary(shrunk),
        to_match=to_match,
        saved=_saved(to_match, price, currency),
        quality=quality_of(baseline, shrunk, goal, seed),
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
    )


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
        cost=None if hours is None or price is None else hours * price,
        currency=currency,
        measured=to_match.measured,
        hours_measured=to_match.hours_measured,
        why=to_match.why,
    )


def _hours_of_first(study: Ledger, trials: int | None) -> float | None:
    """None where the duration of one of these trials is unknown: a partial sum would be a wrong one."""
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
    """Why hours on the two sides cannot be compared, None where they can."""
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


def _finite(body: Any) -> Any:
    """Infinities and NaN have no place in JSON."""
    if isinstance(body, dict):
        return {key: _finite(value) for key, value in body.items()}
    if isinstance(body, list | tuple):
        return [_finite(value) for value in body]
    return None if isinstance(body, float) and not math.isfinite(body) else body
