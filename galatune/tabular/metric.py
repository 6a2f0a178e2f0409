"""A scorer of scikit-learn as a metric of a network's outputs, to choose an epoch by."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer
from torch import Tensor

from galatune.tabular.columns import Matrix
from galatune.tabular.read import LabelledRows
from galatune.tabular.targets import Classes, Labels, Target, Values
from galatune.tabular.train import Metric

__all__ = ["Scoring", "metric_of"]

Scoring: TypeAlias = Any | Literal["loss"]
"""The name of a scorer, a scorer, or "loss"."""


def metric_of(scoring: Scoring, target: Target, rows: LabelledRows) -> Metric | None:
    """Return the metric of the network's outputs for these rows, None for the loss itself.

    Args:
        scoring: As `sklearn.metrics.get_scorer` takes it, or "loss".
        target: What the outputs stand for.
        rows: Validation rows.
    """
    if isinstance(scoring, str) and scoring == "loss":
        return None
    scorer = get_scorer(scoring)
    decoder = _Values(target) if isinstance(target, Values) else _Classes(target)
    equal = bool((rows.weight == rows.weight[0]).all())
    weights = {} if equal else {"sample_weight": rows.weight}

    def metric(outputs: Tensor) -> float:
        decoded = outputs.detach().cpu().double().numpy()
        try:
            return float(scorer(decoder, decoded, rows.target, **weights))
        except (TypeError, ValueError) as error:
            raise ValueError(f"scoring={scoring!r} must score the rows held out, however: {error}") from error

    return metric


class _Values(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts numbers from a network's outputs."""

    def __init__(self, target: Values) -> None:
        self.target = target

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, outputs: Matrix) -> Matrix:
        """Return numbers in the units of y."""
        return self.target.decode(outputs)


class _Classes(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts labels and probabilities from a network's outputs."""

    def __init__(self, target: Classes | Labels) -> None:
        self.target = target
        self.classes_ = target.classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, outputs: Matrix) -> np.ndarray[Any, Any]:
        """Return labels."""
        return self.target.decode(outputs)

    def predict_proba(self, outputs: Matrix) -> Matrix:
        """Return probabilities."""
        return self.target.probabilities(outputs)

    def decision_function(self, outputs: Matrix) -> Matrix:
        """Return log-odds."""
        return self.target.decisions(outputs)
