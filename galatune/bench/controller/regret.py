"""Regret: what the chosen rates cost compared with the best fixed rate, in hindsight and by the model.

The model is the parabola that a probe (a round) sees along the step; it is not the training loss itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from galatune.controller.learners.interval import Interval
from galatune.controller.learners.regularizer import Quadratic
from galatune.controller.learners.surrogate import PUBLISHED, RoundLoss, Surrogate
from galatune.controller.rule.estimate import Observation
from galatune.errors import ControlError

if TYPE_CHECKING:
    from galatune.controller import ProbeRecord

__all__ = ["Regret", "ftrl_bound", "regret"]

Bounds = tuple[float, float]
"""Lowest and highest rate."""


@dataclass(frozen=True)
class Regret:
    """Losses at the played rates, and at the best fixed rate.

    Attributes:
        losses: l_t(eta_t), one per round, in the unit of the loss (with ``weight_power=1``).
        best_losses: l_t(eta*), likewise.
        best_fixed_rate: eta*, the rate with the smallest sum of losses; None if there is no round.
        regret: Sum of losses less the sum of best losses; negative if the rates beat every fixed one.
        average: Regret per round; None if there is no round.
    """

    losses: tuple[float, ...]
    best_losses: tuple[float, ...]
    best_fixed_rate: float | None
    regret: float
    average: float | None


def regret(
    history: Iterable[ProbeRecord], bounds: Bounds | None = None, surrogate: Surrogate = PUBLISHED
) -> Regret:
    r"""Compute the realized regret of a controller from its ``history``.

    .. code-block:: text

        regret = sum_t l_t(eta_t) - min over eta in bounds of sum_t l_t(eta)
        l_t(eta) = -w a eta + (w c / 2) eta^2,     eta* = clip( sum w a / sum w c )

    eta_t is the rate of the step that round t probed. Rounds without an estimate are left out.

    Args:
        history: Records of one controlled rate (with ``per_group``, those of one group).
        bounds: Interval that the fixed rate is chosen from; None for every rate from 0 up.
        surrogate: The losses; `PUBLISHED` or `DEFAULT_LOSS`.

    Raises:
        ControlError: No fixed rate is the best, since no loss curves upwards and there is no upper bound.

    References:
        Jiang, Kavis, Mokhtari, arXiv 2506.08419, 2025 (a preprint), the regret of section 3.

    Example:
        >>> from galatune.controller import ProbeRecord
        >>> first = ProbeRecord(2, 0.2, 1.0, 4.0, 4.0, 2, gradient_norm_squared=1.0, played_rate=0.1)
        >>> second = ProbeRecord(3, 0.2, 0.6, 4.0, 4.0, 4, gradient_norm_squared=1.0, played_rate=0.2)
        >>> found = regret([first, second])
        >>> round(found.best_fixed_rate, 9), round(found.regret, 9), round(found.average, 9)
        (0.2, 0.04, 0.02)
    """
    rates, rounds = _rounds(history, surrogate)
    if not rounds:
        return Regret((), (), None, 0.0, None)
    best = _best_fixed(rounds, bounds or (0.0, math.inf))
    losses = tuple(loss.at(rate) for loss, rate in zip(rounds, rates, strict=True))
    best_losses = tuple(loss.at(best) for loss in rounds)
    total = math.fsum(losses) - math.fsum(best_losses)
    return Regret(losses, best_losses, best, total, total / len(rounds))


def ftrl_bound(
    history: Iterable[ProbeRecord],
    regularizer: Quadratic,
    bounds: Bounds | None = None,
    surrogate: Surrogate = PUBLISHED,
) -> float:
    r"""Compute what the regret of `FTRL` with this regularizer cannot exceed on these rounds.

    .. code-block:: text

        r(eta) = (delta / 2) (eta - center)^2           H_t = delta + sum_{s <= t} w c
        regret <= r(eta*) - r(eta_1) + (l_1'(eta_1) + r'(eta_1))^2 / (2 H_1)
                  + sum_{t >= 2} l_t'(eta_t)^2 / (2 H_t)

    Each summand bounds how far round t moves the leader: the losses so far are H_t-strongly convex. Slopes
    of at most G and costs of at least h make the sum at most ``(G^2 / 2 h) (1 + ln T)``.

    Args:
        history: Records of a run at the learner's own rates: step scale 1, no limits, each step probed.
        regularizer: That of the learner.
        bounds: The learner's interval.
        surrogate: The learner's losses.

    References:
        McMahan, "A Survey of Algorithms and Analysis for Adaptive Online Learning", JMLR 18, 2017:
        theorem 1 with strongly convex losses, lemmas 5 and 7. Differs from the paper: the first rate need
        not minimize the regularizer, so r' enters the first summand, and ``r(eta_1)`` is kept.

    Example:
        >>> from galatune.controller import ProbeRecord
        >>> one = ProbeRecord(2, 0.2, 1.0, 4.0, 4.0, 2, gradient_norm_squared=1.0, played_rate=0.0)
        >>> ftrl_bound([one], Quadratic(0.0)), regret([one]).regret
        (0.125, 0.125)
    """
    rates, rounds = _rounds(history, surrogate)
    if not rounds:
        return 0.0
    best = _best_fixed(rounds, bounds or (0.0, math.inf))
    delta, center = regularizer.strength, regularizer.center
    curved, terms = delta, []
    for t, (loss, rate) in enumerate(zip(rounds, rates, strict=True)):
        curved += loss.cost
        slope = loss.slope(rate) + (delta * (rate - center) if t == 0 else 0.0)
        terms.append(slope * slope / (2 * curved))
    start = 0.5 * delta * ((best - center) ** 2 - (rates[0] - center) ** 2)
    return start + math.fsum(terms)


def _rounds(history: Iterable[ProbeRecord], surrogate: Surrogate) -> tuple[list[float], list[RoundLoss]]:
    """Return played rates and losses of the rounds that have an estimate."""
    rates, rounds = [], []
    for record in history:
        seen = (record.alignment, record.lipschitz, record.curvature, record.gradient_norm_squared)
        if record.played_rate is None or any(value is None for value in seen):
            continue
        rates.append(record.played_rate)
        rounds.append(surrogate(Observation(*(float(value) for value in seen if value is not None))))
    return rates, rounds


def _best_fixed(rounds: Sequence[RoundLoss], bounds: Bounds) -> float:
    gain = math.fsum(loss.gain for loss in rounds)
    cost = math.fsum(loss.cost for loss in rounds)
    interval = Interval(*bounds)
    if cost:
        return interval.clip(gain / cost)
    if gain > 0 and interval.high == math.inf:
        raise ControlError(
            f"no fixed rate is the best: the losses of {len(rounds)} rounds only fall; give bounds"
        )
    return interval.high if gain > 0 else interval.low
