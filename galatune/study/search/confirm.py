"""Which trial is repeated to confirm that it matches, and its repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.attributes import REPEATS, STAGE
from galatune.study.ledger.constraints import feasible
from galatune.study.ledger.match import Goal
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.search.lanes import confirm_tickets, noted_ticket, queue_on_top

__all__ = ["next_to_confirm", "queue_confirmation"]


def next_to_confirm(
    trials: Sequence[FrozenTrial], goal: Goal, repeats: int, budget: int
) -> FrozenTrial | None:
    """The trial whose repeats are to be queued now, None if there is none.

    Args:
        trials: Of the smaller study.
        goal: What has to be reached.
        repeats: How many confirm a match.
        budget: Trials of the search; the repeats are at most half as many, or as one confirmation needs.
    """
    begun = _begun(trials)
    for number, about in begun.items():
        tickets = set(confirm_tickets(number, about)) if about else set()
        if not tickets <= {noted_ticket(trial) for trial in trials}:
            return next((trial for trial in trials if trial.number == number), None)
    if not all(trial.state.is_finished() for trial in trials if _confirms(trial)):
        return None
    if len(begun) >= max(1, budget // (2 * repeats)):
        return None
    done = [_configuration(trial) for trial in trials if trial.number in begun]
    done += [_configuration(t) for t in trials if _confirms(t) and not is_interrupted(t)]
    matching = [trial for trial in trials if _matches(trial, goal) and _configuration(trial) not in done]
    sign = -1.0 if goal.bigger_is_better else 1.0
    return min(matching, key=lambda trial: sign * (trial.value or 0.0), default=None)


def queue_confirmation(study: optuna.Study, trial: FrozenTrial, repeats: int) -> None:
    """Queue the repeats of a trial that matches, as far as they are not queued yet.

    Args:
        study: The smaller study.
        trial: From `next_to_confirm`.
        repeats: How many, if none was queued before.
    """
    count = _begun(study.get_trials(deepcopy=False)).get(trial.number) or repeats
    about = {"of": count, "trial": trial.number}
    queue_on_top(study, confirm_tickets(trial.number, count), "confirm", trial.params, about)


def _begun(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """Number of each trial whose confirmation was begun, and how many repeats it has."""
    bodies = [trial.user_attrs.get(REPEATS) for trial in trials if _confirms(trial)]
    shaped = [body for body in bodies if isinstance(body, Mapping) and isinstance(body.get("of"), int)]
    return {body["trial"]: body["of"] for body in shaped if isinstance(body.get("trial"), int)}


def _confirms(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get(STAGE) == "confirm"


def _matches(trial: FrozenTrial, goal: Goal) -> bool:
    complete = trial.state == TrialState.COMPLETE and feasible(trial) and STAGE not in trial.user_attrs
    return complete and goal.reached(trial.value)


def _configuration(trial: FrozenTrial) -> list[tuple[str, str]]:
    return sorted((name, repr(value)) for name, value in trial.params.items())
