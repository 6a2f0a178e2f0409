"""What is learned: class labels, several labels at once, or numbers; as tensors, as losses, and back.

Each kind is a frozen object that is learned from y once and knows nothing of tables and networks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galatune.tabular.columns import GRID, QUARTERS, Matrix, weighted_quantiles
from galatune.tabular.loss import LabelLoss, LogLoss, Loss, PinballLoss, SquaredError

__all__ = ["Array", "Classes", "Labels", "Target", "Values"]

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Classes:
    """One of several classes per row.

    Attributes:
        classes: The labels, sorted, shape (n_classes,).

    Example:
        >>> target = Classes(np.array(["no", "yes"]))
        >>> target.encode(np.array(["yes", "no"]))
        tensor([1, 0])
        >>> target.probabilities(np.array([[0.0, 0.0]]))
        array([[0.5, 0.5]])
    """

    classes: Array

    @property
    def n_outputs(self) -> int:
        """Width of the network's output: a logit per class."""
        return len(self.classes)

    @property
    def loss(self) -> Loss:
        """What is minimized."""
        return LogLoss(len(self.classes))

    def encode(self, y: Array) -> Tensor:
        """Return the number of each row's class, shape (n_rows,).

        Raises:
            ValueError: A label is none of the classes.
        """
        strange = np.unique(y[~np.isin(y, self.classes)])
        if len(strange):
            count = int(np.isin(y, strange).sum())
            raise ValueError(
                f"Labels must be among the classes {self.classes.tolist()}, however: {count} of "
                f"{len(y)} rows have others, such as {strange.tolist()[0]!r}. Fit anew to learn new classes."
            )
        return torch.as_tensor(np.searchsorted(self.classes, y))

    def widened(self, y: Array) -> Classes:
        """Return the target itself: classes do not change."""
        return self

    def strata(self, y: Array) -> NDArray[np.intp]:
        """Return the group of each row, shape (n_rows,), of which a split takes the same fraction."""
        return np.searchsorted(self.classes, y)

    def probabilities(self, outputs: Matrix) -> Matrix:
        """Return probabilities of the same shape, (n_rows, n_classes)."""
        return np.asarray(np.exp(self.log_probabilities(outputs)))

    def log_probabilities(self, outputs: Matrix) -> Matrix:
        """Return logarithms of probabilities, shape (n_rows, n_classes)."""
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))

    def decisions(self, outputs: Matrix) -> Matrix:
        """Return log-odds, shape (n_rows, n_classes), or (n_rows,) of the second of two classes."""
        if len(self.classes) == 2:
            return np.asarray(outputs[:, 1] - outputs[:, 0])
        return self.log_probabilities(outputs)

    def decode(self, outputs: Matrix) -> Array:
        """Return the most probable label, shape (n_rows,)."""
        return np.asarray(self.classes[outputs.argmax(axis=1)])


@dataclass(frozen=True)
class Labels:
    """Several labels per row, each there or not.

    Attributes:
        classes: Their numbers, shape (n_labels,).
    """

    classes: Array

    @property
    def n_outputs(self) -> int:
        """Width of the network's output: log-odds per label."""
        return len(self.classes)

    @property
    def loss(self) -> Loss:
        """What is minimized."""
        return LabelLoss()

    def encode(self, y: Array) -> Tensor:
        """Return the indicator as floats, shape (n_rows, n_labels).

        Raises:
            ValueError: Another number of labels.
        """
        if y.ndim != 2 or y.shape[1] != len(self.classes):
            raise ValueError(f"y must have {len(self.classes)} labels as in fit, however: y.shape={y.shape}.")
        return torch.as_tensor(y, dtype=torch.float32)

    def widened(self, y: Array) -> Labels:
        """Return the target itself: labels do not change."""
        return self

    def strata(self, y: Array) -> NDArray[np.intp]:
        """Return one group for all rows."""
        return np.zeros(len(y), dtype=np.intp)

    def probabilities(self, outputs: Matrix) -> Matrix:
        """Return the probability of each label, shape (n_rows, n_labels)."""
        return np.asarray(np.exp(self.log_probabilities(outputs)))

    def log_probabilities(self, outputs: Matrix) -> Matrix:
        """Return logarithms of the probability of each label, shape (n_rows, n_labels)."""
        return np.asarray(-np.logaddexp(0, -outputs))

    def decisions(self, outputs: Matrix) -> Matrix:
        """Return the log-odds of each label, shape (n_rows, n_labels)."""
        return outputs

    def decode(self, outputs: Matrix) -> Array:
        """Return the indicator of the labels that are more probable than not, shape (n_rows, n_labels)."""
        return np.asarray((outputs > 0).astype(np.int64))


@dataclass(frozen=True)
class Values:
    """Numbers, standardized.

    Attributes:
        centre: Mean, or median if the loss is not the square, shape () or (n_columns,), in the units of y.
        scale: Standard deviation, or interquartile range, of the same shape; 1 if y is constant.
        low: Smallest standardized number, of the same shape.
        high: Largest.
        quantiles: What is predicted of each number; empty for the mean.
        several: Whether a prediction has a column per quantile.

    Example:
        >>> target = Values.fit(np.array([1.0, 3.0]), np.ones(2))
        >>> target.encode(np.array([1.0, 3.0]))
        tensor([[-1.],
                [ 1.]])
        >>> target.decode(np.array([[0.0], [2.0]]))
        array([2., 4.])
    """

    centre: Array
    scale: Array
    low: Array
    high: Array
    quantiles: tuple[float, ...] = ()
    several: bool = False

    @classmethod
    def fit(
        cls, y: Matrix, weight: Matrix, quantiles: tuple[float, ...] = (), several: bool = False
    ) -> Values:
        """Learn centre and scale from y of shape (n_rows,) or (n_rows, n_columns) and weights (n_rows,)."""
        largest = np.abs(y).max(axis=0)
        unit = np.where(largest > 0, largest, 1.0)
        unified = y / unit  # squares of huge and of tiny values stay finite and positive
        centre = np.average(unified, axis=0, weights=weight)
        scale = np.sqrt(np.average((unified - centre) ** 2, axis=0, weights=weight))
        if quantiles:
            columns = unified.reshape(len(y), -1).T
            quartiles = np.array([weighted_quantiles(column, weight, QUARTERS) for column in columns])
            width = (quartiles[:, 3] - quartiles[:, 1]).reshape(np.shape(scale))
            centre, scale = quartiles[:, 2].reshape(np.shape(centre)), np.where(width > 0, width, scale)
        tiny = scale <= np.finfo(float).eps  # what rounding leaves of a constant
        with np.errstate(over="ignore"):
            widest = np.nan_to_num(scale * unit)  # the largest float in place of infinity
        centre, scale = np.asarray(centre * unit), np.where(tiny, 1.0, widest)
        low, high = (_standardized(end, centre, scale) for end in (y.min(axis=0), y.max(axis=0)))
        return cls(centre, scale, np.asarray(low), np.asarray(high), quantiles, several)

    @property
    def n_outputs(self) -> int:
        """Width of the network's output."""
        return self.centre.size * max(1, len(self.quantiles))

    @property
    def loss(self) -> Loss:
        """What is minimized; predictions stay within the range of y."""
        low, high = (torch.as_tensor(end, dtype=torch.float32).reshape(-1) for end in (self.low, self.high))
        return PinballLoss(self.quantiles, low, high) if self.quantiles else SquaredError(low, high)

    def encode(self, y: Matrix) -> Tensor:
        """Return standardized numbers, shape (n_rows, n_columns).

        Raises:
            ValueError: Another number of columns.
        """
        if y.shape[1:] != self.centre.shape:
            wanted = ("n_rows", *self.centre.shape)
            raise ValueError(f"y must have shape {wanted} as in fit, however: y.shape={y.shape}.")
        standardized = _standardized(y, self.centre, self.scale).reshape(len(y), -1)
        return torch.as_tensor(np.rint(standardized * GRID) / GRID, dtype=torch.float32)

    def widened(self, y: Matrix) -> Values:
        """Return the target with a range that holds y as well; centre and scale do not change."""
        self.encode(y)
        ends = (y.min(axis=0), y.max(axis=0))
        low, high = (_standardized(end, self.centre, self.scale) for end in ends)
        return replace(self, low=np.minimum(self.low, low), high=np.maximum(self.high, high))

    def strata(self, y: Array) -> NDArray[np.intp]:
        """Return which tenth of the rows each row is in by its first number, 0 to 9, shape (n_rows,)."""
        rank = np.argsort(np.argsort(y.reshape(len(y), -1)[:, 0], kind="stable"), kind="stable")
        return np.asarray(rank * 10 // len(y))

    def decode(self, outputs: Matrix) -> Matrix:
        """Return numbers in the units of y, shape (n_rows,), (n_rows, n_columns) or (n_rows, n_quantiles).

        Quantiles of a row never cross: they are sorted as their levels are.
        """
        if self.several:
            order = np.argsort(np.argsort(self.quantiles))
            return np.asarray(np.sort(outputs, axis=1)[:, order] * self.scale + self.centre)
        shaped = outputs if self.centre.ndim else outputs[:, 0]
        with np.errstate(over="ignore"):
            return np.asarray(shaped * self.scale + self.centre)


def _standardized(y: Matrix, centre: Array, scale: Array) -> Matrix:
    """Return y less the centre, in units of the scale. Halves, since huge values differ by infinity."""
    return np.asarray((y / 2 - centre / 2) / scale * 2)


Target: TypeAlias = Classes | Labels | Values
