"""Scores on rows held out, beside those of a constant that knows nothing of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.dummy import DummyClassifier, DummyRegressor

__all__ = ["Score", "classification_scores", "constant_model", "regression_scores"]


Weight: TypeAlias = NDArray[np.float64] | None
"""Weights of rows, shape (n_rows,); None if all count alike."""


@dataclass(frozen=True)
class Score:
    """One score of the model, and the same of the constant.

    Attributes:
        name: Its name.
        value: Of the model; None if it is not defined for these rows.
        constant: Of the constant.
        greater_is_better: Which way is better.
        meaning: What it says, in a sentence.
        unit: "", or "target" if it is in the units of the target.
    """

    name: str
    value: float | None
    constant: float | None
    greater_is_better: bool
    meaning: str
    unit: str = ""

    @property
    def better(self) -> bool | None:
        """Whether the model is better than the constant; None if that is not known."""
        if self.value is None or self.constant is None:
            return None
        return self.value > self.constant if self.greater_is_better else self.value < self.constant


def constant_model(kind: str) -> Any:
    """Return the estimator that predicts the same for every row: the frequencies of classes, or the mean."""
    return DummyClassifier(strategy="prior") if kind == "classification" else DummyRegressor()


def classification_scores(
    model: Any, constant: Any, X: pd.DataFrame, y: NDArray[Any], weight: Weight
) -> tuple[Score, ...]:
    """Return accuracy, balanced accuracy, log loss and area under the ROC curve.

    Args:
        model: Fitted classifier.
        constant: From `constant_model`, fitted to the same rows.
        X: Rows held out, (n_rows, n_features).
        y: Their labels, (n_rows,).
        weight: Their weights, (n_rows,).
    """
    both = [(one.predict(X), one.predict_proba(X)) for one in (model, constant)]
    labels = model.classes_
    accuracy = [metrics.accuracy_score(y, guess, sample_weight=weight) for guess, _ in both]
    balanced = [_recall(y, guess, weight) for guess, _ in both]
    loss = [_log_loss(y, probability, labels, weight) for _, probability in both]
    area = [_area(y, probability, labels, weight) for _, probability in both]
    return (
        _score("accuracy", accuracy, "greater", "The share of rows whose class is predicted."),
        _score(
            "balanced accuracy", balanced, "greater", "The same, each class counted alike: the mean recall."
        ),
        _score("log loss", loss, "less", "How far probabilities are from what came; 0 is perfect."),
        _score(
            "ROC AUC",
            area,
            "greater",
            "How often the row of a class ranks before one of another; 0.5 is chance.",
        ),
    )


def regression_scores(
    model: Any, constant: Any, X: pd.DataFrame, y: NDArray[Any], weight: Weight
) -> tuple[Score, ...]:
    """Return R2, root mean squared error and mean absolute error; arguments as `classification_scores`."""
    guesses = [np.asarray(one.predict(X)) for one in (model, constant)]
    r2 = [float(metrics.r2_score(y, g, sample_weight=weight)) if len(y) > 1 else None for g in guesses]
    rmse = [float(metrics.root_mean_squared_error(y, guess, sample_weight=weight)) for guess in guesses]
    mae = [float(metrics.mean_absolute_error(y, guess, sample_weight=weight)) for guess in guesses]
    return (
        _score("R2", r2, "greater", "The share of the variance that is explained; 1 is perfect, 0 the mean."),
        _score("RMSE", rmse, "less", "The root of the mean squared error, in units of the target.", "target"),
        _score("MAE", mae, "less", "The mean absolute error, in units of the target.", "target"),
    )


def _score(name: str, both: Sequence[float | None], better: str, meaning: str, unit: str = "") -> Score:
    model, constant = both
    return Score(name, model, constant, better == "greater", meaning, unit)


def _recall(y: NDArray[Any], guess: NDArray[Any], weight: Weight) -> float:
    present = np.unique(y)
    return float(
        metrics.recall_score(y, guess, labels=present, average="macro", sample_weight=weight, zero_division=0)
    )


def _log_loss(
    y: NDArray[Any],
    probability: NDArray[np.float64],
    labels: NDArray[Any],
    weight: Weight,
) -> float | None:
    if len(labels) < 2:
        return None
    return float(metrics.log_loss(y, probability, labels=labels, sample_weight=weight))


def _area(
    y: NDArray[Any],
    probability: NDArray[np.float64],
    labels: NDArray[Any],
    weight: Weight,
) -> float | None:
    """Return the area; of several classes the mean over each against the rest. None if a class is missing."""
    if len(labels) < 2 or len(np.unique(y)) < len(labels):
        return None
    areas = [
        metrics.roc_auc_score(y == label, probability[:, place], sample_weight=weight)
        for place, label in enumerate(labels)
        if len(labels) > 2 or place == 1
    ]
    return float(np.mean(areas))
