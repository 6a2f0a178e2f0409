"""Encode a table of numbers, text, booleans and categories as well-scaled numbers and codes.

The dtype of a column decides how it is encoded, once, when the encoder is fitted: numbers are centred by
their median and divided by their interquartile range; few levels are one-hot, many are codes. The encoder is
frozen. Fitting it weighs rows, so that a row of weight 2 counts as two rows.

Text that is all numbers is read as numbers if there are many of them; few are levels, since levels hold more.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning

from galatune.tabular.values import Series, kind_of, level_name, number_of, numbers_in, share_of_numbers
from galatune.tabular.warn import warn

__all__ = [
    "Encoded",
    "LevelColumn",
    "Matrix",
    "NumberColumn",
    "Table",
    "TableEncoder",
    "Unknown",
    "one_hot",
    "weighted_quantiles",
]

Matrix: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]
Table: TypeAlias = Matrix | pd.DataFrame

QUARTERS = 4

CLIP = 3.0
"""Scaled numbers saturate from here on, in units of the interquartile range."""

GRID = 2.0**22
"""Encoded numbers are multiples of 1 / GRID, which float32 holds: rounding in another unit changes none."""

MOST_ONE_HOT = 9
"""A column with more levels than this is encoded as codes."""

MAX_LEVELS = 128
"""Most levels of a column, its most frequent ones; any other level has code 0."""

OTHER, NO_CODE = -2, -3
"""Code of a level that is not told apart, and a code that no value has."""

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
        lowest, low, centre, high, highest = weighted_quantiles(values[seen], weight[seen], QUARTERS)
        half = (
            (high / 2 - low / 2) if high > low else (highest / 2 - lowest / 2) / 2
        )  # halves cannot overflow
        with np.errstate(over="ignore"):
            scale = float(0.5 / half) if half > 0 else 0.0
        return cls(float(centre), scale if np.isfinite(scale) else 0.0, indicator)

    def encode(self, values: Matrix) -> Matrix:
        """Return shape (n_rows, 1), or (n_rows, 2) with the indicator of missing values."""
        missing = np.isnan(values)
        with np.errstate(over="ignore"):
            scaled = (np.where(missing, self.centre, values) / 2 - self.centre / 2) * self.scale * 2
        scaled = np.clip(scaled, -1e100, 1e100)
        clipped = np.rint(scaled / np.hypot(1, scaled / CLIP) * GRID) / GRID
        return np.stack([clipped, missing.astype(float)] if self.indicator else [clipped], axis=1)


@dataclass(frozen=True)
class LevelColumn:
    """How one column of levels is encoded.

    Attributes:
        levels: Names of the levels that are told apart, most frequent first.
        others: Names of those that fit saw too, which are too rare or too many; they count as unknown.
        indicator: Whether values were missing, so that a one-hot column marks them.
    """

    levels: tuple[str, ...]
    others: tuple[str, ...]
    indicator: bool

    @property
    def is_one_hot(self) -> bool:
        """Whether the levels are few enough to be one-hot."""
        return len(self.levels) <= MOST_ONE_HOT

    @classmethod
    def fit(cls, values: Series, weight: Matrix) -> LevelColumn:
        """Learn the levels of values of shape (n_rows,) with weights of the same shape, not all of them 0."""
        codes, found = pd.factorize(values)
        seen = codes >= 0
        count: dict[str, float] = {}
        totals = np.bincount(codes[seen], weight[seen], len(found))
        for name, total in zip(map(level_name, np.asarray(found)), totals, strict=True):
            count[name] = count.get(name, 0.0) + total
        order = sorted((name for name in count if count[name] > 0), key=lambda name: (-count[name], name))
        if len(order) > MOST_ONE_HOT:  # what comes once teaches what code 0 means
            order = [name for name in order if count[name] > 1.5 * weight[weight > 0].min()]
        levels = tuple(order[:MAX_LEVELS])
        return cls(levels, tuple(sorted(set(count) - set(levels))), not bool(seen[weight > 0].all()))

    def codes(self, values: Series) -> Codes:
        """Return the number of each value's level, shape (n_rows,).

        Levels count from 1; a missing value has 0, one that fit did not see -1, and one of `others` -2.
        """
        codes, found = pd.factorize(values)
        names = (*self.levels, *self.others)
        by_name = {name: code for code, name in enumerate(names, start=1)}
        by_number = _by_number(names)
        code = np.array([_find(level_name(value), by_name, by_number) for value in np.asarray(found)] + [0])
        return np.where(code > len(self.levels), OTHER, code).astype(np.int64)[codes]

    def encode(self, values: Series) -> Matrix:
        """Return shape (n_rows, n_levels), one column more with the indicator; unseen levels are zeros.

        Without any level there is one column of zeros.
        """
        codes = self.codes(values)
        columns = [*range(1, len(self.levels) + 1), *([0] if self.indicator else [])] or [NO_CODE]
        return np.asarray(codes[:, None] == np.array(columns, dtype=np.int64), dtype=np.float64)


@dataclass(frozen=True)
class Unknown:
    """Values of a column that fit did not see.

    Attributes:
        name: Name of the column, its number if the table has no names.
        count: How many values are unknown.
        n_rows: Of how many rows.
        example: One of them.
    """

    name: Hashable
    count: int
    n_rows: int
    example: object

    def text(self) -> str:
        """Return one clause.

        Example:
            >>> Unknown("city", 2, 10, "Rome").text()
            "'Rome' and others like it in 2 of 10 rows of column 'city'"
        """
        where = f"{self.count} of {self.n_rows} rows of column {self.name!r}"
        return f"{self.example!r} and others like it in {where}"


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

    def encode(self, table: Table) -> Encoded:
        """Return the table as numbers and codes.

        Raises:
            ValueError: A column that held numbers when fitted holds something else now.
        """
        if not isinstance(table, pd.DataFrame) and any(isinstance(c, LevelColumn) for c in self.columns):
            raise ValueError(
                "A model fitted on text, booleans or categories needs a data frame with the same columns, "
                f"however: X is a {type(table).__name__} of dtype {table.dtype}."
            )
        numbers, codes = [np.empty((len(table), 0))], [np.empty((len(table), 0), dtype=np.int64)]
        for column, (name, values) in zip(self.columns, _columns(table), strict=True):
            if isinstance(column, NumberColumn):
                numbers.append(column.encode(numbers_in(name, values)))
            elif column.is_one_hot:
                numbers.append(column.encode(values))
            else:
                codes.append(column.codes(values).clip(min=0)[:, None])
        return Encoded(np.concatenate(numbers, axis=1), np.concatenate(codes, axis=1))

    def unknown(self, table: Table) -> Iterator[Unknown]:
        """Count the values of each column whose levels fit did not see.

        Raises:
            ValueError: A column of few levels has none of them any more: its meaning must have changed.
        """
        for column, (name, values) in zip(self.columns, _columns(table), strict=True):
            if isinstance(column, NumberColumn):
                continue
            codes = column.codes(values)
            strange = values[codes == -1]
            if not len(strange):
                continue
            known = (codes > 0) | (codes == OTHER)
            if column.levels and column.is_one_hot and not known.any() and strange.nunique() > 1:
                raise ValueError(
                    f"Column {name!r} must hold categories as it did in fit, such as {column.levels[0]!r}, "
                    f"however: it holds none of them, but {strange.iloc[0]!r} and others like it."
                )
            yield Unknown(name, len(strange), len(values), strange.iloc[0])


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


def _by_number(levels: Sequence[str]) -> dict[float, int]:
    """Return the code of each level whose name is a number that no other level has."""
    codes: dict[float, list[int]] = {}
    for code, name in enumerate(levels, start=1):
        number = number_of(name)
        if number is not None and not np.isnan(number):
            codes.setdefault(number, []).append(code)
    return {number: found[0] for number, found in codes.items() if len(found) == 1}


def _find(name: str, by_name: dict[str, int], by_number: dict[float, int]) -> int:
    if name in by_name:
        return by_name[name]
    number = number_of(name)
    return -1 if number is None else by_number.get(number, -1)


def weighted_quantiles(values: Matrix, weight: Matrix, parts: int) -> Matrix:
    """Return the ends of so many parts of equal weight, shape (parts + 1,), from the minimum to the maximum.

    A value of weight 2 counts as two values.

    Example:
        >>> weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.ones(3), 2)
        array([1., 2., 3.])
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order]) / weight.sum()
    position = np.searchsorted(reached, np.linspace(0, 1, parts + 1) - 1e-12)
    return np.asarray(values[order][position.clip(max=len(values) - 1)])
