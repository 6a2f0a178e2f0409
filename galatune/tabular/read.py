"""Check what a user passes to fit and predict, after scikit-learn's contract."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from galatune.tabular.encode import Matrix, Table

__all__ = ["read_classes", "read_table", "read_values", "read_weight", "split_rows"]


def read_table(estimator: BaseEstimator, X: object, *, reset: bool) -> Table:
    """Return X as a data frame if it is one, else as numbers of shape (n_rows, n_features).

    Args:
        estimator: Its `n_features_in_` and `feature_names_in_` are set in fit and compared in predict.
        X: What was passed.
        reset: True in fit, False in predict.

    Raises:
        ValueError: Not a table, empty, infinite, or not the columns of fit.
    """
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


def _read_array(estimator: BaseEstimator, X: object, *, reset: bool) -> Matrix:
    try:
        array = validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise ValueError(
            f"An array must hold numbers, however: {error}. Pass a data frame: its text columns are encoded."
        ) from None
    return np.asarray(array)


def read_classes(y: object) -> NDArray[np.generic]:
    """Return class labels, shape (n_rows,); a column is flattened with scikit-learn's warning."""
    labels = np.asarray(column_or_1d(y, warn=True))
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return labels


def read_values(y: object) -> Matrix:
    """Return the numbers to predict, shape (n_rows,) or (n_rows, n_outputs)."""
    return np.asarray(check_array(y, ensure_2d=False, dtype=np.float64, input_name="y"))


def read_weight(sample_weight: ArrayLike | None, table: Table) -> Matrix:
    """Return one weight per row, shape (n_rows,); ones if none are given.

    Raises:
        ValueError: Another shape, a negative weight, or nothing but zeros.
    """
    weight = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
    if not weight.any():
        raise ValueError("At least one sample weight must be positive, however: all of them are zero.")
    return np.asarray(weight)


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
