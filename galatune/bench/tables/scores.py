"""What predictions are judged by; of every score less is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from galatune.bench.tables.datasets import Split

__all__ = ["SCORES", "Score", "Scores", "judge"]

Score: TypeAlias = Literal["log_loss", "rmse", "error", "auc_loss"]

SCORES: dict[Score, str] = {
    "log_loss": "log loss",
    "rmse": "RMSE / std",
    "error": "error",
    "auc_loss": "1 - AUC",
}
"""Each score with the words for it."""

BINARY = 2


@dataclass(frozen=True)
class Scores:
    """Scores on test rows; None if a set has no such score.

    Attributes:
        log_loss: Mean of minus the logarithm of the true class's probability; 0 counts as 2e-16.
        rmse: Root mean squared error / standard deviation of the training targets.
        error: Share of rows whose most probable class is another.
        auc_loss: 1 - area under the ROC curve, of two classes.
    """

    log_loss: float | None = None
    rmse: float | None = None
    error: float | None = None
    auc_loss: float | None = None

    def get(self, score: Score) -> float | None:
        """One of them."""
        value: float | None = getattr(self, score)
        return value


def judge(split: Split, predicted: NDArray[Any]) -> Scores:
    """Judge predictions of the test rows.

    Args:
        split: The rows.
        predicted: Values, shape (n_test_rows,), or for classes their probabilities (n_test_rows, classes).

    Raises:
        ValueError: A prediction is not finite.
    """
    if not np.isfinite(predicted).all():
        raise ValueError("a prediction is not finite")
    if not split.classes:
        error = np.sqrt(np.mean((predicted - split.y_test) ** 2))
        return Scores(rmse=float(error / np.std(split.y)))
    auc_loss = None
    if split.classes == BINARY:
        auc_loss = 1 - float(roc_auc_score(split.y_test, predicted[:, 1]))
    # In float64: sums of probabilities in float32 are not 1 closely enough.
    exact = predicted.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return Scores(
        log_loss=float(log_loss(split.y_test, exact, labels=np.arange(split.classes))),
        error=float(np.mean(exact.argmax(axis=1) != split.y_test)),
        auc_loss=auc_loss,
    )
