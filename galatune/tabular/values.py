"""What a column of a table holds, and its values as numbers or as the names of levels.

A table that is read again has other types than before: a category of integers comes back as text, an integer
with gaps as a float, a boolean as "True". A level therefore has a name, which is text, and a number if its
name is one; a value is found by its name, then by its number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "Kind",
    "Series",
    "factorized",
    "kind_of",
    "level_name",
    "number_of",
    "numbers_in",
    "share_of_numbers",
]

Series: TypeAlias = "pd.Series[Any]"

Kind: TypeAlias = Literal["numbers", "text", "levels"]
"""Text may turn out to be numbers; levels stay levels, whatever their names are."""

MISSING_WORDS = frozenset({"", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"})
"""Words that mean a missing number, as `pandas.read_csv` has them."""

_REFUSED = frozenset({"datetime", "datetime64", "date", "time", "timedelta", "timedelta64", "period"})


def kind_of(name: Hashable, values: Series) -> Kind:
    """Tell what a column holds.

    Args:
        name: Name of the column, for the error.
        values: Shape (n_rows,).

    Raises:
        ValueError: It holds dates, complex numbers, lists or other objects.

    Example:
        >>> kind_of("age", pd.Series([1, None, 2.5], dtype=object))
        'numbers'
        >>> kind_of("city", pd.Series(["Oslo", None]))
        'text'
    """
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return "levels"
    if pd.api.types.is_complex_dtype(dtype):
        raise _refusal(name, f"has dtype {dtype}")
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_timedelta64_dtype(dtype):
        return "numbers"
    if isinstance(dtype, pd.StringDtype):
        return "text"
    if _is_object(dtype):
        return _kind_of_objects(name, values.astype(object))
    raise _refusal(name, f"has dtype {dtype}")


def _is_object(dtype: Any) -> bool:
    arrow = isinstance(dtype, pd.ArrowDtype) and dtype.kind in "OU"
    return bool(arrow or pd.api.types.is_object_dtype(dtype))


def _kind_of_objects(name: Hashable, values: Series) -> Kind:
    what = pd.api.types.infer_dtype(values, skipna=True)
    if what in ("integer", "floating", "mixed-integer-float", "decimal"):
        return "numbers"
    if what == "boolean":
        return "levels"
    if what == "string":
        return "text"
    if what in _REFUSED:
        raise _refusal(name, f"holds {what.removesuffix('64')} objects")
    for value in values.dropna():
        many = isinstance(value, Iterable | complex | np.complexfloating)
        type_of_value: Any = type(value)
        nameless = (type_of_value.__str__, type_of_value.__repr__) == (object.__str__, object.__repr__)
        if nameless or (many and not isinstance(value, str | bytes)):
            raise _refusal(name, f"holds a {type(value).__name__}")
    return "text"


def factorized(values: Series) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return the number of each value, -1 if missing, and the values that differ.

    Raises:
        ValueError: They are lists or others that cannot be looked up.

    Example:
        >>> factorized(pd.Series([7, 7, 8]))
        (array([0, 0, 1]), array([7, 8]))
    """
    try:
        codes, found = pd.factorize(values)
    except TypeError:
        kind = next(type(value).__name__ for value in values if not isinstance(value, Hashable))
        raise _refusal(values.name, f"holds a {kind}") from None
    return codes, np.asarray(found)


def _refusal(name: Hashable, fact: str) -> ValueError:
    return ValueError(
        f"A column must hold numbers, text, booleans or categories, however: column {name!r} {fact}. "
        "Turn it into one of them, or leave it out."
    )


def level_name(value: Any) -> str:
    """Return the name of a level.

    Example:
        >>> [level_name(value) for value in ("Oslo", 3, 3.0, True, "TRUE", 0.5)]
        ['Oslo', '3', '3', 'true', 'true', '0.5']
    """
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    name = str(value)
    return name.lower() if name.lower() in ("true", "false") else name


def number_of(name: str) -> float | None:
    """Return the number that a name is, NaN for a word that means missing, None for any other text.

    Example:
        >>> [number_of(name) for name in ("3", " 3.50", "1e3", "true", "NA", "Oslo")]
        [3.0, 3.5, 1000.0, 1.0, nan, None]
    """
    if name in MISSING_WORDS:
        return math.nan
    if name in ("true", "false"):
        return float(name == "true")
    try:
        return None if "_" in name else float(name)
    except ValueError:
        return None


def share_of_numbers(values: Sequence[Any]) -> tuple[float, Any]:
    """Return which share of the values is numbers, and the first that is none.

    Text with a leading zero, such as "0150", is a code, and one of them makes all of them codes.

    Example:
        >>> share_of_numbers(["1.5", "2", "?", "NA"])
        (0.75, '?')
        >>> share_of_numbers(["8001", "0150"])
        (0.0, '0150')
    """
    names = [level_name(value) for value in values]
    code = next((name for name in names if re.fullmatch(r"0\d+", name.strip())), None)
    if code is not None:
        return 0.0, code
    others = [name for name in names if name in ("true", "false") or number_of(name) is None]
    return 1 - len(others) / len(names), others[0] if others else None


def numbers_in(name: Hashable, values: Series) -> NDArray[np.float64]:
    """Return the values of a column of numbers as floats, shape (n_rows,), NaN if missing.

    Text and categories that are numbers are read as such.

    Raises:
        ValueError: A value is no number, or infinite.
    """
    if kind_of(name, values) == "numbers" or pd.api.types.is_bool_dtype(values.dtype):
        try:
            numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        except OverflowError:
            numbers = np.array([np.inf])  # an integer that no float can hold
    else:
        codes, found = factorized(values)
        parsed = [number_of(level_name(value)) for value in found]
        if None in parsed:
            wrong = level_name(found[parsed.index(None)])
            raise ValueError(
                f"Column {name!r} must hold numbers, as it did in fit, however: {wrong!r} is none. "
                "Turn it into numbers or into missing values."
            )
        numbers = np.array([*parsed, np.nan], dtype=np.float64)[codes]
    if np.isinf(numbers).any():
        raise ValueError(f"Input X contains infinity in column {name!r}. Replace it, NaN is understood.")
    return np.asarray(numbers)
