"""What keeps the rate from doing harm, and the record of what it did."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from galatune.controller.rule.estimate import Observation
from galatune.controller.window import Window
from galatune.errors import ControlError

__all__ = ["Accident", "Event", "Guard", "Reaction"]

Reaction = Literal["retreat", "stop", "roll back"]
"""To a loss or gradient that is not finite, or to a loss spike."""

LOSSES, SHARPNESS = Window("loss"), Window("sharpness")


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
class Accident:
    """What went wrong in a step: ``kind`` of the event, and the reason in words."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Guard:
    """Limits on how fast the rate may move, doubt about strange observations, and what to do in an accident.

    .. code-block:: text

        limited = clip( proposed, previous / shrink, previous * growth )      growth: at most pace^steps
        rate = previous^smoothing * limited^(1 - smoothing)
        distance = |ln c - median of the last 15 ln c|         share of w kept = min(1, confidence / distance)
        spike: loss > spike * median of the last 15 losses seen

    Losses are read on steps that are probed and on no others, since reading one waits for the device: late in
    a training after every tenth of the steps taken. ``attach(..., probe_every=50, probe_thinning=0.0)``
    reacts sooner, and costs more.

    Args:
        growth: Largest factor from one probe to the next, 2.
        shrink: Largest divisor from one probe to the next, 4; also what a retreat divides the rate by.
        smoothing: Share of the old rate in the logarithm, 0: none. Growth is smoothed as well.
        confidence: Distance of an observation's log curvature c from its running median up to which it
            counts in full, in factors of e; infinite: no observation is doubted.
        spike: A positive loss this many times its running median is an accident; infinite: none is.
        reaction: To an accident. "retreat" divides the rate by shrink; "stop" raises `DivergenceError`;
            "roll back" puts parameters and optimizer state back to the last probed step at which all was
            well, and halves the rate. That copies both at each probe; buffers of the model (BatchNorm's
            statistics) and the copies themselves are in no checkpoint of the optimizer.
        rollbacks: How often that may happen before it is a `DivergenceError`.
        pace: Largest factor from one step to the next, 1.05, once steps are large enough to matter (300 times
            the first) and until a schedule took a tenth off, unless the last curvatures agree or say 300
            times more: curvature shows itself no earlier than the step that is too large for it. Infinite
            growth knows no pace.

    Raises:
        ControlError: One of them is out of range.
    """

    growth: float = 2.0
    shrink: float = 4.0
    smoothing: float = 0.0
    confidence: float = math.inf
    spike: float = math.inf
    reaction: Reaction = "retreat"
    rollbacks: int = 3
    pace: float = 1.05

    def __post_init__(self) -> None:
        if not (self.growth >= 1 and self.pace >= 1 and self.shrink >= 1):
            raise ControlError(
                "growth, pace and shrink are factors of at least 1, however: "
                f"{self.growth=}, {self.pace=}, {self.shrink=}"
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
        """Whether it wants to know the loss of a probed step."""
        return self.spike < math.inf or self.reaction != "retreat"

    def limit(self, previous: float, proposed: float, steps: int | None = None) -> float:
        """The proposed rate, held within ``[previous / shrink, previous * growth]``.

        Args:
            previous: Rate of the last step.
            proposed: By the learner.
            steps: Since the last probe, where the pace counts.

        Example:
            >>> Guard().limit(previous=1.0, proposed=10.0), Guard().limit(previous=1.0, proposed=-3.0)
            (2.0, 0.25)
            >>> Guard().limit(previous=1.0, proposed=10.0, steps=2)
            1.1025
        """
        return min(max(proposed, previous / self.shrink), previous * self.most_growth(steps))

    def most_growth(self, steps: int | None = None) -> float:
        """Largest factor from one probe to the next: with so many steps between, where the pace counts."""
        if steps is None or self.growth == math.inf:
            return self.growth
        if steps * math.log(self.pace) > math.log(self.growth):
            return self.growth
        return float(self.pace**steps)

    def smooth(self, previous: float, limited: float) -> float:
        """Part of the way to the limited rate, on the log scale: an exponential moving average.

        Example:
            >>> round(Guard(smoothing=0.5).smooth(previous=1.0, limited=0.25), 9)
            0.5
        """
        if not self.smoothing or previous <= 0 or limited <= 0:
            return limited
        return math.exp(self.smoothing * math.log(previous) + (1 - self.smoothing) * math.log(limited))

    def retreat(self, previous: float) -> float:
        """The rate after a loss or gradient that is not finite."""
        return previous / self.shrink

    def weigh(self, memory: MutableMapping[str, Any], observation: Observation) -> Observation:
        """The observation with less confidence where its curvature is far from the usual one.

        Args:
            memory: Of the slot; the last curvatures are kept in it.
            observation: As seen.
        """
        if self.confidence == math.inf or observation.effective_curvature <= 0:
            return observation
        sharpness = math.log(observation.effective_curvature)
        usual = SHARPNESS.median(memory)
        SHARPNESS.add(memory, sharpness)
        distance = 0.0 if usual is None else abs(sharpness - usual)
        if distance <= self.confidence:
            return observation
        return replace(observation, confidence=self.confidence / distance)

    def accident(self, memory: MutableMapping[str, Any], finite: bool, loss: float | None) -> Accident | None:
        """What went wrong in this step, None where nothing did.

        Args:
            memory: Of the slot; the last losses are kept in it.
            finite: Whether gradients and step are.
            loss: None where it is not known.

        Example:
            >>> Guard().accident({}, finite=True, loss=math.nan)
            Accident(kind='non-finite', reason='loss or gradient not finite')
        """
        if not finite or (loss is not None and not math.isfinite(loss)):
            return Accident("non-finite", "loss or gradient not finite")
        if loss is None or self.spike == math.inf:
            return None
        usual = LOSSES.median(memory)
        LOSSES.add(memory, loss)
        if usual is not None and loss > self.spike * usual > 0:
            reason = f"loss {loss:.3g} is more than {self.spike:g} times its median {usual:.3g}"
            return Accident("spike", reason)
        return None
