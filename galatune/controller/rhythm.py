"""Which steps are probed: the first ones, then every k-th, then ever fewer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Rhythm"]


@dataclass(frozen=True)
class Rhythm:
    """Steps and their probes. Step numbers count from 0.

    Attributes:
        first: Number of steps that are all probed, from the first one with a gradient.
        every: Steps between two probes after that.
        thinning: Share of the steps taken that the interval grows to once that is more than `every`; 0
            keeps the interval. Late in a training the rate moves as slowly as the training does.

    Example:
        >>> rhythm = Rhythm(first=40, every=10, thinning=0.05)
        >>> [sum(rhythm.due(step, [0]) for step in range(steps)) for steps in (100, 1000, 10_000)]
        [45, 88, 134]
    """

    first: int
    every: int
    thinning: float

    def due(self, step: int, began: Sequence[int]) -> bool:
        """Whether a step is to be probed.

        Args:
            step: Its number.
            began: For each rate that is chosen by then, the number of the first step with a gradient; the
                first probes are counted from there, since before that no parameter moves.
        """
        if any(1 <= step - start <= self.first for start in began):
            return True
        return bool(began) and step > 0 and self._rounds(step) > self._rounds(step - 1)

    def _rounds(self, step: int) -> int:
        """Probes up to a step, the first ones apart: the integral of 1 / interval, rounded down."""
        if step * self.thinning <= self.every:
            return step // self.every
        return math.floor((1.0 + math.log(step * self.thinning / self.every)) / self.thinning)
