"""The one-dimensional loss of a round, which every learner minimizes in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from galatune.controller.rule.estimate import Observation

__all__ = ["DEFAULT_LOSS", "PUBLISHED", "RoundLoss", "Surrogate"]


@dataclass(frozen=True)
class RoundLoss:
    """``l(eta) = -gain * eta + (cost / 2) * eta^2``.

    Attributes:
        gain: w a, what going on is worth to first order.
        cost: w c, per unit of learning rate; never negative.

    Example:
        >>> loss = RoundLoss(gain=2.0, cost=4.0)
        >>> loss.at(0.5), loss.slope(0.5)
        (-0.5, 0.0)
    """

    gain: float
    cost: float

    def at(self, rate: float) -> float:
        """The loss of a rate."""
        return -self.gain * rate + 0.5 * self.cost * rate * rate

    def slope(self, rate: float) -> float:
        """Its derivative there."""
        return -self.gain + self.cost * rate


@dataclass(frozen=True)
class Surrogate:
    """From an observation to the loss of its round: ``l(eta) = -w a eta + (w c / 2) eta^2``.

    Args:
        weight_power: w is the squared norm of the gradient to this power. The published loss has 1, so that
            ``w a = <g1, g0>`` and ``w L = L ||g0||^2``; 0 leaves rounds unweighted.
        curvature: c is "lipschitz", the gradient's Lipschitz constant L as published, or "effective",
            its geometric mean with the curvature along the step.

    References:
        Jiang, Kavis, Mokhtari, arXiv 2506.08419, 2025 (a preprint), the loss of section 3.

    Example:
        >>> seen = Observation(alignment=0.5, lipschitz=3.0, curvature=3.0, gradient_norm_squared=4.0)
        >>> PUBLISHED(seen)
        RoundLoss(gain=2.0, cost=12.0)
        >>> Surrogate(weight_power=0.5)(seen)
        RoundLoss(gain=1.0, cost=6.0)
    """

    weight_power: float = 0.5
    curvature: Literal["effective", "lipschitz"] = "effective"

    def __call__(self, observation: Observation) -> RoundLoss:
        """The loss of the round in which this was seen."""
        weight = observation.gradient_norm_squared**self.weight_power * observation.confidence
        published = self.curvature == "lipschitz"
        c = observation.lipschitz if published else observation.effective_curvature
        return RoundLoss(weight * observation.alignment, weight * c)


PUBLISHED = Surrogate(weight_power=1.0, curvature="lipschitz")
"""The loss as the paper writes it."""

DEFAULT_LOSS = Surrogate()
"""The loss of the default learner."""
