"""Check what a user passes to fit and predict, after scikit-learn's contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, check_array, column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from galatune.tabular.columns import Matrix
from galatune.tabular.encode import Table
from galatune.tabular.frames import as_dense, as_table
from galatune.tabular.values import kind_of

__all__ = [
    "LabelledRows",
    "read_class_weight",
    "read_classes",
    "read_table",
    "read_validation",
    "read_values",
    "read_weight",
    "split_rows",
    "take_rows",
]


@dataclass(frozen=True)
class LabelledRows:
    """Rows of a table, what is to be learned from them, and how much each counts.

    Attributes:
        table: Array or data frame, (n_rows, n_features).
        target: Shape (n_rows,) or (n_rows, n_columns).
        weight: Shape (n_rows,).
    """

    table: Table
    target: NDArray[Any]
    weight: Matrix

    def __len__(self) -> int:
        return len(self.weight)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> LabelledRows:
        """Return the rows at index, their numbers or a mask."""
        return LabelledRows(take_rows(self.table, index), self.target[index], self.weight[index])


def take_rows(table: Table, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Table:
    """Return the rows at index, of an array or a data frame."""
    return table.iloc[index] if isinstance(table, pd.DataFrame) else table[index]


def read_table(estimator: BaseEstimator, X: object, *, reset: bool) -> Table:
    """Return X as a data frame if it is one of any library, else as numbers of shape (n_rows, n_features).

    Args:
        estimator: Its `n_features_in_` and `feature_names_in_` are set in fit and compared in predict.
        X: What was passed.
        reset: True in fit, False in predict.

    Raises:
        ValueError: Not a table, empty, infinite, or not the columns of fit.
    """
    X = as_table(X)
    if not isinstance(X, pd.DataFrame):
        return _read_array(estimator, X, reset=reset)
    if 0 in X.shape:
        what = "sample" if X.shape[0] == 0 else "feature"
        raise ValueError(f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required.")
    if not X.columns.is_unique:
        twice = X.columns[X.columns.duplicated()][0]
        raise ValueError(
            f"Column names must differ from each other, however: {twice!r} comes more than once."
        )
    frame: pd.DataFrame = validate_data(estimator, X, reset=reset, skip_check_array=True)
    return frame


def _read_array(estimator: BaseEstimator, X: Any, *, reset: bool) -> Matrix:
    if getattr(getattr(X, "dtype", None), "kind", "") in "mM" or getattr(X, "dtype", None) is object:
        kind_of("X", pd.Series(np.asarray(X).ravel()[:1]))
    options = {"accept_sparse": ("csr", "csc", "coo"), "dtype": np.float64, "ensure_all_finite": "allow-nan"}
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of the sum that scikit-learn looks at
            array = validate_data(estimator, X, reset=reset, **options)
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise ValueError(_one_line(error)) from None
        raise ValueError(
            f"An array must hold numbers, however: {error}. Pass a data frame: its text columns are encoded."
        ) from None
    return np.asarray(as_dense(array))


def _one_line(error: Exception) -> str:
    """Return scikit-learn's message as one line, without the values that it prints."""
    values = r"(Complex data not supported)\n.*|:\narray=.*?\](?=\.\nReshape)"
    message = re.sub(values, r"\1", str(error), flags=re.DOTALL)
    return " ".join(message.split())


def read_classes(y: object) -> NDArray[np.generic]:
    """Return class labels, shape (n_rows,), or a 0/1 indicator of several labels, (n_rows, n_labels).

    A single column is flattened with scikit-learn's warning.

    Raises:
        ValueError: Labels are missing, continuous, of types that have no order, or of several targets.
    """
    labels = np.asarray(as_dense(as_table(y, "y")))
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _read_indicator(labels)
    if labels.dtype.kind == "c":
        raise ValueError("Complex data not supported, however: y holds complex numbers.")
    labels = np.asarray(column_or_1d(labels, warn=True))
    if pd.isna(labels).any():
        raise ValueError("Input y contains NaN. A label is missing: leave the row out.")
    if labels.dtype == object:
        labels = pd.Series(labels).infer_objects().to_numpy()
    if labels.dtype == object and not all(isinstance(label, str | bytes) for label in labels):
        types = " and ".join(sorted({type(label).__name__ for label in labels}))
        raise ValueError(f"Labels must be text, integers or booleans, of one type, however: y holds {types}.")
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return labels


def _read_indicator(labels: NDArray[Any]) -> NDArray[np.generic]:
    if labels.dtype == object:
        labels = pd.DataFrame(labels).infer_objects().to_numpy()
    if labels.dtype.kind in "fc":
        assert_all_finite(labels, input_name="y")
    if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            "Several columns of y must be a 0/1 indicator of labels, however: "
            f"y has {labels.shape[1]} columns with other values. Use "
            "sklearn.multioutput.MultiOutputClassifier for several targets."
        )
    return labels.astype(np.int64)


def read_values(y: object) -> Matrix:
    """Return the numbers to predict, shape (n_rows,) or (n_rows, n_outputs).

    Raises:
        ValueError: They are missing, infinite, or no numbers.
    """
    y = as_table(y, "y")
    columns = y.items() if isinstance(y, pd.DataFrame) else [("y", y)]
    for name, values in columns:
        if np.asarray(values).dtype.kind in "mM":
            raise ValueError(f"y must hold numbers, however: {name!r} holds dates or durations.")
    if pd.isna(np.asarray(y, dtype=object)).any():
        raise ValueError("Input y contains NaN. A target is missing: leave the row out.")
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of the sum that scikit-learn looks at
            return np.asarray(check_array(y, ensure_2d=False, dtype=np.float64, input_name="y"))
    except OverflowError:
        raise ValueError("Input y contains integers that are too large for dtype('float64').") from None
    except (TypeError, ValueError) as error:
        if "could not convert string" not in str(error):
            raise type(error)(_one_line(error)) from None
        raise ValueError(f"y must hold numbers, however: {error}.") from None


def read_weight(sample_weight: ArrayLike | None, table: Table) -> Matrix:
    """Return one weight per row, shape (n_rows,); ones if none are given.

    Raises:
        ValueError: Another shape, a negative weight, or nothing but zeros.
    """
    try:
        weight = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
    except (TypeError, ValueError) as error:
        if not re.search(r"could not convert|float\(\) argument", str(error)):
            raise
        raise ValueError(f"sample_weight must hold numbers, however: {error}.") from None
    if not weight.any():
        raise ValueError("At least one sample weight must be positive, however: all of them are zero.")
    with np.errstate(over="ignore"):
        return np.asarray(weight if np.isfinite(weight.sum()) else weight / weight.max())


def read_validation(X: Any, y: Any, sample_weight: Any, eval_set: Any) -> tuple[Any, Any, Any] | None:
    """Return table, target and weights of the rows for validation; None if none are given.

    Raises:
        ValueError: Only a part of them, both ways at once, or several sets.
    """
    if eval_set is not None:
        if not (X is None and y is None):
            raise ValueError("Pass either eval_set or X_val and y_val, however: both are given.")
        if not isinstance(eval_set, tuple | list):
            raise ValueError(f"eval_set must be one pair (X_val, y_val), however: {eval_set=}.")
        pairs = [eval_set] if isinstance(eval_set, tuple) and len(eval_set) == 2 else list(eval_set)
        if len(pairs) != 1 or len(pairs[0]) != 2:
            raise ValueError(f"eval_set must be one pair (X_val, y_val), however: it has {len(pairs)} parts.")
        X, y = pairs[0]
    if X is None and y is None and sample_weight is None:
        return None
    if X is None or y is None:
        missing = "X_val" if X is None else "y_val"
        raise ValueError(f"X_val and y_val belong together, however: {missing} is missing.")
    return X, y, sample_weight


def read_class_weight(class_weight: Any, labels: NDArray[Any]) -> Matrix:
    """Return the weight of each row by its class, shape (n_rows,).

    Raises:
        ValueError: A weight that is negative or no number, of no class, or for a target of several labels.
    """
    if class_weight is None:
        return np.ones(len(labels))
    if labels.ndim == 2:
        raise ValueError(
            f"class_weight must be None for several labels at once, however: {class_weight=}. "
            "Use sample_weight."
        )
    if isinstance(class_weight, Mapping):
        classes = np.unique(labels).tolist()
        strange = [label for label in class_weight if label not in classes]
        if strange and not all(label in class_weight for label in classes):
            raise ValueError(
                f"class_weight must name classes of y {classes}, however: {strange[0]!r} is none."
            )
        for label, weight in class_weight.items():
            if not (isinstance(weight, Real) and 0 <= float(weight) < np.inf):
                raise ValueError(
                    f"class_weight must hold finite numbers of at least 0, however: {label!r} has {weight!r}."
                )
    return np.asarray(compute_sample_weight(class_weight, labels))


def split_rows(
    strata: NDArray[np.integer], fraction: float, random: np.random.RandomState
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Hold out a fraction of the rows at random, the same of each stratum.

    The first row of a stratum always stays, so that training sees every class.

    Args:
        strata: Number of the stratum of each row, shape (n_rows,).
        fraction: Fraction of the rows to hold out, between 0 and 1.
        random: Source of the random order.

    Returns:
        The rows that stay, and the rows held out, possibly none.
    """
    order = np.lexsort((random.permutation(len(strata)), strata))
    whole = np.floor(np.arange(len(strata) + 1) * fraction)
    held = np.diff(whole) > 0
    held[np.unique(strata[order], return_index=True)[1]] = False
    return np.sort(order[~held]), np.sort(order[held])
