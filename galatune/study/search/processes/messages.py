"""What a worker tells the process that started it."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import FrozenTrial

from galatune.errors import GalatuneError
from galatune.study.ledger.match import Goal

__all__ = ["INTERRUPTED_STATUS", "Begun", "Broken", "Finished", "GoalKnown", "Message", "Over", "Ready"]

INTERRUPTED_STATUS = 130
"""Exit status of a worker that has given its trial back."""


@dataclass(frozen=True)
class Ready:
    """It has the objective and the study, and gives its trial back if it is interrupted from here on."""


@dataclass(frozen=True)
class GoalKnown:
    """The old best was repeated."""

    goal: Goal


@dataclass(frozen=True)
class Begun:
    """Its objective is called with the trial of this number."""

    number: int


@dataclass(frozen=True)
class Finished:
    """A trial has ended; the dropped dimensions that its objective has asked for."""

    trial: FrozenTrial
    answered: tuple[str, ...]


@dataclass(frozen=True)
class Over:
    """No other trial follows; why."""

    reason: str


@dataclass(frozen=True)
class Broken:
    """It cannot go on, for a reason that the others have as well."""

    error: GalatuneError


Message = Ready | Begun | GoalKnown | Finished | Over | Broken
