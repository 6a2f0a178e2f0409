"""A loss that rises far beyond its noise from one step to the next: the rate is above what curvature allows.

Between two probes the loss alone tells, and every step's is looked at. A single high loss may be that of a
hard minibatch; an unstable rate makes it rise again and again.

.. code-block:: text

    rise  = loss - lowest of the last 8 losses
    noise = running mean of max(loss - loss of the step before, 0), with discount 0.95; of high losses at most
            the limit, so that data which now and then are hard raise it
    range = first loss - lowest loss so far
    high if rise > max(16 noise, range / 20, |lowest of the last 8| / 2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

__all__ = ["LossTrend", "Rise"]

WINDOW = 8
"""Number of losses kept."""

FEWEST = 10
"""Fewer losses say nothing about their noise."""

DISCOUNT = 0.95
"""Of the noise, per step."""

TIMES_NOISE = 16.0
"""Rises that normal noise does not reach: nine standard deviations."""

SHARE_OF_RANGE = 0.05
"""Smaller rises do no harm, however small the noise: this share of what was gained since the first loss."""

SHARE_OF_LOSS = 0.5
"""Nor do those that a loss which falls smoothly, and so has hardly any noise, shows now and then."""

WORSE = 2.0
"""After an accident, the next one is a rise this many times as high."""


class Rise(Enum):
    """What one more loss says.

    Attributes:
        NONE: Nothing unusual.
        ONCE: It is high and the one before was not.
        ACCIDENT: It is high a second time in a row, or has grown further since the last accident.
    """

    NONE = 0
    ONCE = 1
    ACCIDENT = 2


@dataclass(frozen=True)
class LossTrend:
    """The losses so far, in a few numbers.

    Attributes:
        recent: The last losses, newest last.
        upward: Discounted sum of the rises from one loss to the next.
        weight: Discounted number of them.
        seen: Number of losses.
        first: The first loss.
        lowest: The lowest one.
        high: Number of high losses in a row.
        accident: Rise at the last accident of this row, 0 before.

    Example:
        >>> trend = LossTrend()
        >>> for loss in [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.2, 0.9]:
        ...     trend, rise = trend.add(loss)
        >>> rise, trend.high
        (<Rise.ACCIDENT: 2>, 2)
    """

    recent: tuple[float, ...] = ()
    upward: float = 0.0
    weight: float = 0.0
    seen: int = 0
    first: float = 0.0
    lowest: float = 0.0
    high: int = 0
    accident: float = 0.0

    def add(self, loss: float) -> tuple[LossTrend, Rise]:
        """The trend with one more loss, and what that says; a loss that is not finite says nothing here."""
        if not math.isfinite(loss):
            return self, Rise.NONE
        if not self.recent:
            return LossTrend(recent=(loss,), seen=1, first=loss, lowest=loss), Rise.NONE
        lowest, recent = min(self.recent), (*self.recent, loss)[-WINDOW:]
        rise = loss - lowest
        up, limit = max(loss - self.recent[-1], 0.0), self._limit(lowest)
        high = self.seen >= FEWEST and rise > limit
        longer = LossTrend(
            recent,
            upward=DISCOUNT * self.upward + (min(up, limit) if high else up),
            weight=DISCOUNT * self.weight + 1.0,
            seen=self.seen + 1,
            first=self.first,
            lowest=min(self.lowest, loss),
        )
        return self._high(longer, rise) if high else (longer, Rise.NONE)

    def _limit(self, lowest: float) -> float:
        noise = self.upward / self.weight if self.weight else 0.0
        return max(
            TIMES_NOISE * noise,
            SHARE_OF_RANGE * (self.first - self.lowest),
            SHARE_OF_LOSS * abs(lowest),
        )

    def _high(self, longer: LossTrend, rise: float) -> tuple[LossTrend, Rise]:
        high = self.high + 1
        if self.high > 0 and rise > WORSE * self.accident:
            return replace(longer, high=high, accident=rise), Rise.ACCIDENT
        return replace(longer, high=high, accident=self.accident), Rise.ONCE if high == 1 else Rise.NONE
