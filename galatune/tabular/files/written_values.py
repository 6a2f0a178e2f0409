"""Dates and numbers that a CSV file holds as text: 31.1.2024, 1,234.50, 20 %."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from galatune.formatting import listed, printable

__all__ = ["with_dates", "with_numbers"]

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
STYLES = tuple(
    (
        point,
        re.compile(GROUPED.format(marks=marks, point=re.escape(point)) + rf"([{point}]\d*)?([eE][-+]?\d+)?"),
    )
    for point, marks in ((".", ","), (",", "."))
)
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


def with_numbers(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read text that is numbers in another way of writing, and say of which columns.

    A column is read so if all of its values are numbers that are written alike, or missing.

    Example:
        >>> frame, notes = with_numbers(pd.DataFrame({"cost": ["$1,200.50", "$3", "?"]}))
        >>> frame["cost"].tolist()
        [1200.5, 3.0, nan]
        >>> notes
        ("Text such as '$1,200.50' was read as numbers, '?' as missing, in column: cost.",)
    """
    read: dict[str, Any] = {}
    example, missing = "", set[str]()
    for name, known in _texts(frame, lambda text: text.strip() in MISSING or AFFIXED.fullmatch(text.strip())):
        texts = known.unique().tolist()
        numbers = _numbers([text.strip() for text in texts])
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


def _texts(frame: pd.DataFrame, likely: Callable[[str], object]) -> Iterator[tuple[str, Any]]:
    """Return name and values of each column of text, if all of the first ones are likely."""
    for name, column in frame.items():
        known = column.dropna()
        if len(known) and pd.api.types.is_string_dtype(known) and all(map(likely, known.iloc[:FIRST])):
            yield str(name), known


def _numbers(texts: list[str]) -> list[float] | None:
    """Return the numbers that texts are, NaN if missing; None if one is no number or is written otherwise."""
    parts: list[tuple[str, str]] = []
    unit = None
    for text in texts:
        match = None if text in MISSING else AFFIXED.fullmatch(text)
        if match is None and text not in MISSING:
            return None
        if match is not None:
            unit = unit or match.group(1, 3)
            if match.group(1, 3) != unit:
                return None
        parts.append((text, "" if match is None else match.group(2)))
    shown = [number for _, number in parts if number]
    for point, pattern in STYLES if shown else ():
        if all(pattern.fullmatch(number) for number in shown):
            digits = (re.sub(rf"[^-+\d{point}eE]", "", number).replace(point, ".") for _, number in parts)
            return [float(number or "nan") for number in digits]
    return None
