"""Which steps are probed: the first ones, then one after every tenth of the steps taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Begun", "Rhythm"]

GOLDEN = (math.sqrt(5) - 1) / 2
"""Probes are moved by its multiples within their interval: no period of the data stays in step with them."""


FIRST_WHILE_FAR = 4
"""Times as many first steps are probed while the rate is far below what it is to be."""


class Begun(NamedTuple):
    """A rate that is chosen.

    Attributes:
        step: Number of the first step with a gradient.
        far_below: Whether the last probe wanted more than the guard lets it grow, its pace apart. Each probe
            doubles such a rate at most: with ever fewer of them a short training would be over before it
            arrives.
    """

    step: int = 0
    far_below: bool = False


@dataclass(frozen=True)
class Rhythm:
    """Steps and their probes. Step numbers count from 0.

    Attributes:
        first: Number of steps that are all probed, from the first one with a gradient; where probes thin
            out, of four times as many those where the rate is far below.
        every: Steps between two probes after that.
        thinning: Share of the steps taken that the interval grows to once that is more than `every`; 0
            keeps the interval. Late in a training the rate moves as slowly as the training does.

    Example:
        >>> rhythm = Rhythm(first=10, every=1, thinning=0.1)
        >>> [sum(rhythm.due(step, [Begun()]) for step in range(steps)) for steps in (100, 1000, 10_000)]
        [33, 56, 79]
    """

    first: int
    every: int
    thinning: float

    def due(self, step: int, begun: Sequence[Begun]) -> bool:
        """Whether a step is to be probed.

        Args:
            step: Its number.
            begun: The rates that are chosen by then; everything is counted from their first steps with a
                gradient, since before that no parameter moves.
        """
        return any(self._is_due(step - rate.step, rate.far_below) for rate in begun)

    def _is_due(self, taken: int, far_below: bool) -> bool:
        longer = far_below and self.thinning > 0
        if taken <= self.first * (FIRST_WHILE_FAR if longer else 1):
            return taken > 0
        return self._probes(taken) > self._probes(taken - 1)

    def _probes(self, taken: int) -> int:
        """Probes in so many steps, the first ones apart: the integral of 1 / interval, rounded."""
        if taken * self.thinning <= self.every:
            return taken // self.every
        intervals = (1.0 + math.log(taken * self.thinning / self.every)) / self.thinning
        whole = math.floor(intervals)
        return whole + (intervals - whole >= whole * GOLDEN % 1.0)
