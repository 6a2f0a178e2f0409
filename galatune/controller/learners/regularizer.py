"""What is added to the losses so far before the leader is followed: small values, composed with `FTRL`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from galatune.controller.learners.surrogate import RoundLoss
from galatune.errors import ControlError

__all__ = ["LogScale", "Proximal", "Quadratic", "Regularizer", "Unregularized"]

CONVEX_BELOW = 2 * math.exp(3)
"""Up to this strength the leader's loss with a penalty on the log scale stays convex."""


class Regularizer(Protocol):
    """Finds the minimizer of the losses so far and the regularizer together."""

    def minimizer(self, total: RoundLoss, last_rate: float | None) -> float | None:
        """The minimizer over the whole line.

        Args:
            total: Sum of the losses so far.
            last_rate: The learner's rate before this round, None before the first one.

        Returns:
            None if every rate is as good as any other.
        """
        ...


@dataclass(frozen=True)
class Unregularized:
    """Follow the leader: ``eta = A / C``, with A and C the sums of gains and costs.

    Example:
        >>> Unregularized().minimizer(RoundLoss(gain=2.0, cost=4.0), last_rate=None)
        0.5
    """

    def minimizer(self, total: RoundLoss, last_rate: float | None) -> float | None:
        """``A / C``."""
        return total.gain / total.cost if total.cost else None


@dataclass(frozen=True)
class Quadratic:
    """``(strength / 2) (eta - center)^2``: ``eta = (A + strength center) / (strength + C)``.

    Args:
        strength: delta, in the unit of the costs C; it fades as they add up.
        center: 0 as published: the rate rises from nothing as evidence comes in.

    Example:
        >>> Quadratic(strength=4.0).minimizer(RoundLoss(gain=2.0, cost=4.0), last_rate=None)
        0.25
    """

    strength: float = 1e-8
    center: float = 0.0

    def __post_init__(self) -> None:
        _check_strength(self.strength)

    def minimizer(self, total: RoundLoss, last_rate: float | None) -> float | None:
        """``(A + strength center) / (strength + C)``."""
        whole = self.strength + total.cost
        return (total.gain + self.strength * self.center) / whole if whole else None


@dataclass(frozen=True)
class Proximal:
    """``(strength C / 2) (eta - last)^2``: ``eta = (A / C + strength last) / (1 + strength)``.

    Args:
        strength: Relative to the sum of costs C, so without unit, and it does not fade: 1 goes half of the
            way to the leader each round.

    References:
        McMahan, "A Survey of Algorithms and Analysis for Adaptive Online Learning", JMLR 18, 2017, on
        FTRL-Proximal.

    Differs from the paper: only the last rate is a center, not each one so far, and the strength is
    relative, so that neither the gradients' nor the curvature's unit matters.

    Example:
        >>> Proximal(strength=1.0).minimizer(RoundLoss(gain=2.0, cost=4.0), last_rate=0.1)
        0.3
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        _check_strength(self.strength)

    def minimizer(self, total: RoundLoss, last_rate: float | None) -> float | None:
        """``(A / C + strength last) / (1 + strength)``; the leader in the first round."""
        leader = Unregularized().minimizer(total, last_rate)
        if leader is None or last_rate is None:
            return leader
        return (leader + self.strength * last_rate) / (1 + self.strength)


@dataclass(frozen=True)
class LogScale:
    """``(strength C last^2 / 2) ln(eta / last)^2``: doubling and halving cost the same.

    With ``x = eta / last`` and ``m = A / (C last)`` the minimizer solves ``x + strength ln(x) / x = m``. It
    is positive, however negative A is, and for small changes it is `Proximal`'s.

    Args:
        strength: Relative, without unit; below 40, so that the problem stays convex.

    Example:
        >>> chosen = LogScale(strength=1.0).minimizer(RoundLoss(gain=-8.0, cost=4.0), last_rate=0.1)
        >>> 0 < chosen < 0.1
        True
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        _check_strength(self.strength)
        if self.strength >= CONVEX_BELOW:
            raise ControlError(f"a strength on the log scale is below 40, however: {self.strength=}")

    def minimizer(self, total: RoundLoss, last_rate: float | None) -> float | None:
        """By bisection; the leader in the first round."""
        leader = Unregularized().minimizer(total, last_rate)
        if leader is None or not last_rate or last_rate < 0 or not self.strength:
            return leader
        return last_rate * self._ratio(leader / last_rate)

    def _ratio(self, wanted: float) -> float:
        """The root x of ``x + strength ln(x) / x = wanted``, whose left side rises."""
        low, high = 1.0, max(wanted, 1.0)
        while self._rise(low) > wanted:
            low /= 2
        for _ in range(200):
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            low, high = (middle, high) if self._rise(middle) < wanted else (low, middle)
        return high

    def _rise(self, x: float) -> float:
        return x + self.strength * math.log(x) / x


def _check_strength(strength: float) -> None:
    if not 0 <= strength < math.inf:
        raise ControlError(f"a regularizer's strength is at least 0 and finite, however: {strength=}")
