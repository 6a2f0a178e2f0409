"""What the two estimators share: options, reading, fitting the network, outputs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from galatune.tabular.encode import Matrix, Table, TableEncoder, one_hot
from galatune.tabular.net import MLP
from galatune.tabular.parameters import check_parameters, layer_sizes
from galatune.tabular.read import LabelledRows, read_table, read_weight, split_rows, take_rows
from galatune.tabular.targets import Array, Target
from galatune.tabular.train import Rows, TrainingOptions, train

__all__ = ["GalaEstimator"]

TargetT = TypeVar("TargetT", bound=Target)

AUTO_STOPPING_ROWS = 50
"""With fewer rows, early_stopping="auto" holds none out."""

PREDICTED_AT_ONCE = 8192
"""Rows that predict holds in memory at a time."""


class GalaEstimator(BaseEstimator, Generic[TargetT]):  # type: ignore[misc]
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
        """Tell scikit-learn that missing values and sparse tables are understood."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    def _read_target(self, y: Any) -> Array:
        """Check y and return it as an array."""
        raise NotImplementedError

    def _learn_target(self, y: Array, weight: Matrix) -> TargetT:
        """Learn what the network predicts from y, and set the attributes that say so."""
        raise NotImplementedError

    def _row_weights(self, y: Array, sample_weight: Any, table: Table) -> Matrix:
        """Return the weight of each row in the loss, shape (n_rows,)."""
        return read_weight(sample_weight, table)

    def _read_rows(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> LabelledRows:
        """Return the rows of positive weight; reset sets `n_features_in_`."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        table = read_table(self, X, reset=reset)
        check_consistent_length(table, y)
        target = self._read_target(y)
        weight = self._row_weights(target, sample_weight, table)
        counted = np.flatnonzero(weight > 0)
        return LabelledRows(take_rows(table, counted), target[counted], weight[counted])

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any] | None = None
    ) -> None:
        check_parameters(self.get_params(deep=False))
        rows = self._read_rows(X, y, sample_weight, reset=True)
        held = None if validation is None else self._read_rows(*validation, reset=False)
        self._target = self._learn_target(rows.target, rows.weight)
        self._fit_network(rows, held)

    def _fit_network(self, rows: LabelledRows, validation: LabelledRows | None) -> None:
        """Fit encoder and network, and set the fitted attributes."""
        random = check_random_state(self.random_state)
        generator = torch.Generator(self.device).manual_seed(int(random.randint(2**31 - 1)))
        learned = np.ones(len(rows), dtype=bool)
        if validation is None:
            learned = self._stay(self._target.strata(rows.target), random)
        self.encoder_ = TableEncoder.fit(rows.table, np.where(learned, rows.weight, 0.0))
        training_rows = self._rows(rows.take(learned))
        held = rows.take(~learned) if validation is None else validation
        network = MLP(
            training_rows.inputs.shape[1],
            layer_sizes(self.hidden_layer_sizes),
            self._target.n_outputs,
            dropout=self.dropout,
            generator=generator,
        )
        training = train(
            network,
            training_rows,
            self._rows(held) if len(held) else None,
            self._target.row_loss,
            self._options(len(training_rows)),
            generator,
        )
        self.network_ = network.cpu().double()
        self.n_iter_ = len(training.losses)
        self.best_iteration_ = training.best_epoch
        self.loss_curve_ = training.losses
        self.validation_scores_ = training.validation_scores
        self.learning_rate_curve_ = training.learning_rates

    def _warn_of_unknown(self, table: Table) -> None:
        found = [unknown.text() for unknown in self.encoder_.unknown(table)]
        if found:
            message = f"Found categories that fit did not see: {'; '.join(found)}. They count as unknown."
            warnings.warn(message, UserWarning, stacklevel=4)

    def _inputs(self, table: Table) -> Tensor:
        """Return what the network takes, shape (n_rows, n_inputs): every code is one-hot."""
        return torch.as_tensor(one_hot(self.encoder_.encode(table), self.encoder_.cardinalities))

    def _stay(self, strata: NDArray[np.integer], random: np.random.RandomState) -> NDArray[np.bool_]:
        """Tell of each row whether it is for training, not held out, shape (n_rows,)."""
        wanted = len(strata) >= AUTO_STOPPING_ROWS if self.early_stopping == "auto" else self.early_stopping
        stay, held = split_rows(strata, self.validation_fraction if wanted else 0.0, random)
        if wanted and self.early_stopping != "auto" and not len(held):
            raise ValueError(
                "early_stopping needs rows to hold out for validation, however: "
                f"validation_fraction={self.validation_fraction!r} of {len(strata)} rows (n_samples="
                f"{len(strata)}) leaves none. Set early_stopping=False or validation_fraction higher."
            )
        return np.isin(np.arange(len(strata)), stay)

    def _rows(self, rows: LabelledRows) -> Rows:
        device = torch.device(self.device)
        weights = torch.as_tensor(rows.weight / rows.weight.mean(), dtype=torch.float32)
        targets = self._target.encode(rows.target)
        return Rows(self._inputs(rows.table).float().to(device), targets.to(device), weights.to(device))

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
        self._warn_of_unknown(table)
        starts = range(0, len(table), PREDICTED_AT_ONCE)
        chunks = [take_rows(table, slice(start, start + PREDICTED_AT_ONCE)) for start in starts]
        outputs = [self.network_(self._inputs(chunk)).numpy() for chunk in chunks]
        return np.concatenate(outputs)
