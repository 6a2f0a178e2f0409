"""Tickets that come on top of the budget: repeats of the old best, pairs of a pilot, and repeats of a match.

They lie far beyond every ticket of the search, so that the search draws the same configurations with the same
seeds whether there are repeats or not, and no seed is used twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from galatune.study.ledger.attributes import REPEATS, STAGE, TICKET

__all__ = [
    "FIRST_ON_TOP",
    "MOST_REPEATS",
    "MOST_TICKETS",
    "confirm_tickets",
    "is_on_top",
    "noted_ticket",
    "pilot_tickets",
    "polish_tickets",
    "queue_on_top",
    "repeat_tickets",
]

FIRST_ON_TOP = 2**31
"""The first ticket that no search has: those of the repeats of the old best begin here."""

FIRST_PILOT = FIRST_ON_TOP + 2**19
"""The first ticket of a pair of a pilot."""

FIRST_CONFIRM = FIRST_ON_TOP + 2**20
"""The first ticket of a repeat that confirms a match."""

FIRST_POLISH = FIRST_ON_TOP + 2**30
"""The first ticket of a trial that polishes."""

MOST_TICKETS = 2**32
"""Seeds, which follow the tickets, differ below this."""

SPAN = 64
"""Tickets per trial to be confirmed."""

MOST_REPEATS = 50
"""So many repeats of one configuration at most."""


def repeat_tickets(count: int) -> list[int]:
    """Tickets of the repeats of the old best."""
    return [FIRST_ON_TOP + i for i in range(count)]


def pilot_tickets(pair: int) -> tuple[int, int]:
    """Tickets of the two trainings of one pair of a pilot; both have the seed of the first.

    Args:
        pair: From 0.
    """
    return FIRST_PILOT + 2 * pair, FIRST_PILOT + 2 * pair + 1


def confirm_tickets(number: int, count: int) -> list[int]:
    """Tickets of the repeats that confirm one trial.

    Args:
        number: Of the trial, in the smaller study.
        count: How many.
    """
    return [FIRST_CONFIRM + SPAN * number + i for i in range(count)]


def polish_tickets(ticket: int, count: int) -> list[int]:
    """Tickets of the trials that polish one trial.

    Args:
        ticket: Of the trial.
        count: How many.
    """
    return [FIRST_POLISH + SPAN * ticket + i for i in range(count)]


def is_on_top(ticket: int | None) -> bool:
    """Whether a ticket is none of the search.

    >>> is_on_top(5), is_on_top(repeat_tickets(1)[0]), is_on_top(None)
    (False, True, False)
    """
    return ticket is not None and ticket >= FIRST_ON_TOP


def noted_ticket(trial: optuna.trial.Trial | FrozenTrial) -> int | None:
    """The ticket that a trial has noted, None if it has not."""
    ticket = trial.user_attrs.get(TICKET)
    good = isinstance(ticket, int) and not isinstance(ticket, bool) and 0 <= ticket < MOST_TICKETS
    return ticket if good else None


def queue_on_top(
    study: optuna.Study,
    tickets: Sequence[int],
    stage: str,
    params: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Queue a trial for each of these tickets that has none yet.

    If another process does the same at the same time, `galatune.study.search.quota` closes what is queued
    twice.

    Args:
        study: The smaller study.
        tickets: From `repeat_tickets` or `confirm_tickets`.
        stage: "repeat" or "confirm".
        params: What the objective gets.
        about: Value of the attribute `REPEATS`.
    """
    known = {noted_ticket(trial) for trial in study.get_trials(deepcopy=False)}
    for ticket in tickets:
        if ticket not in known:
            attributes = {STAGE: stage, REPEATS: dict(about), TICKET: ticket}
            study.enqueue_trial(dict(params), user_attrs=attributes)
