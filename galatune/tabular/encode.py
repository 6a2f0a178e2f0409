"""Encode a table of numbers, text, booleans and categories as a matrix of well-scaled numbers.

The dtype of a column decides how it is encoded, once, when the encoder is fitted: numbers are centred by
their median and divided by their interquartile range, everything else is one-hot. The encoder is frozen.
Fitting it weighs rows, so that a row of weight 2 counts as two rows.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["LevelColumn", "NumberColumn", "Table", "TableEncoder"]

Matrix: TypeAlias = NDArray[np.float64]
Series: TypeAlias = "pd.Series[Any]"
Table: TypeAlias = Matrix | pd.DataFrame

CLIP = 3.0
"""Scaled numbers saturate from here on, in units of the interquartile range."""

MAX_LEVELS = 128
"""Most one-hot columns per feature, for its most frequent levels; other levels are encoded as zeros."""


@dataclass(frozen=True)
class NumberColumn:
    """How one numeric column is encoded.

    Attributes:
        centre: Median of the values seen, which also replaces missing values.
        scale: Factor after centring; 0 for a constant column.
        indicator: Whether values were missing, so that a 0/1 column marks them.
    """

    centre: float
    scale: float
    indicator: bool

    @classmethod
    def fit(cls, values: Matrix, weight: Matrix) -> NumberColumn:
        """Learn centre and scale from values of shape (n_rows,) with weights of the same shape."""
        seen = ~np.isnan(values)
        indicator = not bool(seen.all())
        if not seen.any():
            return cls(0.0, 0.0, indicator)
        lowest, low, centre, high, highest = _quantiles(values[seen], weight[seen])
        width = high - low if high > low else (highest - lowest) / 2
        with np.errstate(over="ignore"):
            scale = float(1 / width) if width > 0 else 0.0
        return cls(float(centre), scale if np.isfinite(scale) else 0.0, indicator)

    def encode(self, values: Matrix) -> Matrix:
        """Return shape (n_rows, 1), or (n_rows, 2) with the indicator of missing values."""
        missing = np.isnan(values)
        scaled = np.where(missing, 0.0, (values - self.centre) * self.scale)
        clipped = scaled / np.sqrt(1 + (scaled / CLIP) ** 2)
        return np.stack([clipped, missing.astype(float)] if self.indicator else [clipped], axis=1)


@dataclass(frozen=True)
class LevelColumn:
    """How one column of levels is encoded.

    Attributes:
        levels: The levels that get a column, most frequent first.
        indicator: Whether values were missing, so that one more column marks them.
    """

    levels: tuple[Hashable, ...]
    indicator: bool

    @classmethod
    def fit(cls, values: Series, weight: Matrix) -> LevelColumn:
        """Learn the levels of values of shape (n_rows,) with weights of the same shape."""
        codes, found = pd.factorize(values)
        seen = codes >= 0
        count = np.bincount(codes[seen], weight[seen], minlength=len(found))
        order = sorted(range(len(found)), key=lambda code: (-count[code], str(found[code])))
        return cls(tuple(found[code] for code in order[:MAX_LEVELS]), not bool(seen.all()))

    def encode(self, values: Series) -> Matrix:
        """Return shape (n_rows, n_levels), one column more with the indicator; unseen levels are zeros."""
        code = pd.Index(self.levels, dtype=object).get_indexer(pd.Index(values, dtype=object))
        missing = values.isna().to_numpy(dtype=bool)
        code[missing] = len(self.levels)
        width = len(self.levels) + self.indicator
        onehot = np.zeros((len(values), width))
        row = np.flatnonzero((code >= 0) & (code < width))
        onehot[row, code[row]] = 1.0
        return onehot


@dataclass(frozen=True)
class TableEncoder:
    """The encoding of a whole table, fixed once fitted.

    Attributes:
        columns: One entry per feature, in the order of the table.

    Example:
        >>> table = pd.DataFrame({"age": [20.0, 30.0, 40.0], "sex": ["f", "m", None]})
        >>> encoder = TableEncoder.fit(table, np.ones(3))
        >>> encoder.encode(table).round(2)
        array([[-0.49,  1.  ,  0.  ,  0.  ],
               [ 0.  ,  0.  ,  1.  ,  0.  ],
               [ 0.49,  0.  ,  0.  ,  1.  ]])
    """

    columns: tuple[NumberColumn | LevelColumn, ...]

    @classmethod
    def fit(cls, table: Table, weight: Matrix) -> TableEncoder:
        """Decide by dtype what each column is, and learn its scale or its levels.

        Args:
            table: Array of shape (n_rows, n_features), all numeric, or a data frame.
            weight: Weight of each row, shape (n_rows,), positive.

        Raises:
            ValueError: A column is neither numbers, text, booleans nor categories.
        """
        return cls(tuple(_fit_column(*column, weight) for column in _columns(table)))

    def encode(self, table: Table) -> Matrix:
        """Return the table as numbers, shape (n_rows, n_inputs), n_inputs as `width` says.

        Raises:
            ValueError: A column that held numbers when fitted holds something else now.
        """
        if not isinstance(table, pd.DataFrame) and any(isinstance(c, LevelColumn) for c in self.columns):
            raise ValueError(
                "A model fitted on text, booleans or categories needs a data frame with the same columns, "
                f"however: X is a {type(table).__name__} of dtype {table.dtype}."
            )
        parts = [
            column.encode(_numbers(name, values))
            if isinstance(column, NumberColumn)
            else column.encode(values)
            for column, (name, values) in zip(self.columns, _columns(table), strict=True)
        ]
        return np.concatenate(parts, axis=1)


def _columns(table: Table) -> list[tuple[Hashable, Series]]:
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
    return [(name, frame.iloc[:, position]) for position, name in enumerate(frame.columns)]


def _fit_column(name: Hashable, values: Series, weight: Matrix) -> NumberColumn | LevelColumn:
    values = values.infer_objects()
    dtype = values.dtype
    if pd.api.types.is_bool_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype | pd.StringDtype):
        return LevelColumn.fit(values, weight)
    if pd.api.types.is_numeric_dtype(dtype):
        return NumberColumn.fit(_numbers(name, values), weight)
    if pd.api.types.is_object_dtype(dtype):
        return LevelColumn.fit(values, weight)
    raise ValueError(
        f"A column must hold numbers, text, booleans or categories, however: column {name!r} has "
        f"dtype {dtype}. Turn it into one of them, or leave it out."
    )


def _numbers(name: Hashable, values: Series) -> Matrix:
    try:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Column {name!r} must hold numbers, as it did in fit, however: {error}.") from None
    if np.isinf(numbers).any():
        raise ValueError(f"Input X contains infinity in column {name!r}. Replace it, NaN is understood.")
    return numbers


def _quantiles(values: Matrix, weight: Matrix) -> Matrix:
    """Return minimum, quartiles and maximum; a value of weight 2 counts as two values."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order]) / weight.sum()
    position = np.searchsorted(reached, np.array([0.0, 0.25, 0.5, 0.75, 1.0]) - 1e-12)
    return np.asarray(values[order][position.clip(max=len(values) - 1)])
