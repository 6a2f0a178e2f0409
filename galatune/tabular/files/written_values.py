"""Dates and numbers that a CSV file holds as text: 31.1.2024, 1,234.50, 20 %."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from galatune.formatting import listed, printable

__all__ = ["has_decimal_commas", "with_dates", "with_numbers"]

DATE = (
    r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/]\d{1,2}[-/]\d{2,4}|\d{1,2}\.\d{1,2}\.\d{4})"
    r"([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|[AP]M|[+-]\d{2}:?\d{2})?)?\s*"
)

MISSING = frozenset({"?", "-", "--", "."})
"""Marks of a missing number, beside the words that pandas knows."""

AFFIXED = re.compile(r"([$€£¥%]?)\s*([-+]?[\d.,][-+\d.,eE'\u2019\s]*?)\s*([$€£¥%]?)")
"""A number with a unit before or behind it."""

GROUPED = (
    r"[-+]?(\d+|[1-9]\d{{0,2}}(?P<mark>[{marks}'\u2019 \xa0\u202f])\d{{3}}((?P=mark)\d{{3}})*|(?={point}\d))"
)
STYLES = {
    point: re.compile(
        GROUPED.format(marks=marks, point=re.escape(point)) + rf"([{point}]\d*)?([eE][-+]?\d+)?"
    )
    for point, marks in ((".", ","), (",", "."))
}
"""Decimal marks, and numbers that have them, with marks between groups of three digits or without."""


FIRST = 100
"""Values that are looked at before all are."""


def with_dates(frame: pd.DataFrame) -> pd.DataFrame:
    """Mark columns of dates as such: as text they would be categories that never come again."""
    return frame.assign(**dict(_dates(frame)))


def _dates(frame: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    for name, known in _texts(frame, lambda text: re.fullmatch(DATE, text)):
        if known.str.fullmatch(DATE).all():
            dates = pd.to_datetime(frame[name], errors="coerce", format="mixed", utc=True)
            yield name, dates.dt.tz_localize(None)


def with_numbers(frame: pd.DataFrame, decimal: str = ".") -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read text that is numbers in another way of writing, and say of which columns.

    A column is read so if all of its values are numbers that are written alike, or missing.

    Args:
        frame: The table.
        decimal: The decimal mark of the file, which decides what 1.234 and 1,234 are.

    Example:
        >>> frame, notes = with_numbers(pd.DataFrame({"cost": ["$1,200.50", "$3", "?"]}))
        >>> frame["cost"].tolist()
        [1200.5, 3.0, nan]
        >>> notes
        ("Text such as '$1,200.50' was read as numbers, '?' as missing, in column: cost.",)
    """
    read: dict[str, Any] = {}
    example, missing = "", set[str]()
    for name, texts in _likely_numbers(frame):
        numbers = _numbers([text.strip() for text in texts], decimal)[1]
        if numbers is not None:
            read[name] = frame[name].map(dict(zip(texts, numbers, strict=True))).astype(float)
            missing |= {text.strip() for text in texts} & MISSING
            example = example or max((text for text in texts if text.strip() not in MISSING), key=len)
    if not read:
        return frame, ()
    where = f"{'column' if len(read) == 1 else 'columns'}: {listed(list(read), most=10)}"
    marks = f", {' and '.join(map(repr, sorted(missing)))} as missing" if missing else ""
    note = f"Text such as '{printable(example)}' was read as numbers{marks}, in {where}."
    return frame.assign(**read), (note,)


def has_decimal_commas(frame: pd.DataFrame) -> bool:
    """Tell whether a column of text is numbers if the comma is the decimal mark, and only then.

    Example:
        >>> [has_decimal_commas(pd.DataFrame({"n": [text]})) for text in ("1.234,5", "1,234", "1.234")]
        [True, False, False]
    """
    columns = (_numbers([text.strip() for text in texts], ".") for _, texts in _likely_numbers(frame))
    return any(point == "," for point, _ in columns)


def _likely_numbers(frame: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Return name and different values of each column of text that may be numbers."""
    for name, known in _texts(frame, lambda text: text.strip() in MISSING or AFFIXED.fullmatch(text.strip())):
        yield name, known.unique().tolist()


def _texts(frame: pd.DataFrame, likely: Callable[[str], object]) -> Iterator[tuple[str, Any]]:
    """Return name and values of each column of text, if all of the first ones are likely."""
    for name, column in frame.items():
        known = column.dropna()
        if len(known) and pd.api.types.is_string_dtype(known) and all(map(likely, known.iloc[:FIRST])):
            yield str(name), known


def _numbers(texts: list[str], decimal: str) -> tuple[str, list[float]] | tuple[None, None]:
    """Return the decimal mark of texts and the numbers that they are, NaN if missing.

    None if one is no number or is written otherwise than others.

    Args:
        texts: Different ones.
        decimal: The decimal mark that is tried first.
    """
    parts: list[str] = []
    unit = None
    for text in texts:
        match = None if text in MISSING else AFFIXED.fullmatch(text)
        if match is None and text not in MISSING:
            return None, None
        if match is not None:
            unit = unit or match.group(1, 3)
            if match.group(1, 3) != unit:
                return None, None
        parts.append("" if match is None else match.group(2))
    shown = [number for number in parts if number]
    for point in sorted(STYLES, key=decimal.__ne__) if shown else ():
        if all(STYLES[point].fullmatch(number) for number in shown):
            digits = (re.sub(rf"[^-+\d{point}eE]", "", number).replace(point, ".") for number in parts)
            return point, [float(number or "nan") for number in digits]
    return None, None
