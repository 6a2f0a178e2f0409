"""Limits on rate changes and handling of divergence."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import Literal, get_args

from galatune.controller.rule.estimate import Observation
from galatune.errors import ControlError

__all__ = ["Accident", "Guard", "Reaction", "RunningWindow"]

Reaction = Literal["retreat", "stop", "roll back"]
"""To a loss or gradient that is not finite, or to a loss spike."""


@dataclass(frozen=True)
class RunningWindow:
    """Median and spread of the last few values; the values themselves are a tuple, newest last.

    Args:
        length: Number of values that are kept.
        fewest: With fewer values there is no median yet.

    Example:
        >>> window, values = RunningWindow(length=3, fewest=2), ()
        >>> for value in (5.0, 1.0, 2.0, 3.0):
        ...     values = window.add(values, value)
        >>> values, window.median(values), window.median(())
        ((1.0, 2.0, 3.0), 2.0, None)
    """

    length: int = 15
    fewest: int = 5

    def add(self, values: tuple[float, ...], value: float) -> tuple[float, ...]:
        """The values with one more, and without the oldest if there are too many."""
        return (*values, value)[-self.length :]

    def median(self, values: tuple[float, ...]) -> float | None:
        """Their median, None if there are too few."""
        return statistics.median(values) if len(values) >= self.fewest else None

    def spread(self, values: tuple[float, ...]) -> float:
        """Largest less smallest value; infinite if there are too few."""
        return max(values) - min(values) if len(values) >= self.fewest else math.inf


RECENT = RunningWindow()
"""Of losses and of logarithms of the curvature."""


@dataclass(frozen=True)
class Accident:
    """What went wrong in a step: ``kind`` of the event, and the reason in words."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Guard:
    """Limits on how fast the rate changes, doubt about unusual observations, and the reaction to divergence.

    .. code-block:: text

        limited = clip( proposed, previous / shrink, previous * growth )
        rate = previous^smoothing * limited^(1 - smoothing)
        distance = |ln c - median of the last 15 ln c|         share of w kept = min(1, confidence / distance)
        spike: loss > spike * median of the last 15 losses seen

    What is said here acts at probed steps. Between them a loss that rises far beyond its noise divides the
    rate by ``shrink``, unless that is infinite, whatever the reaction is
    (`galatune.controller.rule.loss_trend`).

    Args:
        growth: Largest factor from one probe to the next, 2.
        shrink: Largest divisor from one probe to the next, 4; also what a retreat divides the rate by.
        max_growth_per_step: Largest factor per step, 1.05. Not applied during the first, tiny steps, after
            the schedule has decayed by 10 %, if recent curvature estimates agree, if the proposed rate is 300
            times higher, or for parameters of less than 32 bits (docs/method.md).
            Infinite `growth` switches it off.
        smoothing: Share of the old rate in the logarithm of the new one, 0 for none.
        confidence: Distance of an observation's log curvature c from its running median up to which the
            observation counts in full, in factors of e; infinite: no observation is doubted.
        spike: A positive loss this many times its running median is an accident; infinite: none is.
        reaction: To an accident. "retreat" divides the rate by shrink; "stop" raises `DivergenceError`;
            "roll back" restores parameters and optimizer state of the last good probed step, and halves the
            rate. It copies both at each probe. Buffers of the model (BatchNorm's statistics) are not
            restored, and no checkpoint of the optimizer holds the copies.
        rollbacks: Number of times that may happen before it is a `DivergenceError`.

    Raises:
        ControlError: One of them is out of range.
    """

    growth: float = 2.0
    shrink: float = 4.0
    max_growth_per_step: float = 1.05
    smoothing: float = 0.0
    confidence: float = math.inf
    spike: float = math.inf
    reaction: Reaction = "retreat"
    rollbacks: int = 3

    def __post_init__(self) -> None:
        if not (self.growth >= 1 and self.max_growth_per_step >= 1 and self.shrink >= 1):
            raise ControlError(
                "growth, max_growth_per_step and shrink are factors of at least 1, however: "
                f"{self.growth=}, {self.max_growth_per_step=}, {self.shrink=}"
            )
        if not 0 <= self.smoothing < 1:
            raise ControlError(f"smoothing is a share from 0 to below 1, however: {self.smoothing=}")
        if not self.confidence > 0:
            raise ControlError(f"confidence is a positive distance, however: {self.confidence=}")
        if not self.spike > 1:
            raise ControlError(f"spike is a factor above 1, however: {self.spike=}")
        if self.reaction not in get_args(Reaction):
            raise ControlError(
                f"reaction is one of {', '.join(get_args(Reaction))}, however: {self.reaction=}"
            )
        if self.rollbacks < 1:
            raise ControlError(f"rollbacks is at least 1, however: {self.rollbacks=}")

    @property
    def reads_losses(self) -> bool:
        """True if it needs the loss of a probed step."""
        return self.spike < math.inf or self.reaction != "retreat"

    def limit(self, previous: float, proposed: float, steps: int | None = None) -> float:
        """The proposed rate, clipped to ``[previous / shrink, previous * growth]``.

        Args:
            previous: The present rate, before group ratio, schedule and bounds.
            proposed: The rate that the learner asks for, times the step scale.
            steps: Steps since the last probe if growth per step is limited, else None.

        Example:
            >>> Guard().limit(previous=1.0, proposed=10.0), Guard().limit(previous=1.0, proposed=-3.0)
            (2.0, 0.25)
            >>> Guard().limit(previous=1.0, proposed=10.0, steps=2)
            1.1025
        """
        return min(max(proposed, previous / self.shrink), previous * self.most_growth(steps))

    def most_growth(self, steps: int | None = None) -> float:
        """Largest factor from one probe to the next, with so many steps between if they limit it."""
        if steps is None or self.growth == math.inf:
            return self.growth
        if steps * math.log(self.max_growth_per_step) > math.log(self.growth):
            return self.growth
        return float(self.max_growth_per_step**steps)

    def smooth(self, previous: float, limited: float) -> float:
        """An exponential moving average of the rate on the log scale.

        Example:
            >>> round(Guard(smoothing=0.5).smooth(previous=1.0, limited=0.25), 9)
            0.5
        """
        if not self.smoothing or previous <= 0 or limited <= 0:
            return limited
        return math.exp(self.smoothing * math.log(previous) + (1 - self.smoothing) * math.log(limited))

    def retreat(self, previous: float) -> float:
        """The rate after an accident, if the reaction is to retreat."""
        return previous / self.shrink

    def weigh(
        self, sharpness: tuple[float, ...], observation: Observation
    ) -> tuple[tuple[float, ...], Observation]:
        """Lower the confidence of an observation whose curvature is far from the usual one.

        Args:
            sharpness: Natural logarithms of the last curvatures.
            observation: As measured.

        Returns:
            The logarithms with this one, and the observation.
        """
        if self.confidence == math.inf or observation.effective_curvature <= 0:
            return sharpness, observation
        present, usual = math.log(observation.effective_curvature), RECENT.median(sharpness)
        sharpness = RECENT.add(sharpness, present)
        distance = 0.0 if usual is None else abs(present - usual)
        if distance <= self.confidence:
            return sharpness, observation
        return sharpness, replace(observation, confidence=self.confidence / distance)

    def accident(
        self, losses: tuple[float, ...], finite: bool, loss: float | None
    ) -> tuple[tuple[float, ...], Accident | None]:
        """Whether something went wrong in this step.

        Args:
            losses: The last losses seen.
            finite: True if gradients and step are finite.
            loss: Of this step; None if it is not known.

        Returns:
            The losses with this one, and what went wrong or None.

        Example:
            >>> Guard().accident((), finite=True, loss=math.nan)[1]
            Accident(kind='non-finite', reason='loss or gradient not finite')
        """
        if not finite or (loss is not None and not math.isfinite(loss)):
            return losses, Accident("non-finite", "loss or gradient not finite")
        if loss is None or self.spike == math.inf:
            return losses, None
        usual, losses = RECENT.median(losses), RECENT.add(losses, loss)
        if usual is not None and loss > self.spike * usual > 0:
            reason = f"loss {loss:.3g} is more than {self.spike:g} times its median {usual:.3g}"
            return losses, Accident("spike", reason)
        return losses, None
