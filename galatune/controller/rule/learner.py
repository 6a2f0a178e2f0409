"""The online learner that chooses the rate from observations: its protocol, and the default one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from galatune.controller.rule.estimate import Observation

__all__ = ["DiscountedFTRL", "DiscountedSums", "Learner"]


class Learner(Protocol):
    """A one-dimensional online learner, whose state is a frozen dataclass of floats."""

    def init(self) -> Any:
        """The state before any observation."""

    def update(self, state: Any, observation: Observation) -> Any:
        """The state after one more observation; the old state is left as it was."""

    def rate(self, state: Any) -> float | None:
        """The chosen rate at step scale 1; None before the first observation."""


@dataclass(frozen=True)
class DiscountedSums:
    """State of `DiscountedFTRL`: A, C (recent) and A1, C1 (of the whole run)."""

    fast_alignment: float = 0.0
    fast_curvature: float = 0.0
    slow_alignment: float = 0.0
    slow_curvature: float = 0.0


@dataclass(frozen=True)
class DiscountedFTRL:
    """Follow the regularized leader on ``-w a eta + (w c / 2) eta^2`` with discounted sums; the default.

    .. code-block:: text

        A  <- discount A + w a      C  <- discount C + w c      fast = A  / C
        A1 <- A1 + w a              C1 <- C1 + w c              slow = A1 / C1
        rate = min(fast, slow_bound * slow)                     w = (<g0, g0>_P)^weight_power

    The discount lets the sums forget an early explosion. The slow bound protects a net that fits its data
    exactly: gradients and curvature vanish there, and the fast rate alone would run away.

    Args:
        weight_power: 1/2. 1 is the published weight, 0 gives every probe the same weight.
        discount: 0.9 per probe.
        slow_bound: Largest ratio of the recent rate to that of the whole run, 4.

    References:
        Jiang, Kavis, Mokhtari, arXiv 2506.08419, 2025, the closed form of section 3.

    Differs from the paper: observations are discounted and weighted by the gradient's norm instead of its
    square, the slow bound is new, and there is no delta in the denominator.

    Example:
        >>> learner = DiscountedFTRL()
        >>> seen = Observation(alignment=1.0, lipschitz=2.0, curvature=2.0, gradient_norm_squared=4.0)
        >>> learner.rate(learner.update(learner.init(), seen))
        0.5
    """

    weight_power: float = 0.5
    discount: float = 0.9
    slow_bound: float = 4.0

    def init(self) -> DiscountedSums:
        """All sums zero."""
        return DiscountedSums()

    def update(self, state: DiscountedSums, observation: Observation) -> DiscountedSums:
        """Add one observation to both pairs of sums."""
        weight = observation.gradient_norm_squared**self.weight_power * observation.confidence
        gain, cost = weight * observation.alignment, weight * observation.effective_curvature
        return DiscountedSums(
            fast_alignment=self.discount * state.fast_alignment + gain,
            fast_curvature=self.discount * state.fast_curvature + cost,
            slow_alignment=state.slow_alignment + gain,
            slow_curvature=state.slow_curvature + cost,
        )

    def rate(self, state: DiscountedSums) -> float | None:
        """``min(A / C, slow_bound * A1 / C1)``; negative if gradients turned around."""
        if not (state.fast_curvature and state.slow_curvature):
            return None
        fast = state.fast_alignment / state.fast_curvature
        slow = state.slow_alignment / state.slow_curvature
        return min(fast, self.slow_bound * slow)
