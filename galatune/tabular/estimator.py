"""What the two estimators share: options, reading, fitting the network, outputs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from galatune.tabular.columns import Matrix
from galatune.tabular.embeddings import LevelEmbedding, PiecewiseLinear
from galatune.tabular.encode import Coded, Encoded, Table, TableEncoder, one_hot
from galatune.tabular.frames import as_table
from galatune.tabular.history import history_frame, plot_history
from galatune.tabular.listeners import FinishedFit, tell
from galatune.tabular.metric import Scoring, metric_of
from galatune.tabular.net import MLP, Inputs
from galatune.tabular.parameters import check_parameters, chosen_device, layer_sizes
from galatune.tabular.read import LabelledRows, read_table, read_weight, split_rows, take_rows
from galatune.tabular.saving import read_model, write_model
from galatune.tabular.state import TrainingState
from galatune.tabular.targets import Array, Target
from galatune.tabular.train import Rows, Training, TrainingOptions, train
from galatune.tabular.warn import warn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Self

__all__ = ["GalaEstimator"]

TargetT = TypeVar("TargetT", bound=Target)

AUTO_STOPPING_ROWS = 50
"""With fewer rows, early_stopping="auto" holds none out."""

MOST_HELD_OUT, LEAST_HELD_OUT, ENOUGH_HELD_OUT = 0.2, 0.1, 500
"""Largest and smallest fraction that validation_fraction="auto" holds out, and how many rows between them."""

FEWEST_FIRST_ROWS = 10
"""With fewer rows, the first call of partial_fit warns that they say little about scales and categories."""

PREDICTED_AT_ONCE = 8192
"""Rows that predict holds in memory at a time."""


class GalaEstimator(BaseEstimator, Generic[TargetT]):  # type: ignore[misc]
    """What classifier and regressor share: they read a table, fit a network and compute outputs."""

    _target: TargetT
    _state: TrainingState
    _plan: dict[str, Any]

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
        scoring: Scoring = "loss",
        max_time: float | None = None,
        warm_start: bool = False,
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
        self.scoring = scoring
        self.max_time = max_time
        self.warm_start = warm_start
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

    def _learn_target(self, y: Array, weight: Matrix, classes: Any = None) -> TargetT:
        """Learn what the network predicts from y and the classes to come, and set the attributes."""
        raise NotImplementedError

    def _row_weights(self, y: Array, sample_weight: Any, table: Table) -> Matrix:
        """Return the weight of each row in the loss, shape (n_rows,)."""
        return read_weight(sample_weight, table)

    def _read_rows(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> LabelledRows:
        """Return the rows of positive weight; reset sets `n_features_in_`."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        table, y = read_table(self, X, reset=reset), as_table(y, "y")
        check_consistent_length(table, y)
        target = self._read_target(y)
        weight = self._row_weights(target, sample_weight, table)
        counted = np.flatnonzero(weight > 0)
        return LabelledRows(take_rows(table, counted), target[counted], weight[counted])

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any] | None = None
    ) -> None:
        began = time.monotonic()
        check_parameters(self.get_params(deep=False))
        deadline = began + (math.inf if self.max_time is None else self.max_time)
        goes_on = self.warm_start and hasattr(self, "_state")
        rows = self._read_rows(X, y, sample_weight, reset=not goes_on)
        held = None if validation is None else self._read_rows(*validation, reset=False)
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        learned = np.ones(len(rows), dtype=bool)
        target = self._target if goes_on else self._learn_target(rows.target, rows.weight)
        if held is None:
            learned = self._stay(target.strata(rows.target), random)
            held = rows.take(~learned)
        self._begin(rows, learned, target, goes_on=goes_on)
        self._train(rows.take(learned), held, self._options(learned.sum(), self.max_iter, deadline), seed)
        tell(FinishedFit(self, X, y, sample_weight, time.monotonic() - began))

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> None:
        """Take one pass over the rows; the first call learns what encoder and target are."""
        check_parameters(self.get_params(deep=False))
        goes_on = hasattr(self, "_state")
        rows = self._read_rows(X, y, sample_weight, reset=not goes_on)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        target = self._target if goes_on else self._learn_target(rows.target, rows.weight, classes)
        if not goes_on and len(rows) < FEWEST_FIRST_ROWS:
            warn(
                f"The first call of partial_fit fixes scales and categories for good, however: it has "
                f"{len(rows)} rows. Begin with a larger part, or with fit."
            )
        self._begin(rows, np.ones(len(rows), dtype=bool), target, goes_on=goes_on)
        self._train(rows, rows.take(np.arange(0)), self._options(len(rows), 1, math.inf), seed)

    def _begin(
        self, rows: LabelledRows, learned: NDArray[np.bool_], target: TargetT, *, goes_on: bool
    ) -> None:
        """Learn encoder and target, or check that the network is still the one that is wanted."""
        if goes_on:
            self._check_plan()
            return
        encoder = TableEncoder.fit(rows.table, np.where(learned, rows.weight, 0.0))
        for name in ("_state", "history_", "loss_curve_", "validation_scores_"):
            self.__dict__.pop(name, None)
        self._target, self.encoder_, self._plan = target, encoder, self._wanted_plan()

    def _wanted_plan(self) -> dict[str, Any]:
        """Return the parameters that a network cannot change once it is built."""
        fixed = {name: getattr(self, name) for name in ("n_members", "embed_numbers", "embed_levels")}
        return {"hidden_layer_sizes": list(layer_sizes(self.hidden_layer_sizes)), **fixed}

    def _check_plan(self) -> None:
        for name, value in self._wanted_plan().items():
            if value != self._plan[name]:
                raise ValueError(
                    f"{name} must stay as it was while a training goes on, {self._plan[name]}, however: "
                    f"{name}={value}. Set it back, or fit a new estimator."
                )

    def _train(self, rows: LabelledRows, held: LabelledRows, options: TrainingOptions, seed: int) -> None:
        """Train a new network, or go on with the one that is there, and set the fitted attributes."""
        device = chosen_device(self.device)
        generator = torch.Generator(device).manual_seed(seed)
        state: TrainingState | None = getattr(self, "_state", None)
        encoded = self._encode(self._coded(rows.table))
        encoded_held = self._encode(self._coded(held.table)) if len(held) else None
        if state is None:
            network = self._network(encoded, rows.weight, generator)
        else:
            network = deepcopy(state.network).to(device)
            self._target = cast("TargetT", self._target.widened(rows.target))
        training = train(
            network,
            self._rows(rows, encoded, device),
            None if encoded_held is None else self._rows(held, encoded_held, device),
            self._target.loss,
            options,
            generator,
            state=state,
            metric=metric_of(self.scoring, self._target, held) if len(held) else None,
        )
        self._remember(training)
        self._warn(training)

    def _remember(self, training: Training) -> None:
        """Set the fitted attributes; the history of one that went on is put behind the earlier one."""
        before = [*getattr(self, "loss_curve_", [])]
        history = history_frame(training, len(before), training.state.steps - len(training.steps))
        earlier = getattr(self, "history_", None)
        self.history_ = history if earlier is None else pd.concat([earlier, history], ignore_index=True)
        self.loss_curve_ = before + training.losses
        self.validation_scores_ = [*getattr(self, "validation_scores_", []), *training.validation_scores]
        self.n_iter_ = len(self.loss_curve_)
        self.best_iteration_ = len(before) + training.best_epoch
        self._predict_with(training.state)

    def _predict_with(self, state: TrainingState) -> None:
        self._state = state
        self.network_ = deepcopy(state.network)
        self.network_.keep(state.members)
        self.network_.double()

    def _network(self, encoded: Encoded, weight: Matrix, generator: torch.Generator) -> MLP:
        levels = self.encoder_.cardinalities if self.embed_levels else ()
        return MLP(
            encoded.numbers.shape[1],
            LevelEmbedding(levels, generator),
            PiecewiseLinear.fit(encoded.numbers, weight) if self.embed_numbers else None,
            layer_sizes(self.hidden_layer_sizes),
            self._target.n_outputs,
            n_members=int(self.n_members),
            dropout=float(self.dropout),
            generator=generator,
        ).to(generator.device)

    def _coded(self, table: Table) -> Coded:
        """Look up the values of a table, and warn of those that fit did not see."""
        coded = self.encoder_.read(table)
        if coded.unknown:
            found = "; ".join(unknown.text() for unknown in coded.unknown)
            warn(f"Found categories that fit did not see: {found}. They count as unknown.")
        return coded

    def _warn(self, training: Training) -> None:
        """Warn if the training was not finished, or learned nothing."""
        if not training.finished:
            warn(f"The training was not finished: {self._why(training)}", ConvergenceWarning)
        if not training.learned and training.stopped in ("patience", "epochs"):
            warn(
                "The best epoch predicts the rows held out no better than a constant does, as far as they "
                "tell: X may say nothing about y, or there are too few rows.",
                ConvergenceWarning,
            )

    def _why(self, training: Training) -> str:
        if training.stopped == "interrupt":
            return f"it was interrupted in epoch {len(training.losses)}, and the best weights were kept."
        if training.stopped == "time":
            return (
                f"max_time={self.max_time} seconds were over in epoch {len(training.losses)}. Set it higher."
            )
        return (
            f"a clearly better epoch came less than patience={self.patience} steps before the end of "
            f"max_iter={self.max_iter} epochs. Set max_iter higher."
        )

    def _encode(self, coded: Coded) -> Encoded:
        """Return numbers and codes, or only numbers if levels are not embedded."""
        encoded = self.encoder_.encode(coded)
        if self._plan["embed_levels"]:
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

    def _rows(self, rows: LabelledRows, encoded: Encoded, device: torch.device) -> Rows:
        weights = torch.as_tensor(rows.weight / rows.weight.mean(), dtype=torch.float32)
        targets = self._target.encode(rows.target)
        return Rows(_tensors(encoded, torch.float32).to(device), targets.to(device), weights.to(device))

    def _options(self, n_rows: int, max_iter: int, deadline: float) -> TrainingOptions:
        automatic = min(256, max(16, n_rows // 16))
        return TrainingOptions(
            batch_size=automatic if self.batch_size == "auto" else self.batch_size,
            max_iter=max_iter,
            patience=self.patience,
            weight_decay=self.weight_decay,
            verbose=bool(self.verbose),
            deadline=deadline,
        )

    @property
    def learning_rate_curve_(self) -> Matrix:
        """The step, from 1, and the learning rate as applied, shape (n_steps, 2)."""
        return np.asarray(self.history_[["step", "learning_rate"]], dtype=np.float64)

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw loss, validation score and learning rate of the training by step.

        Args:
            axes: Axes of matplotlib to draw on; None makes a figure.

        Returns:
            The axes.
        """
        check_is_fitted(self)
        return plot_history(self.history_, self.scoring == "loss", axes)

    def save(self, path: str | Path) -> None:
        """Save the fitted estimator without pickle, as one file of safetensors; `load` reads it.

        Args:
            path: File to write, such as "model.safetensors"; an existing one is replaced.

        Raises:
            OSError: The file cannot be written.
            ValueError: A parameter is an object that only pickle can save, such as a scorer.
        """
        check_is_fitted(self)
        kept = {name: value for name, value in vars(self).items() if name != "network_"}
        write_model(path, type(self).__name__, kept)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the estimator that `save` wrote; it predicts and goes on training to the same bits.

        Args:
            path: File to read. No code from it is run.

        Raises:
            ValueError: The file is no such model, or one of another estimator.
        """
        model = cls()
        model.__dict__.update(read_model(path, cls.__name__))
        model._predict_with(model._state)
        return model

    @torch.no_grad()
    def _outputs(self, X: object) -> Matrix:
        """Return the network's outputs, shape (n_rows, n_outputs).

        They are computed in float64, so that a row's output does not depend on its neighbours.
        """
        check_is_fitted(self)
        coded = self._coded(read_table(self, X, reset=False))
        starts = range(0, len(coded), PREDICTED_AT_ONCE)
        chunks = [coded.take(slice(start, start + PREDICTED_AT_ONCE)) for start in starts]
        inputs = (_tensors(self._encode(chunk), torch.float64) for chunk in chunks)
        return np.concatenate([self._target.loss.mean(self.network_(chunk)).numpy() for chunk in inputs])


def _tensors(encoded: Encoded, dtype: torch.dtype) -> Inputs:
    return Inputs(torch.as_tensor(encoded.numbers, dtype=dtype), torch.as_tensor(encoded.codes))
