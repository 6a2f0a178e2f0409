"""`GalaClassifier` and `GalaRegressor`: scikit-learn estimators without a learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_consistent_length, check_random_state, compute_sample_weight
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn.functional import cross_entropy

from galatune.tabular.encode import Matrix, Table, TableEncoder
from galatune.tabular.net import MLP
from galatune.tabular.parameters import check_parameters, layer_sizes
from galatune.tabular.read import read_classes, read_table, read_values, read_weight, split_rows
from galatune.tabular.train import RowLoss, Rows, TrainingOptions, train

__all__ = ["GalaClassifier", "GalaRegressor"]

AUTO_STOPPING_ROWS = 50
"""With fewer rows, early_stopping="auto" holds none out."""

PREDICTED_AT_ONCE = 8192
"""Rows that predict holds in memory at a time."""


class _GalaEstimator(BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share: they read a table, fit a network and compute outputs."""

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (256, 256, 256),
        *,
        batch_size: int | Literal["auto"] = "auto",
        dropout: float = 0.1,
        weight_decay: float = 0.01,
        max_iter: int = 200,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.batch_size = batch_size
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that missing values are understood."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _read(self, X: object, y: object) -> Table:
        """Check everything that does not depend on the kind of target; sets `n_features_in_`."""
        check_parameters(self.get_params(deep=False))
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        table = read_table(self, X, reset=True)
        check_consistent_length(table, y)
        return table

    def _fit_network(
        self,
        table: Table,
        targets: Tensor,
        weight: Matrix,
        n_outputs: int,
        row_loss: RowLoss,
        strata: NDArray[np.integer],
    ) -> None:
        """Fit encoder and network to rows of positive weight, and set the fitted attributes."""
        random = check_random_state(self.random_state)
        generator = torch.Generator(self.device).manual_seed(int(random.randint(2**31 - 1)))
        stay, held = self._hold_out(strata, random)
        self.encoder_ = TableEncoder.fit(_take(table, stay), weight[stay])
        inputs = torch.as_tensor(self.encoder_.encode(table), dtype=torch.float32)
        network = MLP(
            inputs.shape[1],
            layer_sizes(self.hidden_layer_sizes),
            n_outputs,
            dropout=self.dropout,
            generator=generator,
        )
        parts = [self._rows(inputs, targets, weight, part) for part in (stay, held)]
        training = train(
            network, parts[0], parts[1] if len(held) else None, row_loss, self._options(len(stay)), generator
        )
        self.network_ = network.cpu().double()
        self.n_iter_ = len(training.losses)
        self.best_iteration_ = training.best_epoch
        self.loss_curve_ = training.losses
        self.validation_scores_ = training.validation_scores
        self.learning_rate_curve_ = training.learning_rates

    def _hold_out(
        self, strata: NDArray[np.integer], random: np.random.RandomState
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        wanted = len(strata) >= AUTO_STOPPING_ROWS if self.early_stopping == "auto" else self.early_stopping
        stay, held = split_rows(strata, self.validation_fraction if wanted else 0.0, random)
        if wanted and self.early_stopping != "auto" and not len(held):
            raise ValueError(
                "early_stopping needs rows to hold out for validation, however: "
                f"validation_fraction={self.validation_fraction!r} of {len(strata)} rows (n_samples="
                f"{len(strata)}) leaves none. Set early_stopping=False or validation_fraction higher."
            )
        return stay, held

    def _rows(self, inputs: Tensor, targets: Tensor, weight: Matrix, index: NDArray[np.intp]) -> Rows:
        taken = torch.as_tensor(index)
        share = weight[index] / weight[index].mean() if len(index) else weight[index]
        weights = torch.as_tensor(share, dtype=torch.float32)
        device = torch.device(self.device)
        return Rows(inputs[taken].to(device), targets[taken].to(device), weights.to(device))

    def _options(self, n_rows: int) -> TrainingOptions:
        automatic = min(256, max(16, n_rows // 16))
        return TrainingOptions(
            batch_size=automatic if self.batch_size == "auto" else self.batch_size,
            max_iter=self.max_iter,
            n_iter_no_change=self.n_iter_no_change,
            weight_decay=self.weight_decay,
            verbose=bool(self.verbose),
        )

    @torch.no_grad()
    def _outputs(self, X: object) -> Matrix:
        """Return the network's outputs, shape (n_rows, n_outputs).

        They are computed in float64, so that a row's output does not depend on its neighbours.
        """
        check_is_fitted(self)
        table = read_table(self, X, reset=False)
        starts = range(0, len(table), PREDICTED_AT_ONCE)
        chunks = [_take(table, slice(start, start + PREDICTED_AT_ONCE)) for start in starts]
        outputs = [self.network_(torch.as_tensor(self.encoder_.encode(chunk))).numpy() for chunk in chunks]
        return np.concatenate(outputs)


class GalaClassifier(ClassifierMixin, _GalaEstimator):  # type: ignore[misc]
    """A neural network that classifies the rows of a table. It has no learning rate to choose.

    Args:
        hidden_layer_sizes: Widths of the hidden layers.
        batch_size: Rows in a minibatch; "auto" takes a 16th of the rows, at least 16, at most 256.
        dropout: Probability that a hidden unit is dropped in training.
        weight_decay: Decoupled weight decay, multiplied by the learning rate that was found.
        max_iter: Largest number of epochs.
        early_stopping: Whether rows are held out to choose the best epoch by log loss and to stop;
            "auto" does so from 50 rows on.
        validation_fraction: Fraction of the rows that is held out for that.
        n_iter_no_change: Training stops after this many epochs without a lower log loss on those rows.
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
        hidden_layer_sizes: int | Sequence[int] = (256, 256, 256),
        *,
        batch_size: int | Literal["auto"] = "auto",
        dropout: float = 0.1,
        weight_decay: float = 0.01,
        max_iter: int = 200,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
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
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
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
            _take(table, counted),
            torch.as_tensor(numbers),
            weight[counted],
            len(self.classes_),
            _log_loss,
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


class GalaRegressor(RegressorMixin, _GalaEstimator):  # type: ignore[misc]
    """A neural network that predicts numbers from the rows of a table. It has no learning rate to choose.

    Args:
        hidden_layer_sizes: Widths of the hidden layers.
        batch_size: Rows in a minibatch; "auto" takes a 16th of the rows, at least 16, at most 256.
        dropout: Probability that a hidden unit is dropped in training.
        weight_decay: Decoupled weight decay, multiplied by the learning rate that was found.
        max_iter: Largest number of epochs.
        early_stopping: Whether rows are held out to choose the best epoch by squared error and to stop;
            "auto" does so from 50 rows on.
        validation_fraction: Fraction of the rows that is held out for that.
        n_iter_no_change: Training stops after this many epochs without a lower error on those rows.
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
        strata = np.zeros(len(values), dtype=np.intp)
        self._fit_network(_take(table, counted), targets, weight, targets.shape[1], _squared_error, strata)
        return self

    def predict(self, X: Any) -> Matrix:
        """Return the predicted numbers, shape (n_rows,) or (n_rows, n_outputs) as y had it."""
        outputs = self._outputs(X)
        shaped = outputs if self.target_mean_.ndim else outputs[:, 0]
        return np.asarray(shaped * self.target_scale_ + self.target_mean_)


def _take(table: Table, index: NDArray[np.intp] | slice) -> Table:
    return table.iloc[index] if isinstance(table, pd.DataFrame) else table[index]


def _log_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets, reduction="none")


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean(dim=1)
