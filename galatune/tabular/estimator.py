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
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from galatune.tabular.embeddings import LevelEmbedding, PiecewiseLinear
from galatune.tabular.encode import Encoded, Matrix, Table, TableEncoder, one_hot
from galatune.tabular.loss import Loss
from galatune.tabular.net import MLP, Inputs
from galatune.tabular.parameters import check_parameters, layer_sizes
from galatune.tabular.read import read_table, split_rows
from galatune.tabular.train import Rows, Training, TrainingOptions, train

__all__ = ["GalaEstimator", "take_rows"]

AUTO_STOPPING_ROWS = 50
"""With fewer rows, early_stopping="auto" holds none out."""

MOST_HELD_OUT, LEAST_HELD_OUT, ENOUGH_HELD_OUT = 0.2, 0.1, 500
"""Largest and smallest fraction that validation_fraction="auto" holds out, and how many rows between them."""

PREDICTED_AT_ONCE = 8192
"""Rows that predict holds in memory at a time."""


class GalaEstimator(BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share: they read a table, fit a network and compute outputs."""

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
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.batch_size = batch_size
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.n_members = n_members
        self.embed_numbers = embed_numbers
        self.embed_levels = embed_levels
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
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
        loss: Loss,
        strata: NDArray[np.integer],
    ) -> None:
        """Fit encoder and network to rows of positive weight, and set the fitted attributes."""
        random = check_random_state(self.random_state)
        generator = torch.Generator(self.device).manual_seed(int(random.randint(2**31 - 1)))
        stay, held = self._hold_out(strata, random)
        self.encoder_ = TableEncoder.fit(take_rows(table, stay), weight[stay])
        encoded = self._encode(table)
        network = self._network(encoded, stay, weight, n_outputs, generator)
        inputs = _tensors(encoded, torch.float32)
        rows, validation = (self._rows(inputs, targets, weight, part) for part in (stay, held))
        training = train(
            network, rows, validation if len(held) else None, loss, self._options(len(stay)), generator
        )
        self._warn(training)
        self.network_, self._loss = network.cpu().double(), loss
        self.n_iter_ = len(training.losses)
        self.best_iteration_ = training.best_epoch
        self.loss_curve_ = training.losses
        self.validation_scores_ = training.validation_scores
        self.learning_rate_curve_ = training.learning_rates

    def _network(
        self,
        encoded: Encoded,
        stay: NDArray[np.intp],
        weight: Matrix,
        n_outputs: int,
        generator: torch.Generator,
    ) -> MLP:
        numbers = encoded.numbers[stay]
        return MLP(
            numbers.shape[1],
            LevelEmbedding(self.encoder_.cardinalities if self.embed_levels else (), generator),
            PiecewiseLinear.fit(numbers, weight[stay]) if self.embed_numbers else None,
            layer_sizes(self.hidden_layer_sizes),
            n_outputs,
            n_members=self.n_members,
            dropout=self.dropout,
            generator=generator,
        ).to(self.device)

    def _warn(self, training: Training) -> None:
        """Warn if the training was not finished, or learned nothing."""
        if not training.finished:
            warnings.warn(
                f"The training was not finished after max_iter={self.max_iter} epochs: a clearly better one "
                f"came less than patience={self.patience} steps before. Set max_iter higher.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if not training.learned:
            warnings.warn(
                "The best epoch predicts the rows held out no better than a constant does, as far as they "
                "tell: X may say nothing about y, or there are too few rows.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _encode(self, table: Table) -> Encoded:
        """Return numbers and codes, or only numbers if levels are not embedded."""
        encoded = self.encoder_.encode(table)
        if self.embed_levels:
            return encoded
        return Encoded(one_hot(encoded, self.encoder_.cardinalities), encoded.codes[:, :0])

    def _hold_out(
        self, strata: NDArray[np.integer], random: np.random.RandomState
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        wanted = len(strata) >= AUTO_STOPPING_ROWS if self.early_stopping == "auto" else self.early_stopping
        stay, held = split_rows(strata, self._held_out_fraction(len(strata)) if wanted else 0.0, random)
        if wanted and self.early_stopping != "auto" and not len(held):
            raise ValueError(
                "early_stopping needs rows to hold out for validation, however: "
                f"validation_fraction={self.validation_fraction!r} of {len(strata)} rows (n_samples="
                f"{len(strata)}) leaves none. Set early_stopping=False or validation_fraction higher."
            )
        return stay, held

    def _held_out_fraction(self, n_rows: int) -> float:
        automatic = min(MOST_HELD_OUT, max(LEAST_HELD_OUT, ENOUGH_HELD_OUT / n_rows))
        return automatic if self.validation_fraction == "auto" else float(self.validation_fraction)

    def _rows(self, inputs: Inputs, targets: Tensor, weight: Matrix, index: NDArray[np.intp]) -> Rows:
        taken = torch.as_tensor(index)
        share = weight[index] / weight[index].mean() if len(index) else weight[index]
        weights = torch.as_tensor(share, dtype=torch.float32)
        device = torch.device(self.device)
        return Rows(inputs.take(taken).to(device), targets[taken].to(device), weights.to(device))

    def _options(self, n_rows: int) -> TrainingOptions:
        automatic = min(256, max(16, n_rows // 16))
        return TrainingOptions(
            batch_size=automatic if self.batch_size == "auto" else self.batch_size,
            max_iter=self.max_iter,
            patience=self.patience,
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
        chunks = [take_rows(table, slice(start, start + PREDICTED_AT_ONCE)) for start in starts]
        inputs = (_tensors(self._encode(chunk), torch.float64) for chunk in chunks)
        return np.concatenate([self._loss.mean(self.network_(chunk)).numpy() for chunk in inputs])


def _tensors(encoded: Encoded, dtype: torch.dtype) -> Inputs:
    return Inputs(torch.as_tensor(encoded.numbers, dtype=dtype), torch.as_tensor(encoded.codes))


def take_rows(table: Table, index: NDArray[np.intp] | slice) -> Table:
    """Return the rows at index, of an array or a data frame."""
    return table.iloc[index] if isinstance(table, pd.DataFrame) else table[index]
