"""One method per online learner, all with AdamW and the closure probe: they differ in the learner alone."""

from __future__ import annotations

from galatune.bench.controller.methods.controlled import under_control
from galatune.controller.learners import (
    FTRL,
    CoinBetting,
    DiscountedFTRL,
    Learner,
    LogScale,
    OnlineGradientDescent,
    OptimisticFTRL,
    Proximal,
)

__all__ = ["LEARNERS"]

_LEARNERS: dict[str, Learner] = {
    "discounted-ftrl": DiscountedFTRL(),
    "ftrl": FTRL(),
    "optimistic-ftrl": OptimisticFTRL(),
    "ftrl-proximal": FTRL(regularizer=Proximal()),
    "ftrl-log-scale": FTRL(regularizer=LogScale()),
    "online-gradient-descent": OnlineGradientDescent(),
    "coin-betting": CoinBetting(),
}

LEARNERS = tuple(
    under_control(name, "adam", 1, probe="closure", learner=learner) for name, learner in _LEARNERS.items()
)
"""The default learner first; it is the one of ``gala-closure``."""
