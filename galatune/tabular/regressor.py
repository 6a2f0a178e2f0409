"""`GalaRegressor`: a scikit-learn regressor without a learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from galatune.tabular.encode import Matrix
from galatune.tabular.estimator import GalaEstimator, take_rows
from galatune.tabular.loss import SquaredError
from galatune.tabular.read import read_values, read_weight

__all__ = ["GalaRegressor"]


class GalaRegressor(RegressorMixin, GalaEstimator):  # type: ignore[misc]
    """A neural network that predicts numbers from the rows of a table. It has no learning rate to choose.

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
        early_stopping: Whether rows are held out to choose the best epoch by squared error and to stop;
            "auto" does so from 50 rows on.
        validation_fraction: Fraction of the rows that is held out for that; "auto" is 0.2 of up to 2,500
            rows, and falls to 0.1 of 5,000.
        patience: Training stops after this many steps, and 3 epochs, without a clearly lower error on
            those rows.
        device: Torch device to train on; prediction is done on the CPU.
        random_state: Seed of the split, initial weights, batches and dropout; no global seed is read
            if it is an integer.
        verbose: Whether to print a line per epoch.

    Attributes:
        n_features_in_: Columns of the table.
        feature_names_in_: Their names, set if all names in X were strings.
        n_iter_: Epochs run.
        best_iteration_: The epoch, from 1, whose weights were kept.
        loss_curve_: Training loss by epoch: squared error in units of the target's variance.
        validation_scores_: Minus that loss on the rows held out, by epoch; empty without them.
        learning_rate_curve_: Shape (n_steps, 2): the step, from 1, and the learning rate as applied.
        encoder_: Encodes the table as numbers, a `TableEncoder`.
        network_: The network, a `torch.nn.Module` in float64 on the CPU.
        target_mean_: Mean of y, shape () or (n_outputs,), in the units of y.
        target_scale_: Standard deviation of y, of the same shape; 1 if y is constant.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = GalaRegressor(random_state=0, max_iter=30).fit(X[::2], y[::2])
        >>> bool(model.score(X[1::2], y[1::2]) > 0.3)
        True
    """

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that y may have several columns."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> GalaRegressor:
        """Fit encoder and network.

        Args:
            X: Data frame, or numbers of shape (n_rows, n_features); NaN is understood.
            y: Numbers, shape (n_rows,) or (n_rows, n_outputs).
            sample_weight: Weights of the rows, shape (n_rows,); a row of weight 0 is ignored.

        Returns:
            The regressor itself.

        Raises:
            ValueError: A parameter, X, y or sample_weight is not what it has to be.
        """
        table = self._read(X, y)
        values = read_values(y)
        weight = read_weight(sample_weight, table)
        counted = np.flatnonzero(weight > 0)
        values, weight = values[counted], weight[counted]
        self.target_mean_ = np.average(values, axis=0, weights=weight)
        deviation = np.sqrt(np.average((values - self.target_mean_) ** 2, axis=0, weights=weight))
        self.target_scale_ = np.where(deviation > 0, deviation, 1.0)
        standardized = ((values - self.target_mean_) / self.target_scale_).reshape(len(values), -1)
        targets = torch.as_tensor(standardized, dtype=torch.float32)
        loss = SquaredError(targets.amin(dim=0), targets.amax(dim=0))
        self._fit_network(
            take_rows(table, counted), targets, weight, targets.shape[1], loss, _tenths(standardized[:, 0])
        )
        return self

    def predict(self, X: Any) -> Matrix:
        """Return the predicted numbers, shape (n_rows,) or (n_rows, n_outputs) as y had it."""
        outputs = self._outputs(X)
        shaped = outputs if self.target_mean_.ndim else outputs[:, 0]
        return np.asarray(shaped * self.target_scale_ + self.target_mean_)


def _tenths(values: Matrix) -> NDArray[np.intp]:
    """Return which tenth of the rows each row is in by its value, 0 to 9, shape (n_rows,)."""
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return np.asarray(rank * 10 // len(values))
