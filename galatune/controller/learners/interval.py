"""The interval that a learner keeps its rate in."""

from __future__ import annotations

import math
from dataclasses import dataclass

from galatune.errors import ControlError

__all__ = ["Interval"]


@dataclass(frozen=True)
class Interval:
    """``[low, high]`` and a rate to start from within it.

    Raises:
        ControlError: The ends are out of order, or the start lies outside.

    Example:
        >>> Interval(0.1, 1.0).clip(3.0)
        1.0
    """

    low: float = 0.0
    high: float = math.inf
    start: float | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.high and self.high > 0):
            raise ControlError(
                f"0 <= min_rate <= max_rate and max_rate > 0 must hold, however: {self.low=}, {self.high=}"
            )
        if self.start is not None and not (self.low <= self.start <= self.high and 0 < self.start < math.inf):
            raise ControlError(
                f"initial_rate must be positive, finite and within [{self.low:g}, {self.high:g}], "
                f"however: {self.start!r}"
            )

    def clip(self, rate: float) -> float:
        """The nearest rate within."""
        return min(max(rate, self.low), self.high)
