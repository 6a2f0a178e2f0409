"""How one column of a table is encoded: numbers by centre and scale, levels by their number.

Fitting weighs rows, so that a row of weight 2 counts as two rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from galatune.tabular.values import Series, factorized, level_name, number_of

__all__ = ["MOST_ONE_HOT", "OTHER", "Codes", "LevelColumn", "Matrix", "NumberColumn", "weighted_quantiles"]

Matrix: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]

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
        codes, found = factorized(values)
        seen = codes >= 0
        count: dict[str, float] = {}
        totals = np.bincount(codes[seen], weight[seen], len(found))
        for name, total in zip(map(level_name, found), totals, strict=True):
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
        codes, found = factorized(values)
        names = (*self.levels, *self.others)
        by_name = {name: code for code, name in enumerate(names, start=1)}
        by_number = _by_number(names)
        code = np.array([_find(level_name(value), by_name, by_number) for value in found] + [0])
        return np.where(code > len(self.levels), OTHER, code).astype(np.int64)[codes]

    def one_hot(self, codes: Codes) -> Matrix:
        """Return shape (n_rows, n_levels), one column more with the indicator; unseen levels are zeros.

        Without any level there is one column of zeros.

        Args:
            codes: From `codes`, shape (n_rows,).
        """
        columns = [*range(1, len(self.levels) + 1), *([0] if self.indicator else [])] or [NO_CODE]
        return np.asarray(codes[:, None] == np.array(columns, dtype=np.int64), dtype=np.float64)


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
