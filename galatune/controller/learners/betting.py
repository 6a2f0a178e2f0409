"""Coin betting: a learner that has no step size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from galatune.controller.learners.interval import Interval
from galatune.controller.learners.surrogate import DEFAULT_LOSS, Surrogate
from galatune.controller.rule.estimate import Observation
from galatune.errors import ControlError

__all__ = ["CoinBetting"]


@dataclass(frozen=True)
class CoinState:
    """The bet, the wealth (0: not known yet), sum and number of the coins, and the steepest slope so far."""

    bet: float = 0.0
    wealth: float = 0.0
    coins: float = 0.0
    throws: float = 0.0
    range: float = 0.0


@dataclass(frozen=True)
class CoinBetting:
    """Bets on which way the loss falls: a share of the wealth that grows while it wins (Krichevsky-Trofimov).

    .. code-block:: text

        g_t = l_t'(eta_t), 0 if it points out of the interval from a bet outside of it
        c_t = -g_t / max_{s <= t} |l_s'(eta_s)|              the coin, in [-1, 1]
        W_t = W_{t-1} + c_t x_t                              wealth, which stays positive
        x_{t+1} = (sum_{s <= t} c_s) / (t + 1) * W_t         the bet;  eta_{t+1} = clip(x_{t+1})

    Args:
        initial_wealth: W_0, in the unit of a rate; None for the best rate of the first round, so that no
            unit has to be known.
        min_rate: Lower end of the interval.
        max_rate: Upper end of the interval.
        surrogate: The loss l of a round.

    References:
        Orabona, Pal, "Coin Betting and Parameter-Free Online Learning", NeurIPS 2016, algorithm 1; Cutkosky,
        Orabona, "Black-Box Reductions for Parameter-free Online Learning in Banach Spaces", COLT 2018, for
        the interval.

    Differs from the paper: gradients are divided by the largest one so far, since their bound is not known
    beforehand, and the wealth to start with comes from the first round.

    Example:
        >>> learner = CoinBetting()
        >>> seen = Observation(alignment=1.0, lipschitz=2.0, curvature=2.0, gradient_norm_squared=1.0)
        >>> state = learner.update(learner.init(), seen)
        >>> learner.rate(state)  # half of the best rate, 1/2
        0.25
        >>> for _ in range(30):
        ...     state = learner.update(state, seen)
        >>> round(learner.rate(state), 2)
        0.45
    """

    initial_wealth: float | None = None
    min_rate: float = 0.0
    max_rate: float = math.inf
    surrogate: Surrogate = DEFAULT_LOSS

    def __post_init__(self) -> None:
        Interval(self.min_rate, self.max_rate)
        if self.initial_wealth is not None and not 0 < self.initial_wealth < math.inf:
            raise ControlError(f"initial_wealth must be positive and finite, however: {self.initial_wealth=}")

    def init(self) -> CoinState:
        """No coin thrown."""
        return CoinState(wealth=self.initial_wealth or 0.0)

    def update(self, state: CoinState, observation: Observation) -> CoinState:
        """One coin."""
        loss = self.surrogate(observation)
        wealth = state.wealth or (abs(loss.gain) / loss.cost if loss.cost else 0.0)
        played = Interval(self.min_rate, self.max_rate).clip(state.bet)
        slope = loss.slope(played)
        largest = max(state.range, abs(slope))
        outward = slope * (state.bet - played) < 0
        coin = -slope / largest if largest and not outward else 0.0
        wealth += coin * state.bet
        coins, throws = state.coins + coin, state.throws + 1
        return CoinState(coins / (throws + 1) * wealth, wealth, coins, throws, largest)

    def rate(self, state: CoinState) -> float | None:
        """The bet, clipped."""
        if not (state.throws and state.wealth):
            return None
        return Interval(self.min_rate, self.max_rate).clip(state.bet)
