"""Whether a trial that matched did so again: the trials of the stage "confirm"."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Protocol

from galatune.study.ledger.rows import Ledger, TrialRow

__all__ = ["Confirmation", "confirmations"]


@dataclass(frozen=True)
class Confirmation:
    """The repeats of one configuration that had reached the goal, with other seeds.

    Attributes:
        trial: Number of the trial that is repeated, None if an earlier galatune did not record it.
        asked: How many repeats there are to be.
        rows: Those that have ended, by trial number.
        values: Of those that are COMPLETE. That of the repeated trial, which was selected, is left out.
        confirmed: Whether the mean of all of them reaches the goal; False if one of them failed or was
            pruned; None while they are not done.
    """

    trial: int | None
    asked: int
    rows: tuple[TrialRow, ...]
    values: tuple[float, ...]
    confirmed: bool | None

    @property
    def mean(self) -> float | None:
        """Of the values, None if there is none."""
        return statistics.fmean(self.values) if self.values else None


class Reachable(Protocol):
    """What can be reached: a `galatune.study.ledger.match.Goal`."""

    def reached(self, score: float | None) -> bool:
        """Whether a value matches."""


def confirmations(search: Ledger, goal: Reachable) -> tuple[Confirmation, ...]:
    """Every confirmation that was begun, in the order of its first repeat.

    Args:
        search: The smaller study.
        goal: What has to be reached, with one objective.
    """
    groups: dict[object, list[TrialRow]] = {}
    for row in search.finished:
        if row.stage == "confirm" and not row.interrupted:
            configuration = tuple(sorted((name, repr(value)) for name, value in row.params.items()))
            groups.setdefault(configuration if row.repeat_of is None else row.repeat_of, []).append(row)
    return tuple(_confirmation(rows, goal) for rows in groups.values())


def _confirmation(rows: list[TrialRow], goal: Reachable) -> Confirmation:
    asked = rows[0].repeats
    values = tuple(row.value for row in rows if row.scored and row.value is not None)
    done = len(rows) >= asked
    reached = len(values) >= asked and goal.reached(statistics.fmean(values))
    return Confirmation(rows[0].repeat_of, asked, tuple(rows), values, reached if done else None)
