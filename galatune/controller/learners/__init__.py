"""Every learner and regularizer, by name."""

from __future__ import annotations

from galatune.controller.learners.betting import CoinBetting
from galatune.controller.learners.descent import OnlineGradientDescent
from galatune.controller.learners.ftrl import FTRL, OptimisticFTRL
from galatune.controller.learners.regularizer import (
    LogScale,
    Proximal,
    Quadratic,
    Regularizer,
    Unregularized,
)
from galatune.controller.learners.surrogate import DEFAULT_LOSS, PUBLISHED, Surrogate
from galatune.controller.rule.learner import DiscountedFTRL, Learner

__all__ = [
    "DEFAULT_LOSS",
    "FTRL",
    "PUBLISHED",
    "CoinBetting",
    "DiscountedFTRL",
    "Learner",
    "LogScale",
    "OnlineGradientDescent",
    "OptimisticFTRL",
    "Proximal",
    "Quadratic",
    "Regularizer",
    "Surrogate",
    "Unregularized",
]
