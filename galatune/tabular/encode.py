"""Encode a table of numbers, text, booleans and categories as well-scaled numbers and codes.

The dtype of a column decides how it is encoded, once, when the encoder is fitted: numbers are centred by
their median and divided by their interquartile range; few levels are one-hot, many are codes. The encoder is
frozen. Fitting it weighs rows, so that a row of weight 2 counts as two rows.

Text that is all numbers is read as numbers if there are many of them; few are levels, since levels hold more.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning

from galatune.tabular.columns import MOST_ONE_HOT, OTHER, Codes, LevelColumn, Matrix, NumberColumn
from galatune.tabular.values import Series, kind_of, level_name, numbers_in, share_of_numbers
from galatune.tabular.warn import warn

__all__ = ["Coded", "Encoded", "Table", "TableEncoder", "Unknown", "one_hot"]

Table: TypeAlias = Matrix | pd.DataFrame

ALMOST_NUMBERS = 0.9
"""From this share of numbers on, a column of text is probably meant to be numbers."""


@dataclass(frozen=True)
class Encoded:
    """An encoded table.

    Attributes:
        numbers: Shape (n_rows, n_numbers): scaled numbers, one-hot levels and 0/1 marks of missing values.
        codes: Shape (n_rows, n_categoricals): the level of each column with many, 0 if unknown or missing.
    """

    numbers: Matrix
    codes: Codes


@dataclass(frozen=True)
class Unknown:
    """Values of a column that fit did not see.

    Attributes:
        name: Name of the column, its number if the table has no names.
        count: How many values are unknown.
        n_rows: Of how many rows.
        example: The name of one of them.
    """

    name: Hashable
    count: int
    n_rows: int
    example: str

    def text(self) -> str:
        """Return one clause.

        Example:
            >>> Unknown("city", 2, 10, "Rome").text()
            "'Rome' and others like it in 2 of 10 rows of column 'city'"
        """
        where = f"{self.count} of {self.n_rows} rows of column {self.name!r}"
        return f"{self.example!r} and others like it in {where}"


@dataclass(frozen=True)
class Coded:
    """A table whose values were looked up, before they are scaled or one-hot.

    Attributes:
        columns: One per feature, each (n_rows,): numbers, NaN if missing, or codes of `LevelColumn.codes`.
        unknown: The values that fit did not see, at most one entry per column.
    """

    columns: tuple[NDArray[Any], ...]
    unknown: tuple[Unknown, ...]

    def __len__(self) -> int:
        return len(self.columns[0])

    def take(self, rows: slice) -> Coded:
        """Return some of the rows."""
        return Coded(tuple(column[rows] for column in self.columns), self.unknown)


@dataclass(frozen=True)
class TableEncoder:
    """The encoding of a whole table, fixed once fitted.

    Attributes:
        columns: One entry per feature, in the order of the table.

    Example:
        >>> table = pd.DataFrame({"age": [20.0, 30.0, 40.0], "sex": ["f", "m", None]})
        >>> encoder = TableEncoder.fit(table, np.ones(3))
        >>> encoder.encode(table).numbers.round(2)
        array([[-0.49,  1.  ,  0.  ,  0.  ],
               [ 0.  ,  0.  ,  1.  ,  0.  ],
               [ 0.49,  0.  ,  0.  ,  1.  ]])
        >>> encoder.cardinalities
        ()
    """

    columns: tuple[NumberColumn | LevelColumn, ...]

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each column of `Encoded.codes`: its levels, and 0 for any other value."""
        return tuple(
            len(column.levels) + 1
            for column in self.columns
            if isinstance(column, LevelColumn) and not column.is_one_hot
        )

    @classmethod
    def fit(cls, table: Table, weight: Matrix) -> TableEncoder:
        """Decide by dtype what each column is, and learn its scale or its levels.

        Args:
            table: Array of shape (n_rows, n_features), all numeric, or a data frame.
            weight: Weight of each row, shape (n_rows,). Rows of weight 0 have a say in what a column is, and
                are not learned from.

        Raises:
            ValueError: A column is neither numbers, text, booleans nor categories.
        """
        return cls(tuple(_fit_column(*column, weight) for column in _columns(table)))

    def read(self, table: Table) -> Coded:
        """Look up the values of a table, and count those that fit did not see.

        Raises:
            ValueError: A column that held numbers when fitted holds something else now, or a column of few
                levels has none of them any more: its meaning must have changed.
        """
        if not isinstance(table, pd.DataFrame) and any(isinstance(c, LevelColumn) for c in self.columns):
            raise ValueError(
                "A model fitted on text, booleans or categories needs a data frame with the same columns, "
                f"however: X is a {type(table).__name__} of dtype {table.dtype}."
            )
        columns: list[NDArray[Any]] = []
        unknown = []
        for column, (name, values) in zip(self.columns, _columns(table), strict=True):
            if isinstance(column, NumberColumn):
                columns.append(numbers_in(name, values))
                continue
            codes = column.codes(values)
            columns.append(codes)
            if (codes == -1).any():
                unknown.append(_unknown(column, name, values, codes))
        return Coded(tuple(columns), tuple(unknown))

    def encode(self, table: Table | Coded) -> Encoded:
        """Return the table as numbers and codes.

        Raises:
            ValueError: As `read` does.
        """
        coded = table if isinstance(table, Coded) else self.read(table)
        numbers, codes = [np.empty((len(coded), 0))], [np.empty((len(coded), 0), dtype=np.int64)]
        for column, values in zip(self.columns, coded.columns, strict=True):
            if isinstance(column, NumberColumn):
                numbers.append(column.encode(values))
            elif column.is_one_hot:
                numbers.append(column.one_hot(values))
            else:
                codes.append(values.clip(min=0)[:, None])
        return Encoded(np.concatenate(numbers, axis=1), np.concatenate(codes, axis=1))


def one_hot(encoded: Encoded, cardinalities: Sequence[int]) -> Matrix:
    """Return the numbers, and behind them a 0/1 column for each code but 0, shape (n_rows, n_inputs).

    Example:
        >>> one_hot(Encoded(np.array([[0.5], [0.25]]), np.array([[2], [0]])), (3,))
        array([[0.5 , 0.  , 1.  ],
               [0.25, 0.  , 0.  ]])
    """
    levels = [
        encoded.codes[:, [column]] == np.arange(1, cardinality)
        for column, cardinality in enumerate(cardinalities)
    ]
    return np.concatenate([encoded.numbers, *levels], axis=1)


def _unknown(column: LevelColumn, name: Hashable, values: Series, codes: Codes) -> Unknown:
    strange = values[codes == -1]
    example = level_name(strange.iloc[0])
    known = (codes > 0) | (codes == OTHER)
    if column.levels and column.is_one_hot and not known.any() and strange.nunique() > 1:
        raise ValueError(
            f"Column {name!r} must hold categories as it did in fit, such as {column.levels[0]!r}, "
            f"however: it holds none of them, but {example!r} and others like it."
        )
    return Unknown(name, len(strange), len(values), example)


def _columns(table: Table) -> list[tuple[Hashable, Series]]:
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
    return [(name, frame.iloc[:, position]) for position, name in enumerate(frame.columns)]


def _fit_column(name: Hashable, values: Series, weight: Matrix) -> NumberColumn | LevelColumn:
    kind, counted = kind_of(name, values), weight > 0
    if kind == "numbers" or (kind == "text" and _is_numbers(name, values)):
        return NumberColumn.fit(numbers_in(name, values)[counted], weight[counted])
    column = LevelColumn.fit(values, weight)
    if kind == "text" and column.others and not column.levels:
        message = "its texts are all different, so that nothing is learned from them"
        warn(f"Column {name!r}: {message}. Turn them into numbers or categories, or leave the column out.")
    return column


def _is_numbers(name: Hashable, values: Series) -> bool:
    """Tell whether text is read as numbers, and warn if it is or if it nearly is."""
    found = values.dropna().unique().tolist()
    share, other = share_of_numbers(found) if len(found) > MOST_ONE_HOT else (0.0, None)
    if share == 1:
        message = "its text is all numbers and is read as such. Make it a category to have levels instead"
        warn(f"Column {name!r}: {message}.", DataConversionWarning)
    elif share > ALMOST_NUMBERS:
        message = f"its text is nearly all numbers, but {other!r} is none, so all of it is read as categories"
        advice = "Use pandas.to_numeric with errors='coerce' to have numbers and missing values instead"
        warn(f"Column {name!r}: {message}. {advice}.", DataConversionWarning)
    return share == 1
