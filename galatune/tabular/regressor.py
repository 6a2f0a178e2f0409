"""`GalaRegressor`: a scikit-learn regressor without a learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_pinball_score

from galatune.tabular.columns import Matrix
from galatune.tabular.estimator import GalaEstimator
from galatune.tabular.metric import Scoring
from galatune.tabular.read import read_validation, read_values
from galatune.tabular.targets import Array, Values

__all__ = ["GalaRegressor"]


class GalaRegressor(RegressorMixin, GalaEstimator[Values]):  # type: ignore[misc]
    """A neural network that predicts numbers from the rows of a table. It has no learning rate to choose.

    Args:
        hidden_layer_sizes: Widths of the hidden layers.
        loss: What is minimized: "squared_error", "absolute_error" or "quantile".
        quantile: Level between 0 and 1 of the quantile to predict if loss="quantile"; of several levels
            a prediction has a column each.
        batch_size: Rows in a minibatch; "auto" takes a 16th of the rows, at least 16, at most 256.
        dropout: Probability that a hidden unit is dropped in training.
        weight_decay: Decoupled weight decay, multiplied by the learning rate that was found.
        n_members: Networks that are trained side by side and predict together, each from initial weights of
            its own.
        embed_numbers: Whether half of the members see each number also as its place in 16 bins; rows
            held out tell which half predicts, or both.
        embed_levels: Whether the levels of columns with more than nine are trained vectors, not one-hot.
        max_iter: Largest number of epochs; a `ConvergenceWarning` says if training was not finished by then.
        early_stopping: Whether rows are held out to choose the best epoch by the loss and to stop;
            "auto" does so from 50 rows on.
        validation_fraction: Fraction of the rows that is held out for that; "auto" is 0.2 of up to 2,500
            rows, and falls to 0.1 of 5,000.
        patience: Training stops after this many steps, and 3 epochs, without a clearly lower loss on
            those rows.
        scoring: What chooses the best epoch and when to stop: "loss", or a scorer of scikit-learn, such as
            "neg_mean_absolute_error"; greater is better.
        max_time: Seconds after which training stops; what was learned by then is kept.
        warm_start: Whether a second `fit` goes on where the first one ended, with the same encoding and
            scales.
        device: Torch device to train on, "auto" for the accelerator of the machine if it has one; prediction
            is done on the CPU.
        random_state: Seed of the split, initial weights, batches and dropout; no global seed is read
            if it is an integer.
        verbose: Whether to show epoch, losses, learning rate and time left: one line in a terminal, else a
            line per epoch.

    Attributes:
        n_features_in_: Columns of the table.
        feature_names_in_: Their names, set if all names in X were strings.
        n_iter_: Epochs run, in all calls that went on from each other.
        best_iteration_: The epoch, from 1, whose weights were kept.
        loss_curve_: Training loss by epoch, of y in units of `target_scale_`.
        validation_scores_: Minus that loss on the rows held out, by epoch, or of the scorer; empty without
            them.
        history_: Frame with a row per step: step, epoch, loss, learning_rate, and validation_score at the
            end of each epoch.
        learning_rate_curve_: Shape (n_steps, 2): the step, from 1, and the learning rate as applied.
        encoder_: Encodes the table as numbers, a `TableEncoder`.
        network_: The network, a `torch.nn.Module` in float64 on the CPU.
        target_mean_: Mean of y, shape () or (n_outputs,), in the units of y; the median unless the loss is
            "squared_error".
        target_scale_: Standard deviation of y, of the same shape, or its interquartile range; 1 if y is
            constant.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = GalaRegressor(early_stopping=False, max_iter=30, random_state=0).fit(X[::2], y[::2])
        >>> bool(model.score(X[1::2], y[1::2]) > 0.3)
        True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (128, 128, 128),
        *,
        loss: Literal["squared_error", "absolute_error", "quantile"] = "squared_error",
        quantile: float | Sequence[float] = 0.5,
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
            scoring=scoring,
            max_time=max_time,
            warm_start=warm_start,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.loss = loss
        self.quantile = quantile

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that y may have several columns."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        eval_set: Any = None,
    ) -> GalaRegressor:
        """Fit encoder and network.

        Args:
            X: Data frame of pandas, polars or pyarrow, or numbers of shape (n_rows, n_features), sparse ones
                too; NaN is understood.
            y: Numbers, shape (n_rows,) or (n_rows, n_outputs).
            sample_weight: Weights of the rows, shape (n_rows,); a row of weight 0 is ignored.
            X_val: Rows that choose the best epoch, in place of rows held out of X.
            y_val: Their numbers.
            sample_weight_val: Their weights.
            eval_set: The same as one pair (X_val, y_val), or a list of one.

        Returns:
            The regressor itself.

        Raises:
            ValueError: A parameter, X, y or sample_weight is not what it has to be.
        """
        self._fit(X, y, sample_weight, read_validation(X_val, y_val, sample_weight_val, eval_set))
        return self

    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> GalaRegressor:
        """Take one pass over the rows; later calls go on, with the same learning rate control.

        The first call, if `fit` was not called before, learns encoding and scales for good. Categories that
        come later are counted, warned of and treated as unknown.

        Args:
            X: Rows, as in `fit`.
            y: Their numbers.
            sample_weight: Weights of the rows.

        Returns:
            The regressor itself.

        Raises:
            ValueError: Anything is not what it has to be.
        """
        self._partial_fit(X, y, sample_weight)
        return self

    def predict(self, X: Any) -> Matrix:
        """Return the predicted numbers, shape (n_rows,) or (n_rows, n_outputs) as y had it.

        Several quantiles have a column each, shape (n_rows, n_quantiles).
        """
        outputs = self._outputs(X)
        return self._target.decode(outputs)

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return R2 of the prediction; of quantiles, D2 of the pinball loss, averaged over them."""
        if self.loss != "quantile":
            return float(super().score(X, y, sample_weight))
        prediction = self.predict(X)
        columns = prediction.T if self._target.several else [prediction]
        scores = [
            d2_pinball_score(y, column, alpha=level, sample_weight=sample_weight)
            for column, level in zip(columns, self._target.quantiles, strict=True)
        ]
        return float(np.mean(scores))

    def _read_target(self, y: Any) -> Array:
        values = read_values(y)
        if np.ndim(self.quantile) and self.loss == "quantile" and values.ndim == 2:
            raise ValueError(
                "Several quantiles need one column of numbers, however: "
                f"y.shape={values.shape}. Fit a regressor per column."
            )
        return values

    def _learn_target(self, y: Array, weight: Matrix, classes: Any = None) -> Values:
        levels = {"squared_error": (), "absolute_error": (0.5,), "quantile": np.atleast_1d(self.quantile)}
        quantiles = tuple(float(level) for level in levels[self.loss])
        several = self.loss == "quantile" and np.ndim(self.quantile) > 0
        target = Values.fit(y, weight, quantiles, several)
        self.target_mean_, self.target_scale_ = target.centre, target.scale
        return target
