"""What the two estimators share: options, reading, fitting the network, outputs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from galatune.tabular.encode import Matrix, Table, TableEncoder, one_hot
from galatune.tabular.net import MLP
from galatune.tabular.parameters import check_parameters, layer_sizes
from galatune.tabular.read import read_table, split_rows
from galatune.tabular.train import RowLoss, Rows, TrainingOptions, train

__all__ = ["GalaEstimator", "take_rows"]

AUTO_STOPPING_ROWS = 50
"""With fewer rows, early_stopping="auto" holds none out."""

PREDICTED_AT_ONCE = 8192
"""Rows that predict holds in memory at a time."""


class GalaEstimator(BaseEstimator):  # type: ignore[misc]
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
        self.encoder_ = TableEncoder.fit(table, np.where(np.isin(np.arange(len(weight)), stay), weight, 0.0))
        inputs = self._inputs(table).float()
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

    def _warn_of_unknown(self, table: Table) -> None:
        found = [unknown.text() for unknown in self.encoder_.unknown(table)]
        if found:
            message = f"Found categories that fit did not see: {'; '.join(found)}. They count as unknown."
            warnings.warn(message, UserWarning, stacklevel=4)

    def _inputs(self, table: Table) -> Tensor:
        """Return what the network takes, shape (n_rows, n_inputs): every code is one-hot."""
        return torch.as_tensor(one_hot(self.encoder_.encode(table), self.encoder_.cardinalities))

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
        self._warn_of_unknown(table)
        starts = range(0, len(table), PREDICTED_AT_ONCE)
        chunks = [take_rows(table, slice(start, start + PREDICTED_AT_ONCE)) for start in starts]
        outputs = [self.network_(self._inputs(chunk)).numpy() for chunk in chunks]
        return np.concatenate(outputs)


def take_rows(table: Table, index: NDArray[np.intp] | slice) -> Table:
    """Return the rows at index, of an array or a data frame."""
    return table.iloc[index] if isinstance(table, pd.DataFrame) else table[index]
