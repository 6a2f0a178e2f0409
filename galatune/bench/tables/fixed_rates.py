"""Our estimators, and the same network and training loop at fixed learning rates.

Torch is loaded by what is built, not by this file: the memory of a peer that does without is its own.
"""

from __future__ import annotations

from typing import Any

__all__ = ["RATES", "controlled", "fixed", "rate_name", "validation_score"]

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def rate_name(rate: float) -> str:
    """The method that trains at a fixed rate.

    >>> rate_name(3e-4)
    'fixed-0.0003'
    """
    return f"fixed-{rate:g}"


def controlled(classifies: bool, seed: int) -> Any:
    """Our estimator as it comes."""
    from galatune.tabular import GalaClassifier, GalaRegressor

    return (GalaClassifier if classifies else GalaRegressor)(random_state=seed)


def fixed(rate: float, classifies: bool, seed: int) -> Any:
    """Our estimator, with the same seed and rows held out, at a fixed rate."""
    from galatune.bench.tables.fixed_rate_models import FixedRateClassifier, FixedRateRegressor

    model = (FixedRateClassifier if classifies else FixedRateRegressor)(random_state=seed)
    model.rate = rate
    return model


def validation_score(model: Any) -> float | None:
    """Minus the loss on the rows held out, of the epoch that was kept; None without such rows."""
    scores = getattr(model, "validation_scores_", None)
    return float(scores[model.best_iteration_ - 1]) if scores else None
