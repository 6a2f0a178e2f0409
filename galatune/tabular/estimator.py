"""What the two estimators share: options, reading, fitting the network, outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from galatune.tabular.embeddings import LevelEmbedding, PiecewiseLinear
from galatune.tabular.encode import Encoded, Matrix, Table, TableEncoder, one_hot
from galatune.tabular.net import MLP, Inputs
from galatune.tabular.parameters import check_parameters, layer_sizes
from galatune.tabular.read import LabelledRows, read_table, read_weight, split_rows, take_rows
from galatune.tabular.targets import Array, Target
from galatune.tabular.train import Rows, Training, TrainingOptions, train
from galatune.tabular.warn import warn

__all__ = ["GalaEstimator"]

TargetT = TypeVar("TargetT", bound=Target)

AUTO_STOPPING_ROWS = 50
"""With fewer rows, early_stopping="auto" holds none out."""

MOST_HELD_OUT, LEAST_HELD_OUT, ENOUGH_HELD_OUT = 0.2, 0.1, 500
"""Largest and smallest fraction that validation_fraction="auto" holds out, and how many rows between them."""

PREDICTED_AT_ONCE = 8192
"""Rows that predict holds in memory at a time."""


class GalaEstimator(BaseEstimator, Generic[TargetT]):  # type: ignore[misc]
    """What classifier and regressor share: they read a table, fit a network and compute outputs."""

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (128, 128, 128),
        *,
        batch_size: int | Literal["auto"] = "auto",
        dropout: float = 0.1,
        weight_decay: float = 0.01,
        n_members: int = 4,
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
        training_rows = rows.take(learned)
        held = rows.take(~learned) if validation is None else validation
        encoded = self._encode(training_rows.table)
        network = self._network(encoded, training_rows.weight, generator)
        loss = self._target.loss
        training = train(
            network,
            self._rows(training_rows, encoded),
            self._rows(held, self._encode(held.table)) if len(held) else None,
            loss,
            self._options(len(training_rows)),
            generator,
        )
        self._warn(training)
        self.network_ = network.cpu().double()
        self.n_iter_ = len(training.losses)
        self.best_iteration_ = training.best_epoch
        self.loss_curve_ = training.losses
        self.validation_scores_ = training.validation_scores
        self.learning_rate_curve_ = training.learning_rates

    def _network(self, encoded: Encoded, weight: Matrix, generator: torch.Generator) -> MLP:
        levels = self.encoder_.cardinalities if self.embed_levels else ()
        return MLP(
            encoded.numbers.shape[1],
            LevelEmbedding(levels, generator),
            PiecewiseLinear.fit(encoded.numbers, weight) if self.embed_numbers else None,
            layer_sizes(self.hidden_layer_sizes),
            self._target.n_outputs,
            n_members=self.n_members,
            dropout=self.dropout,
            generator=generator,
        ).to(self.device)

    def _warn_of_unknown(self, table: Table) -> None:
        found = [unknown.text() for unknown in self.encoder_.unknown(table)]
        if found:
            message = f"Found categories that fit did not see: {'; '.join(found)}. They count as unknown."
            warn(message)

    def _warn(self, training: Training) -> None:
        """Warn if the training was not finished, or learned nothing."""
        if not training.finished:
            warn(
                f"The training was not finished after max_iter={self.max_iter} epochs: a clearly better one "
                f"came less than patience={self.patience} steps before. Set max_iter higher.",
                ConvergenceWarning,
            )
        if not training.learned:
            warn(
                "The best epoch predicts the rows held out no better than a constant does, as far as they "
                "tell: X may say nothing about y, or there are too few rows.",
                ConvergenceWarning,
            )

    def _encode(self, table: Table) -> Encoded:
        """Return numbers and codes, or only numbers if levels are not embedded."""
        encoded = self.encoder_.encode(table)
        if self.embed_levels:
            return encoded
        return Encoded(one_hot(encoded, self.encoder_.cardinalities), encoded.codes[:, :0])

    def _stay(self, strata: NDArray[np.integer], random: np.random.RandomState) -> NDArray[np.bool_]:
        """Tell of each row whether it is for training, not held out, shape (n_rows,)."""
        wanted = len(strata) >= AUTO_STOPPING_ROWS if self.early_stopping == "auto" else self.early_stopping
        stay, held = split_rows(strata, self._held_out_fraction(len(strata)) if wanted else 0.0, random)
        if wanted and self.early_stopping != "auto" and not len(held):
            raise ValueError(
                "early_stopping needs rows to hold out for validation, however: "
                f"validation_fraction={self.validation_fraction!r} of {len(strata)} rows (n_samples="
                f"{len(strata)}) leaves none. Set early_stopping=False or validation_fraction higher."
            )
        return np.isin(np.arange(len(strata)), stay)

    def _held_out_fraction(self, n_rows: int) -> float:
        automatic = min(MOST_HELD_OUT, max(LEAST_HELD_OUT, ENOUGH_HELD_OUT / n_rows))
        return automatic if self.validation_fraction == "auto" else float(self.validation_fraction)

    def _rows(self, rows: LabelledRows, encoded: Encoded) -> Rows:
        device = torch.device(self.device)
        weights = torch.as_tensor(rows.weight / rows.weight.mean(), dtype=torch.float32)
        targets = self._target.encode(rows.target)
        return Rows(_tensors(encoded, torch.float32).to(device), targets.to(device), weights.to(device))

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
        self._warn_of_unknown(table)
        starts = range(0, len(table), PREDICTED_AT_ONCE)
        chunks = [take_rows(table, slice(start, start + PREDICTED_AT_ONCE)) for start in starts]
        inputs = (_tensors(self._encode(chunk), torch.float64) for chunk in chunks)
        return np.concatenate([self._target.loss.mean(self.network_(chunk)).numpy() for chunk in inputs])


def _tensors(encoded: Encoded, dtype: torch.dtype) -> Inputs:
    return Inputs(torch.as_tensor(encoded.numbers, dtype=dtype), torch.as_tensor(encoded.codes))
