"""Repeats of the old best before the smaller search begins: what it reaches at its own rates.

They are trials of the smaller study of the stage "repeat". They cost what they cost, use no ticket of the
budget, and are no results of the smaller search: neither its best nor what its sampler learns from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.attributes import GOAL, PROCESS, REPEATS, SAMPLER_CONSTRAINTS, STAGE
from galatune.study.ledger.goal import goal_body, goal_from_body, with_repeats
from galatune.study.ledger.match import Goal, oriented
from galatune.study.ledger.rows import Ledger, ledger
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.search.lanes import is_on_top, noted_ticket, queue_on_top, repeat_tickets
from galatune.study.search.quota import FIXED

__all__ = [
    "OldBest",
    "best_to_repeat",
    "goal_in",
    "mark",
    "old_rates",
    "queue_repeats",
    "repeats_left",
    "settle",
]

CONSTRAINT = "galatune_repeat"
"""Constraint that a repeat violates, so that ``study.best_trial`` is never one."""


@dataclass(frozen=True)
class OldBest:
    """The configuration that is repeated.

    Attributes:
        repeats: How often.
        params: Its parameters that the smaller study has.
        rates: Its values of the dropped dimensions; those that it did not have are fixed as in any trial.
    """

    repeats: int
    params: Mapping[str, Any]
    rates: Mapping[str, Any]

    @classmethod
    def of(cls, old: Ledger, dropped: Mapping[str, Any], repeats: int) -> OldBest | None:
        """The best trial of an old study with one objective; None if no trial is COMPLETE.

        Args:
            old: The old study.
            dropped: Dropped dimension to the value that it is fixed at in the trials of the search.
            repeats: How often.
        """
        if not old.complete:
            return None
        best = min(old.complete, key=lambda row: oriented(row, old.directions))
        params = {name: value for name, value in best.params.items() if name not in dropped}
        return cls(repeats, params, {name: best.params.get(name, dropped[name]) for name in dropped})


def best_to_repeat(study: optuna.Study, best: OldBest | None) -> OldBest | None:
    """What is repeated in a study: what it was begun with, whatever is asked for now.

    Args:
        study: The smaller study.
        best: What is asked for now.

    Returns:
        None if nothing is, or if its search began without repeats.
    """
    trials = study.get_trials(deepcopy=False)
    begun = next((trial for trial in trials if _is_repeat(trial)), None)
    if begun is not None:
        about = begun.user_attrs[REPEATS]
        return OldBest(about["of"], begun.system_attrs.get(FIXED, {}), about["rates"])
    return None if any(map(_is_begun, trials)) else best


def queue_repeats(study: optuna.Study, best: OldBest | None) -> None:
    """Queue the repeats that are missing; all of them anew if nothing but failures has come of the study.

    Args:
        study: The smaller study.
        best: From `best_to_repeat`.
    """
    if best is None:
        return
    trials = study.get_trials(deepcopy=False)
    begun = len({noted_ticket(trial) for trial in trials if _is_repeat(trial)})
    mended = begun and all(trial.state == TrialState.FAIL for trial in trials)
    count = max(best.repeats, begun + best.repeats if mended else begun)
    about = {"of": best.repeats, "trial": None, "rates": dict(best.rates)}
    queue_on_top(study, repeat_tickets(count), "repeat", best.params, about)


def repeats_left(study: optuna.Study) -> int:
    """Repeats of the old best that have not ended: no trial of the search begins before they have."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if _is_repeat(trial)]
    ended = {noted_ticket(t) for t in trials if t.state.is_finished() and not is_interrupted(t)}
    return len({noted_ticket(trial) for trial in trials} - ended)


def settle(study: optuna.Study, goal: Goal | None) -> Goal | None:
    """Fix the goal once every repeat has ended, and keep it in the study.

    Args:
        study: The smaller study.
        goal: Of the old study; None if there is nothing to match.

    Returns:
        The goal now.
    """
    kept, left = goal_in(study, goal), repeats_left(study)
    trials = [trial for trial in study.get_trials(deepcopy=False) if _is_repeat(trial)]  # now, as they ended
    if goal is None or not trials or left:
        return kept
    if kept is not None and kept.repeats is not None and kept.repeats.values:
        return kept
    complete = (trial for trial in reversed(trials) if trial.state == TrialState.COMPLETE)
    first = {noted_ticket(trial) or 0: trial.number for trial in complete}
    found = {row.number: row.value for row in ledger(study).repeats}
    in_order = [found.get(number) for _, number in sorted(first.items())]  # whoever ran them, and when
    values = tuple(value for value in in_order if value is not None)
    fixed = with_repeats(goal, asked=trials[0].user_attrs[REPEATS]["of"], values=values)
    if fixed != kept:
        study.set_user_attr(GOAL, goal_body(fixed))
    return fixed


def goal_in(study: optuna.Study, goal: Goal | None) -> Goal | None:
    """The goal that a smaller study holds, else the one that is given; None if that is None."""
    body = study.user_attrs.get(GOAL)
    if goal is None or not isinstance(body, Mapping):
        return goal
    return goal_from_body(body, goal.directions, goal.tolerance) or goal


def old_rates(trial: FrozenTrial) -> dict[str, Any] | None:
    """The values of the dropped dimensions that a repeat of the old best has; None of any other trial."""
    return dict(trial.user_attrs[REPEATS]["rates"]) if _is_repeat(trial) else None


def mark(trial: optuna.trial.Trial) -> None:
    """Let Optuna take a repeat for no result of its study: it violates a constraint."""
    if hasattr(trial, "set_constraint"):
        trial.set_constraint(CONSTRAINT, 1.0)
    else:  # Optuna 4
        trial.storage.set_trial_system_attr(trial._trial_id, SAMPLER_CONSTRAINTS, [1.0])


def _is_repeat(trial: FrozenTrial) -> bool:
    about = trial.user_attrs.get(REPEATS)
    if trial.user_attrs.get(STAGE) != "repeat" or not isinstance(about, Mapping):
        return False
    return isinstance(about.get("of"), int) and isinstance(about.get("rates"), Mapping)


def _is_begun(trial: FrozenTrial) -> bool:
    """Whether a trial of the search has begun."""
    claimed = trial.state == TrialState.RUNNING and trial.user_attrs.get(PROCESS) is not None
    ended = trial.state.is_finished() and not is_interrupted(trial)
    return (claimed or ended) and not is_on_top(noted_ticket(trial))
