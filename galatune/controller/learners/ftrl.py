"""Follow the regularized leader as published, and its optimistic form."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from galatune.controller.learners.interval import Interval
from galatune.controller.learners.regularizer import Quadratic, Regularizer
from galatune.controller.learners.surrogate import PUBLISHED, RoundLoss, Surrogate
from galatune.controller.rule.estimate import Observation

__all__ = ["FTRL", "OptimisticFTRL"]


NO_RATE = -1.0
"""In a state of floats: there is no last rate yet."""


@dataclass(frozen=True)
class FTRLState:
    """Sums of gains and costs, the last rate, and the losses expected next (0 without a hint)."""

    gain_sum: float = 0.0
    cost_sum: float = 0.0
    last_rate: float = NO_RATE
    hint_gain: float = 0.0
    hint_cost: float = 0.0


@dataclass(frozen=True)
class FTRL:
    """Follow the regularized leader, as published: plain sums, delta, initial rate, clipping.

    .. code-block:: text

        eta_{t+1} = argmin over [min_rate, max_rate] of  sum_{s <= t} l_s(eta) + r(eta)
                  = clip( sum <g1, g0> / (delta + sum L ||g0||^2),  min_rate, max_rate )

    for the published loss and ``r(eta) = (delta / 2) eta^2``.

    Args:
        initial_rate: Before the first round, which forgets it (a regularizer's center would remember it);
            None leaves the start to the controller.
        min_rate: Lower end of the interval.
        max_rate: Upper end of the interval.
        regularizer: r; `Quadratic` with strength delta as published. Its strength has the unit of the costs.
        surrogate: The loss l of a round.

    References:
        Jiang, Kavis, Mokhtari, arXiv 2506.08419, 2025 (a preprint), the closed form of section 3; McMahan,
        "A Survey of Algorithms and Analysis for Adaptive Online Learning", JMLR 18, 2017, theorem 1.

    Differs from the paper: nothing here; but the inner products are in the optimizer's metric, and the
    controller's guard, step scale and probe interval act around it. ``Guard(math.inf, math.inf)``,
    ``step_scale=1`` and ``probe_schedule=ProbeSchedule(thinning=0.0)`` take them away.

    Example:
        >>> learner = FTRL(initial_rate=0.01, max_rate=0.4, regularizer=Quadratic(0.0))
        >>> seen = Observation(alignment=1.0, lipschitz=4.0, curvature=1.0, gradient_norm_squared=9.0)
        >>> learner.rate(learner.init()), learner.rate(learner.update(learner.init(), seen))
        (0.01, 0.25)
    """

    initial_rate: float | None = None
    min_rate: float = 0.0
    max_rate: float = math.inf
    regularizer: Regularizer = field(default_factory=Quadratic)
    surrogate: Surrogate = PUBLISHED

    def __post_init__(self) -> None:
        Interval(self.min_rate, self.max_rate, self.initial_rate)

    def init(self) -> FTRLState:
        """Sums zero."""
        return FTRLState()

    def update(self, state: FTRLState, observation: Observation) -> FTRLState:
        """Add the round to the sums."""
        last, loss = self.rate(state), self.surrogate(observation)
        return FTRLState(
            gain_sum=state.gain_sum + loss.gain,
            cost_sum=state.cost_sum + loss.cost,
            last_rate=NO_RATE if last is None else last,
        )

    def rate(self, state: FTRLState) -> float | None:
        """The regularized leader, clipped."""
        total = RoundLoss(state.gain_sum + state.hint_gain, state.cost_sum + state.hint_cost)
        if not total.cost:
            return self.initial_rate
        last = None if state.last_rate < 0 else state.last_rate
        chosen = self.regularizer.minimizer(total, last)
        return chosen if chosen is None else Interval(self.min_rate, self.max_rate).clip(chosen)


@dataclass(frozen=True)
class OptimisticFTRL:
    """FTRL that expects the next round to be like the last one.

    .. code-block:: text

        eta_{t+1} = argmin over [min_rate, max_rate] of  sum_{s <= t} l_s(eta) + l_t(eta) + r(eta)

    The regret then depends on how much the losses change from round to round, not on how large they are.

    Args:
        ftrl: The learner underneath, with its interval, regularizer and loss.

    References:
        Rakhlin, Sridharan, "Optimization, Learning, and Games with Predictable Sequences", NeurIPS 2013.

    Differs from the paper: the hint is the whole quadratic loss of the last round, not its gradient.

    Example:
        >>> learner = OptimisticFTRL(FTRL(regularizer=Quadratic(0.0)))
        >>> first = Observation(alignment=1.0, lipschitz=2.0, curvature=2.0, gradient_norm_squared=1.0)
        >>> second = Observation(alignment=1.0, lipschitz=1.0, curvature=1.0, gradient_norm_squared=1.0)
        >>> state = learner.update(learner.update(learner.init(), first), second)
        >>> learner.rate(state)  # (1 + 1 + 1) / (2 + 1 + 1)
        0.75
    """

    ftrl: FTRL = field(default_factory=FTRL)

    def init(self) -> FTRLState:
        """That of FTRL, without a hint."""
        return self.ftrl.init()

    def update(self, state: FTRLState, observation: Observation) -> FTRLState:
        """Add the round; it is the next hint."""
        loss = self.ftrl.surrogate(observation)
        return replace(self.ftrl.update(state, observation), hint_gain=loss.gain, hint_cost=loss.cost)

    def rate(self, state: FTRLState) -> float | None:
        """The clipped minimizer of the losses so far and the hint."""
        return self.ftrl.rate(state)
