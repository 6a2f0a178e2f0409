"""What keeps the rate from doing harm, and the record of what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from galatune.errors import ControlError

__all__ = ["Event", "Guard"]


@dataclass(frozen=True)
class Event:
    """One thing the controller decided or noticed.

    Attributes:
        step: Optimizer step, from 1; 0 before the first.
        kind: Short name: "probe", "schedule", "start", "non-finite", ...
        reason: In words.
        values: Numbers behind it.
    """

    step: int
    kind: str
    reason: str
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Guard:
    """Limits on how fast the rate may move.

    Args:
        growth: Largest factor from one probe to the next, 2.
        shrink: Largest divisor from one probe to the next, 4; also what a non-finite loss or gradient
            divides the rate by.

    Raises:
        ControlError: One of them is below 1.
    """

    growth: float = 2.0
    shrink: float = 4.0

    def __post_init__(self) -> None:
        if not (self.growth >= 1 and self.shrink >= 1):
            raise ControlError(
                f"growth and shrink are factors of at least 1, however: {self.growth=}, {self.shrink=}"
            )

    def limit(self, previous: float, proposed: float) -> float:
        """The proposed rate, held within ``[previous / shrink, previous * growth]``.

        Example:
            >>> Guard().limit(previous=1.0, proposed=10.0), Guard().limit(previous=1.0, proposed=-3.0)
            (2.0, 0.25)
        """
        return min(max(proposed, previous / self.shrink), previous * self.growth)

    def retreat(self, previous: float) -> float:
        """The rate after a loss or gradient that is not finite."""
        return previous / self.shrink
