"""`GalaClassifier`: a scikit-learn classifier without a learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin

from galatune.tabular.columns import Matrix
from galatune.tabular.encode import Table
from galatune.tabular.estimator import GalaEstimator
from galatune.tabular.metric import Scoring
from galatune.tabular.read import read_class_weight, read_classes, read_validation, read_weight
from galatune.tabular.targets import Array, Classes, Labels

__all__ = ["GalaClassifier"]


class GalaClassifier(ClassifierMixin, GalaEstimator[Classes | Labels]):  # type: ignore[misc]
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
        scoring: What chooses the best epoch and when to stop: "loss", or a scorer of scikit-learn, such as
            "roc_auc"; greater is better.
        max_time: Seconds after which training stops; what was learned by then is kept.
        warm_start: Whether a second `fit` goes on where the first one ended, with the same classes, encoding
            and scales.
        class_weight: "balanced", or a weight for each class, 1 if it is left out, multiplied with
            sample_weight.
        device: Torch device to train on, "auto" for the accelerator of the machine if it has one; prediction
            is done on the CPU.
        random_state: Seed of the split, initial weights, batches and dropout; no global seed is read
            if it is an integer.
        verbose: Whether to show epoch, losses, learning rate and time left: one line in a terminal, else a
            line per epoch.

    Attributes:
        classes_: The labels, sorted, shape (n_classes,).
        n_features_in_: Columns of the table.
        feature_names_in_: Their names, set if all names in X were strings.
        n_iter_: Epochs run, in all calls that went on from each other.
        best_iteration_: The epoch, from 1, whose weights were kept.
        loss_curve_: Training loss by epoch.
        validation_scores_: Minus the log loss on the rows held out, by epoch, or of the scorer; empty without
            them.
        history_: Frame with a row per step: step, epoch, loss, learning_rate, and validation_score at the
            end of each epoch.
        learning_rate_curve_: Shape (n_steps, 2): the step, from 1, and the learning rate as applied.
        encoder_: Encodes the table as numbers, a `TableEncoder`.
        network_: The network, a `torch.nn.Module` in float64 on the CPU.

    Example:
        >>> from sklearn.datasets import load_wine
        >>> X, y = load_wine(return_X_y=True, as_frame=True)
        >>> model = GalaClassifier(early_stopping=False, max_iter=30, random_state=0).fit(X[::2], y[::2])
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
            scoring=scoring,
            max_time=max_time,
            warm_start=warm_start,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that a row may have several labels."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
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
    ) -> GalaClassifier:
        """Fit encoder and network.

        Args:
            X: Data frame of pandas, polars or pyarrow, or numbers of shape (n_rows, n_features), sparse ones
                too; NaN is understood.
            y: Labels, shape (n_rows,), or a 0/1 indicator of several labels, (n_rows, n_labels).
            sample_weight: Weights of the rows, shape (n_rows,); a row of weight 0 is ignored.
            X_val: Rows that choose the best epoch, in place of rows held out of X.
            y_val: Their labels.
            sample_weight_val: Their weights.
            eval_set: The same as one pair (X_val, y_val), or a list of one.

        Returns:
            The classifier itself.

        Raises:
            ValueError: A parameter, X, y or sample_weight is not what it has to be.
        """
        self._fit(X, y, sample_weight, read_validation(X_val, y_val, sample_weight_val, eval_set))
        return self

    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> GalaClassifier:
        """Take one pass over the rows; later calls go on, with the same learning rate control.

        The first call, if `fit` was not called before, learns encoding and scales for good. Categories that
        come later are counted, warned of and treated as unknown.

        Args:
            X: Rows, as in `fit`.
            y: Their labels.
            classes: All labels that will ever come; the first call takes those of y if it is None.
            sample_weight: Weights of the rows.

        Returns:
            The classifier itself.

        Raises:
            ValueError: A label is none of the classes, or anything is not what it has to be.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                "partial_fit does not see all rows, so that it cannot balance them, however: "
                f"class_weight={self.class_weight!r}. Pass a weight for each class."
            )
        if classes is not None and isinstance(getattr(self, "_target", None), Classes):
            named, known = np.unique(read_classes(classes)).tolist(), self.classes_.tolist()
            if named != known:
                raise ValueError(
                    f"classes must stay as they were in the first call, {known}, however: classes={named}. "
                    "Leave them out, or begin with a new classifier."
                )
        self._partial_fit(X, y, sample_weight, classes)
        return self

    def predict_proba(self, X: Any) -> Matrix:
        """Return the probability of each class, shape (n_rows, n_classes), in the order of `classes_`.

        Of several labels it is the probability of each, shape (n_rows, n_labels).
        """
        outputs = self._outputs(X)
        return self._target.probabilities(outputs)

    def predict_log_proba(self, X: Any) -> Matrix:
        """Return the logarithms of the probabilities, of the same shape; finite if a probability is 0."""
        outputs = self._outputs(X)
        return self._target.log_probabilities(outputs)

    def decision_function(self, X: Any) -> Matrix:
        """Return log-odds of the second of two classes, shape (n_rows,).

        Of more classes it returns log-probabilities, shape (n_rows, n_classes); of several labels the
        log-odds of each, (n_rows, n_labels).
        """
        outputs = self._outputs(X)
        return self._target.decisions(outputs)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable label, shape (n_rows,), or a 0/1 indicator, (n_rows, n_labels)."""
        outputs = self._outputs(X)
        return self._target.decode(outputs)

    def _read_target(self, y: Any) -> Array:
        return read_classes(y)

    def _row_weights(self, y: Array, sample_weight: Any, table: Table) -> Matrix:
        return read_weight(sample_weight, table) * read_class_weight(self.class_weight, y)

    def _learn_target(self, y: Array, weight: Matrix, classes: Any = None) -> Classes | Labels:
        known = np.unique(y if classes is None else read_classes(classes))
        self.classes_ = np.arange(y.shape[1]) if y.ndim == 2 else known
        return Labels(self.classes_) if y.ndim == 2 else Classes(self.classes_)
