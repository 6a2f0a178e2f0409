"""Which steps are probed: the first ones, then one after every tenth of the steps taken."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from galatune.errors import ControlError

__all__ = ["ProbeSchedule", "RateStart"]

GOLDEN = (math.sqrt(5) - 1) / 2
"""Probes are moved by multiples of it within their interval, so that no period of the data stays in step."""

FIRST_WHILE_FAR = 4
"""Times as many first steps are probed while the rate is far below what it is to be."""


class RateStart(NamedTuple):
    """Since when a rate is chosen.

    Attributes:
        step: Number of the first step with a gradient.
        far_below: True if the last probe was limited by the growth per probe. Each probe doubles such a rate
            at most: with fewer and fewer of them a short training would be over before it arrives.
    """

    step: int = 0
    far_below: bool = False


@dataclass(frozen=True)
class ProbeSchedule:
    """Steps and their probes. Step numbers count from 0.

    Args:
        every: Fewest steps between two probes after the first ones.
        first: Number of steps that are all probed, from the first one with a gradient. If probes thin out,
            four times as many while the rate is far below what it is to be.
        thinning: The interval grows to this share of the steps taken; 0 keeps it at `every`. Late in a
            training the rate changes as slowly as the training does.

    Raises:
        ControlError: One of them is out of range.

    Example:
        >>> schedule = ProbeSchedule()
        >>> [sum(schedule.due(step, [RateStart()]) for step in range(n)) for n in (100, 1000, 10_000)]
        [33, 56, 79]
    """

    every: int = 1
    first: int = 10
    thinning: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1 or self.first < 0:
            raise ControlError(
                f"every must be at least 1 and first at least 0, however: {self.every=}, {self.first=}"
            )
        if not 0 <= self.thinning < 1:
            raise ControlError(
                f"thinning is a share of the steps taken, from 0 to below 1, however: {self.thinning=}"
            )

    def due(self, step: int, starts: Sequence[RateStart]) -> bool:
        """Whether a step is to be probed.

        Args:
            step: Its number.
            starts: The rates that are chosen by then; everything is counted from their first steps with a
                gradient, since before that no parameter moves.
        """
        return any(self._is_due(step - start.step, start.far_below) for start in starts)

    def next_due(self, step: int, starts: Sequence[RateStart]) -> int:
        """Number of the first step from this one on that is to be probed; there must be a start."""
        return min(start.step + self._next(step - start.step, start.far_below) for start in starts)

    def _is_due(self, taken: int, far_below: bool) -> bool:
        if taken <= self._first_ones(far_below):
            return taken > 0
        return self._probes(taken) > self._probes(taken - 1)

    def _next(self, taken: int, far_below: bool) -> int:
        """The first number of steps, from this one on, after which a probe is due."""
        taken = max(taken, 1)
        if taken <= self._first_ones(far_below):
            return taken
        made = self._probes(taken - 1)
        beyond = 1
        while self._probes(taken + beyond) <= made:
            beyond *= 2
        return bisect_right(range(taken, taken + beyond), made, key=self._probes) + taken

    def _first_ones(self, far_below: bool) -> int:
        return self.first * (FIRST_WHILE_FAR if far_below and self.thinning > 0 else 1)

    def _probes(self, taken: int) -> int:
        """Probes in so many steps, without the first ones: the integral of 1 / interval, rounded."""
        if taken * self.thinning <= self.every:
            return taken // self.every
        intervals = (1.0 + math.log(taken * self.thinning / self.every)) / self.thinning
        whole = math.floor(intervals)
        return whole + (intervals - whole >= whole * GOLDEN % 1.0)
