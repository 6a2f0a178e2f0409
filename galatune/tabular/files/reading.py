"""Read a table from a CSV or Parquet file; separator, encoding and decimal mark are found out."""

from __future__ import annotations

import io
import warnings
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from galatune.errors import TableError
from galatune.formatting import first_line, plural, printable
from galatune.tabular.files.unpacking import unpacked
from galatune.tabular.files.written_values import has_decimal_commas, with_dates, with_numbers
from galatune.tabular.values import number_of

__all__ = ["ReadTable", "read_file"]

SEPARATORS = (",", ";", "\t", "|")
SPACES = r"\s+"
"""The separator if there is no other, and every row has the same number of fields."""

SAMPLE_ROWS = 200
"""Rows that tell separator and decimal mark."""

PARQUET = b"PAR1"
NAMELESS = "Unnamed: "
"""What the name of a column begins with that has none in the file, as in pandas."""

WIDE = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""First bytes of a text whose characters take several bytes, and its encoding."""


@dataclass(frozen=True)
class ReadTable:
    """A table and what was found out while it was read.

    Attributes:
        frame: The rows, in the order of the file; names of columns are text.
        notes: What a reader of the results should know, a sentence each.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Format:
    """How a CSV file is written, as `pandas.read_csv` is told."""

    encoding: str
    separator: str = ","
    decimal: str = "."

    def read(self, body: bytes, **options: Any) -> pd.DataFrame:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)
            frame: Any = pd.read_csv(
                io.BytesIO(body),
                sep=self.separator,
                decimal=self.decimal,
                encoding=self.encoding,
                skipinitialspace=True,
                low_memory=False,
                **options,
            )
        return pd.DataFrame(frame)


def read_file(path: Path, text_column: str | None = None) -> ReadTable:
    """Read a table. The content decides whether it is Parquet or CSV, compressed or not.

    Args:
        path: The file; a pipe will do.
        text_column: A column in which the word None is a value like others if the column holds words: pandas
            takes it for a missing value.

    Raises:
        TableError: There is no such file, or no table in it.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise TableError(
            f"Cannot read {_shown(path)}: {error.strerror}. Name a CSV or Parquet file"
        ) from None
    try:
        body = unpacked(body)
        table = _read_parquet(body) if body.startswith(PARQUET) else _read_csv(body, text_column)
    except (ValueError, LookupError, ImportError, OSError, EOFError) as error:  # parsers' own are ValueErrors
        raise TableError(
            f"Cannot read {_shown(path)} as a table: {_reason(error)}. Save it as CSV, the names of its "
            "columns in the first line, or as Parquet"
        ) from None
    if not len(table.frame.columns):
        raise TableError(f"Cannot read {_shown(path)} as a table: it has no columns")
    return table


def _shown(path: Path) -> str:
    return repr(printable(str(path)))


def _read_parquet(body: bytes) -> ReadTable:
    frame = pd.read_parquet(io.BytesIO(body))
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    frame = frame.reset_index(named).reset_index(drop=True)
    frame.columns = pd.Index(_distinct([str(name) for name in frame.columns]))
    return ReadTable(frame)


def _read_csv(body: bytes, text_column: str | None) -> ReadTable:
    wide = next((encoding for start, encoding in WIDE.items() if body.startswith(start)), None)
    if wide is None and b"\0" in body:
        raise ValueError("it holds bytes that are no text")
    if not body.strip():
        raise ValueError("it is empty")
    for encoding in (wide,) if wide else ("utf-8-sig", "cp1252", "latin-1"):
        try:
            form = _sniffed(body, _Format(encoding))
            table = _whole(body, form)
        except UnicodeDecodeError:
            continue
        frame = _with_none(body, form, table.frame, text_column)
        foreign = () if encoding.startswith("utf") else (f"It is not in UTF-8 and was read as {encoding}.",)
        frame, numbers = with_numbers(with_dates(frame), form.decimal)
        return ReadTable(frame, (*foreign, *table.notes, *numbers))
    raise ValueError("its encoding is not known; save it in UTF-8")


def _sniffed(body: bytes, form: _Format) -> _Format:
    """Choose the separator that gives most columns, then the decimal mark that gives most numbers."""
    samples, uneven = {}, []
    for separator in SEPARATORS:
        one = replace(form, separator=separator)
        try:
            samples[one] = one.read(body, nrows=SAMPLE_ROWS)
        except pd.errors.ParserError:  # a row has more fields than the first line
            uneven.append(one)
    best = max(samples, key=lambda one: _n_fields(samples[one]), default=form)
    if uneven and (best not in samples or _n_fields(samples[best]) == 1):
        return uneven[0]  # reading all rows will tell which line it is
    if best in samples and len(samples[best].columns) == 1:
        return _with_spaces(body, best)
    if best.separator == ",":
        return best
    comma = replace(best, decimal=",")
    more = _n_numeric(comma.read(body, nrows=SAMPLE_ROWS)) - _n_numeric(samples[best])
    return comma if more > 0 or has_decimal_commas(samples[best]) else best


def _with_spaces(body: bytes, form: _Format) -> _Format:
    """Choose spaces if they make a table of what is one column: rows as long as the first, and numbers."""
    spaces = replace(form, separator=SPACES)
    try:
        frame = spaces.read(body, nrows=SAMPLE_ROWS)
    except pd.errors.ParserError:
        return form
    even = isinstance(frame.index, pd.RangeIndex) and not frame.iloc[:, -1].isna().any()
    return spaces if even and _n_numeric(frame) and len(frame.columns) > 1 else form


def _n_fields(frame: pd.DataFrame) -> int:
    """Count the columns; those in the first line alone say nothing if the rows have fewer fields."""
    return len(frame.columns) if frame.index.nlevels == 1 else 1


def _n_numeric(frame: pd.DataFrame) -> int:
    return len(frame.select_dtypes("number").columns)


def _whole(body: bytes, form: _Format) -> ReadTable:
    """Read all rows; numbers of rows and names that were written beside the columns are left out."""
    frame = form.read(body)
    notes = []
    if len(frame) and frame.iloc[:, -1].isna().all():  # rows may end with a separator, the first line without
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            frame = form.read(body, index_col=False)
    if not frame.index.equals(pd.RangeIndex(len(frame))):  # rows have one field more than the first line
        notes.append("The first field of each row has no name and was left out: it names the row.")
        frame = frame.reset_index(drop=True)
    written = [
        str(name).strip() for name in form.read(body, header=None, nrows=1, dtype=str).iloc[0].fillna("")
    ]
    names = [name or f"{NAMELESS}{place}" for place, name in enumerate(written)]
    frame.columns = pd.Index(names)
    frame = frame.loc[:, ~frame.columns.str.startswith(NAMELESS) | frame.notna().any().to_numpy()]
    _check_header(frame)
    if str(frame.columns[0]).startswith(NAMELESS) and len(frame.columns) > 1:
        notes.append("The first column has no name and was left out: it names the row.")
        frame = frame.iloc[:, 1:]
    _distinct([str(name) for name in frame.columns])
    return ReadTable(frame, tuple(notes))


def _check_header(frame: pd.DataFrame) -> None:
    """Refuse a first line without names: a title, or values as in the rows below it."""
    names = [str(name) for name in frame.columns]
    nameless = sum(name.startswith(NAMELESS) for name in names[1:])
    if nameless and 2 * nameless >= len(names):
        raise ValueError(f"its first line has no names for {nameless} of {plural(len(names), 'column')}")
    numbered = all(name.isdecimal() for name in names) and sorted({*names}, key=int) == names
    if len(frame) and not numbered and all(_is_value(*column) for column in frame.items()):
        raise ValueError(f"its first line holds values, such as {names[0]!r}, and not the names of columns")


def _is_value(name: Hashable, column: pd.Series[Any]) -> bool:
    """Whether what should be the name of a column may be one of its values."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return number_of(str(name)) is not None
    return str(name) in {str(value).strip() for value in column.dropna().unique()}


def _distinct(names: list[str]) -> list[str]:
    """Return the names of columns.

    Raises:
        ValueError: One comes more than once.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two of its columns are called {printable(twice)!r}")
    return names


def _reason(error: Exception) -> str:
    return first_line(error).removeprefix("Error tokenizing data. C error: ")


def _with_none(body: bytes, form: _Format, frame: pd.DataFrame, name: str | None) -> pd.DataFrame:
    """Put back the word None, which pandas took for a missing value, in a column of words."""
    if name is None or name not in frame or not _holds_text(frame[name]) or not frame[name].isna().any():
        return frame
    words = form.read(body, dtype=str, keep_default_na=False)
    matches = [column for column in words if str(column).strip() == name]
    if len(matches) != 1 or len(words) != len(frame):
        return frame
    none = (words[matches[0]].str.strip() == "None").to_numpy()
    return frame.assign(**{name: frame[name].mask(none, "None")})


def _holds_text(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_string_dtype(column) or pd.api.types.is_object_dtype(column)
