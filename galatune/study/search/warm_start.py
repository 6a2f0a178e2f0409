"""``--warm-start N``: the best old configurations, without their rates, are the first tickets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from galatune.errors import PlanError
from galatune.formatting import plural, printable
from galatune.study.ledger.attributes import TICKET, WARM_START
from galatune.study.scan.distributions import is_legal
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.quota import held_tickets
from galatune.study.search.ranking import best_first, is_scored
from galatune.study.storage.reading import open_source

__all__ = ["OldConfiguration", "best_configurations", "best_of_storage", "queue_enqueued", "queue_first"]


@dataclass(frozen=True)
class OldConfiguration:
    """A configuration of the old study without what is dropped.

    Attributes:
        trial: Number of the old trial that was best with it.
        params: What is kept of it.
    """

    trial: int
    params: Mapping[str, Any]


def best_of_storage(place: str, plan: ShrinkPlan, count: int) -> tuple[OldConfiguration, ...]:
    """`best_configurations` of the old study in a storage; none if none are asked for."""
    if count < 0:
        raise PlanError(f"--warm-start must be at least 0, however: {count}")
    if not count:
        return ()
    with open_source(place) as opened:
        return best_configurations(opened.study(plan.study), plan.placeholders, count)


def best_configurations(
    old: optuna.Study, dropped: Collection[str], count: int
) -> tuple[OldConfiguration, ...]:
    """The best distinct configurations of an old study, best first.

    Those are left out that the space has no room for: a parameter must be a legal value of the last
    distribution that it had. With several objectives, those of the first front come first; of a front that
    is too large, trials spread over it.

    Args:
        old: The old study; only read.
        dropped: Parameters that do not count.
        count: How many, at most.
    """
    trials = old.get_trials(deepcopy=False)
    newest: dict[str, BaseDistribution] = {}
    for trial in trials:
        newest.update(trial.distributions)
    able = [trial for trial in trials if is_scored(trial) and _fits(trial, newest, dropped)]
    found: dict[tuple[tuple[str, str], ...], OldConfiguration] = {}
    for trial in best_first(old, able):
        if len(found) == count:
            break
        kept = {name: value for name, value in trial.params.items() if name not in dropped}
        text = tuple(sorted((name, repr(value)) for name, value in kept.items()))
        found.setdefault(text, OldConfiguration(trial.number, kept))
    return tuple(found.values())


def queue_first(study: optuna.Study, configurations: Sequence[OldConfiguration]) -> None:
    """Queue configurations under the first tickets, once, however many processes do so or are killed.

    Raises:
        PlanError: The study has begun without them.
    """
    held = held_tickets(study)
    known = {trial.user_attrs[WARM_START] for trial in held.values() if WARM_START in trial.user_attrs}
    tickets = range(len(configurations))
    if not known and not held.keys().isdisjoint(tickets):
        raise PlanError(
            f"--warm-start comes before the first trial, however: study {printable(study.study_name)!r} has "
            f"begun without ({plural(len(held), 'trial')}); leave it out, or choose another with --name"
        )
    left = [one for one in configurations if one.trial not in known]
    for ticket, one in zip((t for t in tickets if t not in held), left, strict=False):
        study.enqueue_trial(dict(one.params), user_attrs={TICKET: ticket, WARM_START: one.trial})


def queue_enqueued(study: optuna.Study, configurations: Sequence[Mapping[str, Any]], behind: int = 0) -> None:
    """Queue configurations that a script has enqueued, once.

    Args:
        study: The smaller study.
        configurations: Without what is dropped.
        behind: Number of tickets that come before them.
    """
    held = held_tickets(study)
    for ticket, params in enumerate(configurations, behind):
        if ticket not in held:
            study.enqueue_trial(dict(params), user_attrs={TICKET: ticket})


def _fits(trial: FrozenTrial, newest: Mapping[str, BaseDistribution], dropped: Collection[str]) -> bool:
    kept = {name: value for name, value in trial.params.items() if name not in dropped}
    return bool(kept) and all(is_legal(newest[name], value) for name, value in kept.items())
