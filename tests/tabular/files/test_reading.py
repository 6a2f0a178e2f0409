from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from galatune.errors import TableError
from galatune.tabular.files.reading import read_file

ROWS = [("Bern", 1.5), ("Oslo, Norway", 2.25), ("Zürich", -3.0)]


def written(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


def csv(separator: str, decimal: str = ".") -> str:
    frame = pd.DataFrame(ROWS, columns=["city", "size"])
    return str(frame.to_csv(index=False, sep=separator, decimal=decimal))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    ("separator", "decimal"), [(",", "."), (";", ","), (";", "."), ("\t", ","), ("|", ".")]
)
def test_separator_decimal_mark_and_encoding_are_found(
    tmp_path: Path, separator: str, decimal: str, encoding: str
) -> None:
    table = read_file(written(tmp_path / "t", csv(separator, decimal).encode(encoding)))
    assert list(table.frame.itertuples(index=False, name=None)) == ROWS
    assert any("UTF-8" in note for note in table.notes) == (encoding == "cp1252")


def test_content_decides_what_a_file_is(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=["city", "size"])
    frame.to_parquet(tmp_path / "table.csv")
    written(tmp_path / "table.parquet", gzip.compress(csv(",").encode()))
    for name in ("table.csv", "table.parquet"):
        assert read_file(tmp_path / name).frame.to_dict("list") == frame.to_dict("list")


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        (",a,b\n0,x,1\n1,y,2\n", True),  # of pandas, with the index
        ('"a","b"\n"1","x",1\n"2","y",2\n', True),  # of R, with the names of rows
        ("a,b\nx,1,\ny,2,\n", False),  # a separator at the end of each row
        ("a,b,\nx,1,\ny,2,\n", False),
        ("a, b\nx, 1\ny, 2\n", False),
    ],
)
def test_what_stands_beside_the_columns_is_left_out(tmp_path: Path, text: str, noted: bool) -> None:
    table = read_file(written(tmp_path / "t.csv", text.encode()))
    assert table.frame.to_dict("list") == {"a": ["x", "y"], "b": [1, 2]}
    assert bool(table.notes) == noted


def test_the_word_none_is_a_value_of_a_target_of_words(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", b"n,y\n1,None\nNone,Apnea\n3,\n")
    assert read_file(path, text_column="y").frame["y"].fillna("?").tolist() == ["None", "Apnea", "?"]
    assert read_file(path, text_column="n").frame["n"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("dates", ["2024-01-31", "31.1.2024", "1/31/2024 10:30", "2024-01-31T10:30:00Z"])
def test_text_of_dates_is_read_as_dates(tmp_path: Path, dates: str) -> None:
    frame = read_file(written(tmp_path / "t.csv", f"d,e\n{dates},1\n{dates},2\n,3\n".encode())).frame
    assert pd.api.types.is_datetime64_any_dtype(frame["d"])
    assert not pd.api.types.is_datetime64_any_dtype(frame["e"])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (b"\x89PNG\0\0\0", "bytes that are no text"),
        (b"PAR1 and no more", "as a table"),
        (b"\x1f\x8b and no more", "as a table"),
        (b"a,b\n1,2\n1,2,3\n1,2,3,4\n", "line"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, body: bytes, why: str) -> None:
    with pytest.raises(TableError, match=why) as caught:
        read_file(written(tmp_path / "t", body))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TableError, match="Cannot read"):
        read_file(tmp_path / name)
