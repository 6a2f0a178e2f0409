from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path
from typing import Any

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
        ("a,b,,,\nx,1,,,\ny,2,,,\n", False),
        (",a,b\n57,x,1\n3,y,2\n", True),  # of a part of a frame
        (",a,b\nr1,x,1\nr2,y,2\n", True),
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


@pytest.mark.parametrize("spaces", [" ", "    ", " \t "])
def test_spaces_separate_columns_of_numbers(tmp_path: Path, spaces: str) -> None:
    lines = (spaces.join(row) for row in (("a", "b", "c"), ("1", "2.5", "x"), ("20", "3", '"y z"')))
    table = read_file(written(tmp_path / "t", "\n".join(lines).encode()))
    assert table.frame.to_dict("list") == {"a": [1, 20], "b": [2.5, 3.0], "c": ["x", "y z"]}


@pytest.mark.parametrize("text", ["my text\nhello world\ngood bye\n", "note\nsold 2\nsold 30 more\n"])
def test_words_of_a_text_are_no_columns(tmp_path: Path, text: str) -> None:
    assert read_file(written(tmp_path / "t", text.encode())).frame.shape == (2, 1)


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["1,234", "22,250", "1,222,250"], [1234, 22250, 1222250]),
        (["1,234.5", "-22,250", "3.25"], [1234.5, -22250, 3.25]),
        (["1.234,5", "250,0", "1.222.250"], [1234.5, 250, 1222250]),
        (["1,5", "0,125", "22,25"], [1.5, 0.125, 22.25]),
        (["1'234.5", "22'250", "3"], [1234.5, 22250, 3]),
        (["1 234,5", "22\u202f250", "1,5e3"], [1234.5, 22250, 1500]),
        (["10 %", "2.5 %", "-"], [10, 2.5, None]),
        (["€ 10", "€ 2.5", "€ 1,000"], [10, 2.5, 1000]),
        (["1.5", "?", ".5"], [1.5, None, 0.5]),
    ],
)
def test_numbers_in_other_ways_of_writing_are_read_and_said(
    tmp_path: Path, values: list[str], numbers: list[float | None]
) -> None:
    pd.DataFrame({"n": values, "b": 1}).to_csv(tmp_path / "t.csv", index=False)
    table = read_file(tmp_path / "t.csv")
    assert table.frame["n"].astype(object).where(table.frame["n"].notna(), None).tolist() == numbers
    assert [note for note in table.notes if "was read as numbers" in note and "in column: n" in note]


@pytest.mark.parametrize("first", [["1,5", "2,25"], ["1.234,5", "250"], ["€ 1,5", "€ 2"]])
@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_file_with_decimal_commas_has_points_between_thousands(
    tmp_path: Path, first: list[str], separator: str
) -> None:
    pd.DataFrame({"n": first, "m": ["1.234", "22.250"]}).to_csv(tmp_path / "t", index=False, sep=separator)
    assert read_file(tmp_path / "t").frame["m"].tolist() == [1234, 22250]


@pytest.mark.parametrize(
    "values",
    [
        ["1,234", "1,2,3", "4"],  # lists
        ["10 %", "2.5", "3"],
        ["€ 10", "$ 10", "€ 3"],
        ["1,234.5", "1.234,5", "3"],
        ["079 123", "079 234", "079 345"],
        ["?", "-", "+"],
        ["1-2", "3-4", "5-6"],
        ["10.1.1", "10.1.2", "10.1.3"],
    ],
)
def test_what_is_no_number_in_every_row_stays_text(tmp_path: Path, values: list[str]) -> None:
    pd.DataFrame({"n": values, "b": 1}).to_csv(tmp_path / "t.csv", index=False)
    table = read_file(tmp_path / "t.csv")
    assert (table.frame["n"].tolist(), table.notes) == (values, ())


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_what_is_packed_is_read_in_every_encoding(tmp_path: Path, pack: Any, encoding: str) -> None:
    table = read_file(written(tmp_path / "t", pack(csv(";").encode(encoding))))
    assert list(table.frame.itertuples(index=False, name=None)) == ROWS


def test_a_zip_file_holds_one_table_beside_what_a_mac_adds(tmp_path: Path) -> None:
    for names in (["t.csv", "__MACOSX/._t.csv"], ["t.csv", "u.csv"], ["xl/workbook.xml", "a.xml"]):
        with zipfile.ZipFile(tmp_path / f"{len(names)}{names[1][0]}.zip", "w") as archive:
            for name in names:
                archive.writestr(name, csv(","))
    assert len(read_file(tmp_path / "2_.zip").frame) == 3
    with pytest.raises(TableError, match="ZIP file of 2 files, and has to hold one"):
        read_file(tmp_path / "2u.zip")
    with pytest.raises(TableError, match="it is an Excel file"):
        read_file(tmp_path / "2a.zip")


@pytest.mark.parametrize("header", ["0,1,2", "2019,2020,2021", "1,b,c", "0.5,x,c"])
def test_numbers_may_be_names_of_columns(tmp_path: Path, header: str) -> None:
    table = read_file(written(tmp_path / "t", f"{header}\n1,x,5\n2,y,6\n".encode()))
    assert list(table.frame.columns) == header.split(",")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (b"\x89PNG\0\0\0", "bytes that are no text"),
        (b"PAR1 and no more", "as a table"),
        (b"\x1f\x8b and no more", "as a table"),
        (b"a,b\n1,2\n1,2,3\n1,2,3,4\n", "line 3"),
        (b"a,b\n" + b"1,2\n" * 999 + b"\0,2\n", "bytes that are no text"),
        (b"a,b, a\n1,2,3\n", "two of its columns are called 'a'"),
        (b"5.1,3.5,setosa\n4.9,3.0,setosa\n6.3,3.3,other\n", "first line holds values, such as '5.1'"),
        (b"3,x,7\n4,x,8\n5,y,9\n", "first line holds values, such as '3'"),
        (b"Report;;\na;b;c\n1;2;3\n", "no names for 2 of 3 columns"),
        (b"sep=;\na;b\n1;2\n", "no names for 1 of 2 columns"),
        (b'[{"a": 1}, {"a": 2}]', "it is JSON"),
        (b"\n<!DOCTYPE html><table>", "it is a web page"),
        (b"%PDF-1.7", "it is a PDF"),
        (b"\xd0\xcf\x11\xe0\0\0", "it is an Excel file"),
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
