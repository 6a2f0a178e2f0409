"""What is known of good learning rates beforehand, and how gradients and it are weighed.

An old study knows the level of good rates, with a spread. Gradients know what this training allows, with an
error of the rule that differs from task to task. On the scale of logarithms each counts by its precision.

.. code-block:: text

    m = ln rate of the prior, s = its spread                       g = ln rate that the gradients ask for
    b = bias of g on this task, e = its spread
    ln target = (m / s^2 + (g - b) / e^2) / (1 / s^2 + 1 / e^2)    if |m - (g - b)| <= 2 (s + e)
              = (m + g - b) / 2                                    beyond: one of the two is wrong
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from galatune.errors import ControlError

__all__ = ["Prior", "Weighed"]

RULE_SPREAD = 1.2
"""Spread of ln(rate that the gradients ask for / best rate) over tasks: a factor of 3.3 either way."""

BEYOND = 2.0
"""Times both spreads, from where the prior and the gradients contradict each other."""

SURE = 0.9
"""Spread up to which the first probe may take the rate to the prior's at once."""

SOME = 1.2
"""Spread up to which a prior says as much of the level as the gradients do: fewer probes are enough."""

CAUTION = 1.5
"""Beyond it, by how much of its excess the rate stays below: too high a start may not be undone."""

START = 8.0
"""The first step is made with this part of where the first probe may take the rate."""


@dataclass(frozen=True)
class Weighed:
    """The rate that is aimed at, and whether prior and gradients contradict each other."""

    rate: float
    disagree: bool


@dataclass(frozen=True)
class Prior:
    """What is known of good learning rates before a training begins.

    Args:
        rate: The peak rate before the schedule, of the parameter group with the largest one.
        spread: Standard deviation of its natural logarithm: 0.7 if a factor of 2 either way is likely.
        bias: How much more than the best rate gradients ask for on this task, as a natural logarithm.
        bias_spread: Standard deviation of that.

    Raises:
        ControlError: One of them is out of range.

    Example:
        >>> prior = Prior(rate=0.01, spread=1.2)
        >>> round(prior.weigh(0.0025).rate, 6)  # as sure as the gradients: the geometric mean
        0.005
        >>> prior.weigh(1e-6).disagree
        True
    """

    rate: float
    spread: float
    bias: float = 0.0
    bias_spread: float = RULE_SPREAD

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise ControlError(f"a prior's rate must be positive and finite, however: rate={self.rate!r}")
        for name in ("spread", "bias_spread"):
            if not 0 < getattr(self, name) < math.inf:
                raise ControlError(
                    f"a prior's {name} must be positive and finite, however: {name}={getattr(self, name)!r}"
                )
        if not math.isfinite(self.bias):
            raise ControlError(f"a prior's bias must be finite, however: bias={self.bias!r}")

    def weigh(self, asked: float) -> Weighed:
        """The rate to aim at.

        Args:
            asked: Positive rate that the gradients ask for.
        """
        known, seen = math.log(self.rate), math.log(asked) - self.bias
        disagree = abs(known - seen) > BEYOND * (self.spread + self.bias_spread)
        share = 0.5 if disagree else 1 / (1 + (self.spread / self.bias_spread) ** 2)
        return Weighed(math.exp(share * known + (1 - share) * seen), disagree)

    @property
    def safe_rate(self) -> float:
        """Where the first probe may take the rate at once: the prior's, or below it if that is unsure."""
        return self.rate * math.exp(-CAUTION * max(self.spread - SURE, 0.0))

    @property
    def first_rate(self) -> float:
        """The rate of the first step, before anything was measured."""
        return self.safe_rate / START

    @property
    def saves_probes(self) -> bool:
        """Whether it says as much of the level as the gradients do."""
        return self.spread <= SOME
