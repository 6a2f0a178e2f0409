"""The numbers of a report: what each study cost, what it needed to match, and the difference.

Every number is measured: both studies ran. What was not measured is None, never 0, and each group says
so in words. docs/accounting.md states how each number is computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from galatune.errors import ReportError
from galatune.report.quality import Quality, quality_of
from galatune.report.random_order import CHANCE, RandomOrder, random_order
from galatune.report.spending import StudySummary, Total, summary, total, untimed
from galatune.study.ledger.confirmation import Confirmation, confirmations
from galatune.study.ledger.goal import goal_for
from galatune.study.ledger.match import Goal, best_so_far, oriented, trials_to_reach
from galatune.study.ledger.rows import Ledger

__all__ = ["NOT_REACHED", "Comparison", "Saved", "StudySummary", "ToMatch", "compare"]

NOT_REACHED = "the smaller study did not reach the old best"
"""Why nothing is measured in the usual case, which the report states in its first sentence."""


@dataclass(frozen=True)
class ToMatch:
    """What each study needed to come within the margin of the goal.

    Attributes:
        baseline_trials: Finished trials up to and including the first that did, never later than the old
            best, whose configuration sets the goal; None if no old trial is COMPLETE.
        shrunk_trials: The same of the smaller study, None if it never did.
        baseline_hours: Sum of the durations of those trials, None if one of them is unknown.
        shrunk_hours: The same of the smaller study.
        matched: Whether the smaller study reached it.
        confirmed: Whether repeats of the matching configuration with other seeds reached it too; None if the
            smaller study did not match.
        confirmed_trial: Number of the trial that was so confirmed, None if there is none or it is unknown.
        goal: Mean of the repeats of the old best configuration; without repeats the old best, one value. A
            hypervolume if there are several objectives; None if no old trial is COMPLETE.
        goal_repeats: How many repeats `goal` is the mean of; 0 if it is the old best, one value.
        margin: Differences up to this size count as none: the larger of tolerance x |median - best| of the
            old values and one standard error of `goal`, in the units of the objective.
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
    confirmed: bool | None
    confirmed_trial: int | None
    goal: float | None
    goal_repeats: int
    margin: float | None
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
        claimed: Whether the report claims a saving of trials: fewer trials, a confirmed match, and earlier
            than a random order of the old trials explains (`CHANCE`).
        not_claimed: Why not, None if it is claimed.
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
    claimed: bool
    not_claimed: str | None
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
        total: All that the smaller search spent.
        random_order: How early a random order of the old trials would have matched.
        quality: The smaller study's best compared with the old one's.
    """

    directions: tuple[str, ...]
    baseline: StudySummary
    shrunk: StudySummary
    to_match: ToMatch
    saved: Saved
    total: Total
    random_order: RandomOrder
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
    goal = goal_for(baseline, shrunk, tolerance) if baseline.complete else None
    to_match = _to_match(baseline, shrunk, goal, tolerance)
    order, old = random_order(baseline, shrunk, goal, to_match.shrunk_trials), summary(baseline)
    return Comparison(
        directions=baseline.directions,
        baseline=old,
        shrunk=summary(shrunk),
        to_match=to_match,
        saved=_saved(to_match, order, price, currency),
        total=total(old, shrunk, _incomparable(baseline, shrunk)),
        random_order=order,
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


def _to_match(baseline: Ledger, shrunk: Ledger, goal: Goal | None, tolerance: float) -> ToMatch:
    before = _trials_to_goal(baseline, goal) if goal else None
    after = trials_to_reach(shrunk, goal, confirmed=True) if goal and before else None
    old_hours, new_hours = _hours_of_first(baseline, before), _hours_of_first(shrunk, after)
    why = _why_no_match(baseline, shrunk, goal) if after is None else None
    machines, confirmed = _incomparable(baseline, shrunk), _confirmed(shrunk, goal)
    why = why or machines
    if why is None and (old_hours is None or new_hours is None):
        why = "hours: " + (untimed(baseline) or untimed(shrunk) or "no durations")
    return ToMatch(
        baseline_trials=before,
        shrunk_trials=after,
        baseline_hours=old_hours,
        shrunk_hours=new_hours,
        matched=after is not None,
        confirmed=None if after is None else confirmed is not None,
        confirmed_trial=confirmed.trial if confirmed else None,
        goal=goal.best if goal else None,
        goal_repeats=len(goal.repeats.values) if goal and goal.repeats else 0,
        margin=goal.margin if goal else None,
        tolerance=tolerance,
        threshold=goal.threshold if goal else None,
        reference_point=goal.reference_point if goal else None,
        measured=why is None,
        hours_measured=why is None,
        same_machine=machines is None,
        why=why,
    )


def _trials_to_goal(baseline: Ledger, goal: Goal) -> int | None:
    """Old trials up to the first within the margin, and never beyond the best one, which sets the goal."""
    reached = trials_to_reach(baseline, goal)
    if reached is not None or goal.reference_point is not None:
        return reached
    best = min(baseline.complete, key=lambda row: oriented(row, baseline.directions))
    return baseline.finished.index(best) + 1


def _confirmed(shrunk: Ledger, goal: Goal | None) -> Confirmation | None:
    """Return the confirmation that succeeded first."""
    if goal is None or goal.reference_point is not None:
        return None
    return next((one for one in confirmations(shrunk, goal) if one.confirmed), None)


def _saved(to_match: ToMatch, order: RandomOrder, price: float | None, currency: str | None) -> Saved:
    why = _not_claimed(to_match, order)
    trials = _difference(to_match.baseline_trials, to_match.shrunk_trials)
    hours = _difference(to_match.baseline_hours, to_match.shrunk_hours)
    return Saved(
        trials=None if trials is None else int(trials),
        trials_percent=_percent(trials, to_match.baseline_trials),
        hours=hours,
        hours_percent=_percent(hours, to_match.baseline_hours),
        cost=None if hours is None or price is None else hours * price + 0.0,  # never -0.0
        currency=currency,
        claimed=why is None,
        not_claimed=why,
        measured=to_match.measured,
        hours_measured=to_match.hours_measured,
        why=to_match.why,
    )


def _not_claimed(to_match: ToMatch, order: RandomOrder) -> str | None:
    """Return why no saving is claimed, None if one is."""
    before, after = to_match.baseline_trials, to_match.shrunk_trials
    if before is None or after is None:
        return to_match.why or NOT_REACHED
    if after >= before:
        return "the smaller study needed as many trials or more"
    if not to_match.confirmed:
        return "the match was not confirmed by repeats with other seeds"
    if order.explains:
        return f"a random order of the old trials does as well with a probability of more than {CHANCE:g}"
    return None


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


def _difference(old: float | None, new: float | None) -> float | None:
    return None if old is None or new is None else old - new


def _percent(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else 100 * part / whole
