"""`GalaClassifier`: a scikit-learn classifier without a learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_sample_weight

from galatune.tabular.encode import Matrix
from galatune.tabular.estimator import GalaEstimator, take_rows
from galatune.tabular.loss import LogLoss
from galatune.tabular.read import read_classes, read_weight

__all__ = ["GalaClassifier"]


class GalaClassifier(ClassifierMixin, GalaEstimator):  # type: ignore[misc]
    """A neural network that classifies the rows of a table. It has no learning rate to choose.

    Args:
        hidden_layer_sizes: Widths of the hidden layers.
        batch_size: Rows in a minibatch; "auto" takes a 16th of the rows, at least 16, at most 256.
        dropout: Probability that a hidden unit is dropped in training.
        weight_decay: Decoupled weight decay, multiplied by the learning rate that was found.
        n_members: Networks that are trained side by side and predict together, each from initial weights of
            its own.
        embed_numbers: Whether half of the members see each number also as its place in 16 bins; rows
            held out tell which half predicts, or both.
        embed_levels: Whether the levels of columns with more than nine are trained vectors, not one-hot.
        max_iter: Largest number of epochs; a `ConvergenceWarning` says if training was not finished by then.
        early_stopping: Whether rows are held out to choose the best epoch by log loss and to stop;
            "auto" does so from 50 rows on.
        validation_fraction: Fraction of the rows that is held out for that; "auto" is 0.2 of up to 2,500
            rows, and falls to 0.1 of 5,000.
        patience: Training stops after this many steps, and 3 epochs, without a clearly lower log loss on
            those rows.
        class_weight: "balanced", or a weight for each class, multiplied with sample_weight.
        device: Torch device to train on; prediction is done on the CPU.
        random_state: Seed of the split, initial weights, batches and dropout; no global seed is read
            if it is an integer.
        verbose: Whether to print a line per epoch.

    Attributes:
        classes_: The labels, sorted, shape (n_classes,).
        n_features_in_: Columns of the table.
        feature_names_in_: Their names, set if all names in X were strings.
        n_iter_: Epochs run.
        best_iteration_: The epoch, from 1, whose weights were kept.
        loss_curve_: Training loss by epoch.
        validation_scores_: Minus the log loss on the rows held out, by epoch; empty without them.
        learning_rate_curve_: Shape (n_steps, 2): the step, from 1, and the learning rate as applied.
        encoder_: Encodes the table as numbers, a `TableEncoder`.
        network_: The network, a `torch.nn.Module` in float64 on the CPU.

    Example:
        >>> from sklearn.datasets import load_wine
        >>> X, y = load_wine(return_X_y=True, as_frame=True)
        >>> model = GalaClassifier(random_state=0, max_iter=30).fit(X[::2], y[::2])
        >>> bool(model.score(X[1::2], y[1::2]) > 0.9)
        True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (128, 128, 128),
        *,
        batch_size: int | Literal["auto"] = "auto",
        dropout: float = 0.1,
        weight_decay: float = 0.01,
        n_members: int = 8,
        embed_numbers: bool = True,
        embed_levels: bool = True,
        max_iter: int = 500,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float | Literal["auto"] = "auto",
        patience: int = 1000,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            batch_size=batch_size,
            dropout=dropout,
            weight_decay=weight_decay,
            n_members=n_members,
            embed_numbers=embed_numbers,
            embed_levels=embed_levels,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            patience=patience,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> GalaClassifier:
        """Fit encoder and network.

        Args:
            X: Data frame, or numbers of shape (n_rows, n_features); NaN is understood.
            y: Labels, shape (n_rows,).
            sample_weight: Weights of the rows, shape (n_rows,); a row of weight 0 is ignored.

        Returns:
            The classifier itself.

        Raises:
            ValueError: A parameter, X, y or sample_weight is not what it has to be.
        """
        table = self._read(X, y)
        labels = read_classes(y)
        weight = read_weight(sample_weight, table) * compute_sample_weight(self.class_weight, labels)
        counted = np.flatnonzero(weight > 0)
        self.classes_, numbers = np.unique(labels[counted], return_inverse=True)
        self._fit_network(
            take_rows(table, counted),
            torch.as_tensor(numbers),
            weight[counted],
            len(self.classes_),
            LogLoss(len(self.classes_)),
            numbers,
        )
        return self

    def predict_proba(self, X: Any) -> Matrix:
        """Return the probability of each class, shape (n_rows, n_classes), in the order of `classes_`."""
        outputs = self._outputs(X)
        odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable label of each row, shape (n_rows,)."""
        best = self._outputs(X).argmax(axis=1)
        return np.asarray(self.classes_[best])
