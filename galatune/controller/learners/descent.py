"""Online gradient descent on the rounds' losses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from galatune.controller.learners.interval import Interval
from galatune.controller.learners.surrogate import DEFAULT_LOSS, Surrogate
from galatune.controller.rule.estimate import Observation
from galatune.errors import ControlError

__all__ = ["OnlineGradientDescent"]


@dataclass(frozen=True)
class DescentState:
    """The rate, and the sum of curvatures, the inverse of the step size."""

    rate: float = 0.0
    curvature: float = 0.0


@dataclass(frozen=True)
class OnlineGradientDescent:
    """A gradient step on each round's loss, projected, with a step size from the curvature met so far.

    .. code-block:: text

        H_t = discount H_{t-1} + w c          eta_{t+1} = project( eta_t - l_t'(eta_t) / H_t )

    Without an interval and without a discount this is follow the leader. At an end of the interval it
    turns back at once, while the leader first has to outweigh the past.

    Args:
        discount: Below 1 the step size stays up, and old rounds fade.
        initial_rate: Before the first round; None leaves the start to the controller.
        min_rate: Lower end of the interval.
        max_rate: Upper end of the interval.
        surrogate: The loss l of a round.

    References:
        Zinkevich, "Online Convex Programming and Generalized Infinitesimal Gradient Ascent", ICML 2003;
        Bartlett, Hazan, Rakhlin, "Adaptive Online Gradient Descent", NeurIPS 2007, the step ``1 / H_t``.

    Differs from the paper: the discount.

    Example:
        >>> learner = OnlineGradientDescent(max_rate=0.75)
        >>> flat = Observation(alignment=1.0, lipschitz=1.0, curvature=1.0, gradient_norm_squared=1.0)
        >>> sharp = Observation(alignment=1.0, lipschitz=3.0, curvature=3.0, gradient_norm_squared=1.0)
        >>> state = learner.update(learner.init(), flat)
        >>> learner.rate(state), learner.rate(learner.update(state, sharp))  # 0.75 - (3 * 0.75 - 1) / 4
        (0.75, 0.4375)
    """

    discount: float = 1.0
    initial_rate: float | None = None
    min_rate: float = 0.0
    max_rate: float = math.inf
    surrogate: Surrogate = DEFAULT_LOSS

    def __post_init__(self) -> None:
        Interval(self.min_rate, self.max_rate, self.initial_rate)
        if not 0 <= self.discount <= 1:
            raise ControlError(f"a discount lies between 0 and 1, however: {self.discount=}")

    def init(self) -> DescentState:
        """At the initial rate; without one, the first step replaces it entirely."""
        return DescentState(self.initial_rate or 0.0)

    def update(self, state: DescentState, observation: Observation) -> DescentState:
        """One projected step."""
        loss, rate = self.surrogate(observation), state.rate
        curvature = self.discount * state.curvature + loss.cost
        if curvature:
            rate = Interval(self.min_rate, self.max_rate).clip(rate - loss.slope(rate) / curvature)
        return DescentState(rate, curvature)

    def rate(self, state: DescentState) -> float | None:
        """The present rate of the descent."""
        return state.rate if state.curvature else self.initial_rate
