"""Tables of other libraries as pandas data frames or numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

__all__ = ["as_dense", "as_table"]

MOST_DENSE = 2**32
"""Bytes of the largest sparse matrix, made dense, that is taken: 4 GiB."""


def as_table(X: Any, name: str = "X") -> Any:
    """Return a frame of polars, pyarrow or another library as a pandas one, anything else as it is.

    A library is asked by its own `to_pandas`, or through the Arrow stream that most of them offer. A masked
    array becomes one with NaN.

    Args:
        X: What was passed.
        name: Name of the argument, for errors.

    Raises:
        ValueError: X is text, a dictionary, or a query whose rows are not there yet.

    Example:
        >>> import pyarrow
        >>> as_table(pyarrow.table({"city": ["Oslo", None]})).shape
        (2, 1)
    """
    if isinstance(X, np.ma.MaskedArray):
        masked: Any = X
        return masked.astype(float).filled(np.nan) if X.dtype.kind in "biuf" else masked.filled()
    if X is None or isinstance(X, pd.DataFrame | pd.Series | np.ndarray | list | tuple) or sparse.issparse(X):
        return X
    if isinstance(X, str):
        raise ValueError(f"{name} must hold rows, however: it is the text {X!r}. Read the file first.")
    if isinstance(X, Mapping | Set | Iterator):
        raise ValueError(
            f"{name} must be a table, however: it is a {type(X).__name__}. Pass pandas.DataFrame({name})."
        )
    for method in ("to_pandas", "toPandas"):
        if callable(getattr(X, method, None)):
            return getattr(X, method)()
    if hasattr(X, "collect"):
        raise ValueError(f"{name} must hold rows, however: it is a {type(X).__name__}. Call collect() first.")
    if hasattr(X, "__arrow_c_stream__"):
        import pyarrow as pa  # mlflow brings it

        return pa.table(X).to_pandas()
    return X


def as_dense(X: Any) -> Any:
    """Return a sparse matrix as an array of shape (n_rows, n_features), anything else as it is.

    Raises:
        ValueError: The array would be too large.
    """
    if not sparse.issparse(X):
        return X
    matrix: Any = X
    rows, columns = matrix.shape
    if 8 * rows * columns > MOST_DENSE:
        raise ValueError(
            f"A sparse X is made dense, which must not take more than {MOST_DENSE / 2**30:.3g} GiB, however: "
            f"X.shape={matrix.shape}. Reduce its columns, for example with TruncatedSVD or SelectKBest."
        )
    return matrix.toarray()
