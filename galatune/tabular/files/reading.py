"""Read a table from a CSV or Parquet file; separator, encoding and decimal mark are found out."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from galatune.errors import TableError
from galatune.formatting import first_line, printable

__all__ = ["ReadTable", "read_file"]

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_ROWS = 200
"""Rows that tell separator and decimal mark."""

PARQUET = b"PAR1"
COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
}
WIDE = (b"\xff\xfe", b"\xfe\xff")
"""First bytes of a text in UTF-16."""

DATE = (
    r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/]\d{1,2}[-/]\d{2,4}|\d{1,2}\.\d{1,2}\.\d{4})"
    r"([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|[AP]M|[+-]\d{2}:?\d{2})?)?\s*"
)


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
    compression: str | None
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
                compression=self.compression,  # type: ignore[arg-type]
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
        table = _read_parquet(body) if body.startswith(PARQUET) else _read_csv(body, text_column)
    except (ValueError, LookupError, ImportError, OSError, EOFError) as error:  # parsers' own are ValueErrors
        raise TableError(
            f"Cannot read {_shown(path)} as a table: {first_line(error)}. Save it as CSV, the names of its "
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
    frame.columns = pd.Index([str(name) for name in frame.columns])
    return ReadTable(frame)


def _read_csv(body: bytes, text_column: str | None) -> ReadTable:
    compression = next((name for start, name in COMPRESSIONS.items() if body.startswith(start)), None)
    if compression is None and b"\0" in body[:4096] and not body.startswith(WIDE):
        raise ValueError("it holds bytes that are no text")
    if not body.strip():
        raise ValueError("it is empty")
    for encoding in ("utf-16",) if body.startswith(WIDE) else ("utf-8-sig", "cp1252", "latin-1"):
        try:
            form = _sniffed(body, _Format(encoding, compression))
            table = _whole(body, form)
        except UnicodeDecodeError:
            continue
        frame = _with_none(body, form, table.frame, text_column)
        foreign = () if encoding.startswith("utf") else (f"It is not in UTF-8 and was read as {encoding}.",)
        return ReadTable(_with_dates(frame), (*foreign, *table.notes))
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
    if best.separator == ",":
        return best
    comma = replace(best, decimal=",")
    return max(best, comma, key=lambda one: _n_numeric(one.read(body, nrows=SAMPLE_ROWS)))


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
    first = frame.columns[0]
    if str(first).startswith("Unnamed:") and len(frame.columns) > 1 and _counts(frame[first]):
        notes.append("The first column has no name and was left out: it numbers the rows.")
        frame = frame.drop(columns=first)
    empty = [name for name in frame.columns if str(name).startswith("Unnamed:") and frame[name].isna().all()]
    frame = frame.drop(columns=empty)
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    return ReadTable(frame, tuple(notes))


def _counts(column: pd.Series[Any]) -> bool:
    """Whether a column holds the numbers of the rows, from anywhere on."""
    return bool(pd.api.types.is_integer_dtype(column) and (column.diff().iloc[1:] == 1).all())


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


def _with_dates(frame: pd.DataFrame) -> pd.DataFrame:
    """Mark columns of dates as such: as text they would be categories that never come again."""
    return frame.assign(**dict(_dates(frame)))


def _dates(frame: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    for name, column in frame.items():
        known = column.dropna()
        if len(known) and pd.api.types.is_string_dtype(known) and known.str.fullmatch(DATE).all():
            yield (
                str(name),
                pd.to_datetime(column, errors="coerce", format="mixed", utc=True).dt.tz_localize(None),
            )
