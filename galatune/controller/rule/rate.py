"""One-dimensional online learners: from observations to a learning rate.

A learner is a value: ``init() -> state``, ``update(state, observation) -> state``,
``rate(state) -> float``. The state is a flat mapping of names to numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from galatune.controller.rule.estimate import Observation

__all__ = ["DiscountedFTRL", "Learner", "LearnerState"]

LearnerState = Mapping[str, float]


class Learner(Protocol):
    """What chooses the rate. Options live in the learner, memory in the state."""

    def init(self) -> LearnerState:
        """The state before any observation."""
        ...

    def update(self, state: LearnerState, observation: Observation) -> LearnerState:
        """The state after one more observation; the old state is left as it was."""
        ...

    def rate(self, state: LearnerState) -> float | None:
        """The chosen rate at step scale 1; None before the first observation."""
        ...


@dataclass(frozen=True)
class DiscountedFTRL:
    """Follow the regularized leader on ``-w a eta + (w c / 2) eta^2``, forgetting old rounds.

    .. code-block:: text

        A  <- discount A + w a      C  <- discount C + w c      fast = A  / C
        A1 <- A1 + w a              C1 <- C1 + w c              slow = A1 / C1
        rate = min(fast, slow_bound * slow)                     w = (<g0, g0>_P)^weight_power

    Forgetting survives an early explosion, which would otherwise speak for ever; the slow bound holds a
    net that interpolates, whose quiet rounds (no gradient, no curvature) let the fast rate run away.

    Args:
        weight_power: 1/2. 1 is the published weight, 0 leaves rounds unweighted.
        discount: 0.9 a probe.
        slow_bound: How far the recent past may go beyond the whole run, 4 times.

    References:
        Jiang, Kavis, Mokhtari, arXiv 2506.08419, 2025, the closed form of section 3.

    Differs from the paper: rounds are discounted and weighted by the gradient's norm instead of its
    square, the slow bound is new, and there is no delta in the denominator.

    Example:
        >>> from galatune.controller.rule.estimate import Observation
        >>> learner = DiscountedFTRL()
        >>> seen = Observation(alignment=1.0, lipschitz=2.0, curvature=2.0, gradient_norm_squared=4.0)
        >>> learner.rate(learner.update(learner.init(), seen))
        0.5
    """

    weight_power: float = 0.5
    discount: float = 0.9
    slow_bound: float = 4.0

    def init(self) -> LearnerState:
        """All sums zero."""
        return {"fast_alignment": 0.0, "fast_curvature": 0.0, "slow_alignment": 0.0, "slow_curvature": 0.0}

    def update(self, state: LearnerState, observation: Observation) -> LearnerState:
        """Add one round to both pairs of sums."""
        weight = observation.gradient_norm_squared**self.weight_power * observation.confidence
        gain, cost = weight * observation.alignment, weight * observation.effective_curvature
        return {
            "fast_alignment": self.discount * state["fast_alignment"] + gain,
            "fast_curvature": self.discount * state["fast_curvature"] + cost,
            "slow_alignment": state["slow_alignment"] + gain,
            "slow_curvature": state["slow_curvature"] + cost,
        }

    def rate(self, state: LearnerState) -> float | None:
        """``min(A / C, slow_bound * A1 / C1)``; may be negative where gradients turned around."""
        if not (state["fast_curvature"] and state["slow_curvature"]):
            return None
        fast = state["fast_alignment"] / state["fast_curvature"]
        slow = state["slow_alignment"] / state["slow_curvature"]
        return min(fast, self.slow_bound * slow)
