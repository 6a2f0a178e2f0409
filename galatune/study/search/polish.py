"""``--polish N``: the best configurations of the smaller search once more, with other rates.

Each is run with half and with twice the step scale, and without control at the rate that was found for it.
These trials come on top of the budget, once the search is over. A search that goes on later does not learn
from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import optuna
from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import PlanError
from galatune.formatting import plural
from galatune.study.ledger.attributes import POLISH, RECORD, STAGE, TICKET
from galatune.study.ledger.ending import AT_WORK
from galatune.study.ledger.polish import Polish
from galatune.study.ledger.record import TrialRecord
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.scan.distributions import as_rate, from_rate
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.lanes import noted_ticket, polish_tickets
from galatune.study.search.options import RunOptions, Search
from galatune.study.search.quota import running, ticket_of
from galatune.study.search.ranking import best_first, is_scored

__all__ = ["FACTORS", "check_polish", "polish_text", "then_polish"]

FACTORS = (0.5, 2.0)
"""The step scale is multiplied by each of them."""

EACH = len(FACTORS) + 1
"""Trials per configuration, at most."""

MOST_POLISHED = 1000


def check_polish(options: RunOptions) -> None:
    """Refuse what cannot be polished.

    Raises:
        PlanError: The number is out of range, or nothing is controlled.
    """
    if not 0 <= options.polish <= MOST_POLISHED:
        raise PlanError(f"--polish must lie between 0 and {MOST_POLISHED}, however: {options.polish}")
    if options.polish and options.control == "off":
        raise PlanError("--polish varies what the controller does, however: --control off; leave one out")


def polish_text(count: int) -> str:
    """What it will cost, in one sentence."""
    what = "the best configuration" if count == 1 else f"each of the {count} best configurations"
    return (
        f"Polish: once the search is over, {what} with half and twice the step scale and at the rate found, "
        f"at most {plural(EACH * count, 'trial')} on top of the budget."
    )


def then_polish(search: Search, reason: str | None) -> str | None:
    """Queue what is to be polished, if the search is over and no other process searches.

    Args:
        search: The smaller search.
        reason: Why no other trial of the search follows, None if one does.

    Returns:
        The reason, None while a trial waits that polishes.
    """
    study = search.study
    if reason is None or not search.options.polish or reason.endswith(AT_WORK) or running(study):
        return reason
    trials = study.get_trials(deepcopy=False)
    known = {noted_ticket(trial) for trial in trials}
    for best in _best(study, trials, search.options.polish):
        ways = list(_ways(best, search.plan))
        own = ticket_of(study, best)  # whose number depends on what was interrupted
        for ticket, way in zip(polish_tickets(own, len(ways)), ways, strict=True):
            if ticket not in known:
                attributes = {STAGE: "polish", POLISH: way.to_attribute(), TICKET: ticket}
                study.enqueue_trial(dict(best.params), user_attrs=attributes)
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return None if any(POLISH in trial.user_attrs for trial in waiting) else reason


def _best(study: optuna.Study, trials: list[FrozenTrial], count: int) -> list[FrozenTrial]:
    """The best trials of the search, one per configuration."""
    searched = [t for t in trials if is_scored(t) and STAGE not in t.user_attrs and not is_interrupted(t)]
    found: dict[tuple[tuple[str, str], ...], FrozenTrial] = {}
    for trial in best_first(study, searched):
        if len(found) == count:
            break
        text = tuple(sorted((name, repr(value)) for name, value in trial.params.items()))
        found.setdefault(text, trial)
    return list(found.values())


def _ways(best: FrozenTrial, plan: ShrinkPlan) -> Iterator[Polish]:
    for factor in FACTORS:
        yield Polish(best.number, factor)
    rates = _found_rates(best, plan)
    if rates is not None:
        yield Polish(best.number, rates=rates)


def _found_rates(best: FrozenTrial, plan: ShrinkPlan) -> dict[str, object] | None:
    """The dropped dimensions at the peak of the rates of a trial; several rates keep their ratio.

    Returns:
        None if no rate was recorded, or if only the objective's code knows what its values mean.
    """
    record = TrialRecord.from_attribute(best.user_attrs.get(RECORD))
    points = [] if record is None else [p.rate for p in record.learning_rate]
    peak = max((rate for rate in points if math.isfinite(rate) and rate > 0), default=None)
    dimensions = [d for d in plan.learning_rate if d.dropped and d.role == "rate"]
    fixed = [as_rate(d.placeholder, d.scale) or 0.0 for d in dimensions]
    if peak is None or not fixed or min(fixed) <= 0 or not all(d.distribution_json for d in dimensions):
        return None
    values = dict(plan.placeholders)
    for dimension, rate in zip(dimensions, fixed, strict=True):
        distribution = json_to_distribution(dimension.distribution_json)
        values[dimension.name] = from_rate(peak * rate / max(fixed), distribution, dimension.scale)
    return dict(values)
