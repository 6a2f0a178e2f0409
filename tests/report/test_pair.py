from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from fake_studies import fake_study, run_attribute
from optuna.trial import create_trial

from galatune.errors import ReportError, StorageError
from galatune.report.pair import Pair, check_pair, read_pair
from galatune.study.ledger.rows import Ledger, TrialRow, ledger


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an old study and the smaller one where run would put it."""
    monkeypatch.chdir(tmp_path)
    fake_study([3.0, 1.0], storage="sqlite:///study.db")
    fake_study([1.0], name="old-gala", controlled=True, storage="sqlite:///old-gala.db")
    return tmp_path


def test_pair_finds_the_smaller_study_where_run_puts_it(folder: Path) -> None:
    pair = read_pair("study.db")
    assert (pair.baseline.study, pair.shrunk.study) == ("old", "old-gala")
    assert pair.notes == ()


def test_reading_changes_neither_file(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    read_pair("study.db")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_no_smaller_study_says_what_to_run(folder: Path) -> None:
    (folder / "old-gala.db").unlink()
    with pytest.raises(StorageError, match="galatune run"):
        read_pair("study.db")


def test_a_study_made_from_another_one_is_refused() -> None:
    new = fake_study([1.0], name="new", controlled=True)
    new.set_user_attr("galatune", run_attribute("another"))
    with pytest.raises(ReportError, match="was made from 'another', not from 'old'") as caught:
        check_pair(ledger(fake_study([1.0])), ledger(new))
    assert "\n" not in str(caught.value)


def test_an_ordinary_study_is_reported_with_a_note() -> None:
    note = check_pair(ledger(fake_study([1.0])), ledger(fake_study([1.0], name="new")))
    assert note is not None
    assert "not made by galatune run" in note


@pytest.mark.parametrize(("seen", "noted"), [(1.0, False), (7.0, True), (None, False)])
def test_a_study_of_the_same_name_that_lost_its_best_is_noted(seen: float | None, noted: bool) -> None:
    new = fake_study([1.0], name="new", controlled=True)
    attribute = run_attribute()
    attribute["source"]["best_value"] = seen
    new.set_user_attr("galatune", attribute)
    assert (check_pair(ledger(fake_study([3.0, 1.0])), ledger(new)) is not None) == noted


def test_constraints_that_the_sampler_alone_knew_are_missed(tmp_path: Path) -> None:
    old = fake_study([3.0, 2.0], storage=f"sqlite:///{tmp_path}/old.db")
    old.add_trial(create_trial(value=1.0, system_attrs={"constraints": [1.0]}))
    fake_study([1.0], name="old-gala", controlled=True, storage=f"sqlite:///{tmp_path}/new.db")
    (note,) = read_pair(str(tmp_path / "old.db"), into=str(tmp_path / "new.db")).notes
    assert note.startswith("the sampler of old knew constraints, and old-gala does not: see by hand")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("  @x", "'  @x"),
        ("'\"-cmd", "''\"-cmd"),
        ("\t1", "'\\t1"),
        ("\r=1", "'\\r=1"),
        ("a\x1b[31m\nb", "a\\x1b[31m\\nb"),
        ("\uff1dx", "'\uff1dx"),
        ("\u200b=x", "\\u200b=x"),
        ("-5", "-5"),
        ("+1e-3", "+1e-3"),
        ("-5+cmd", "'-5+cmd"),
        ("plain", "plain"),
        (("=1", 2), "('=1', 2)"),
    ],
)
def test_no_text_of_the_table_is_run_by_a_spreadsheet(text: object, shown: str) -> None:
    row = TrialRow(0, "FAIL", params={"=n\n": text, "x": -1.5}, reason=str(text), seconds=2.0, steps=3)
    study = Ledger("=s", ("minimize",), (row,))
    found = list(csv.DictReader(io.StringIO(Pair(study, study).csv())))
    for line in found:
        assert line["param.=n\\n"] == shown
        assert line["study"] == "'=s"
        assert (line["param.x"], line["seconds"], line["trial"], line["steps"]) == ("-1.5", "2.0", "0", "3")


def test_a_table_without_formulas_is_that_of_the_ledgers() -> None:
    old, new = ledger(fake_study([3.0, "failed", 1.0])), ledger(fake_study([1.0], controlled=True))
    raw = pd.concat([old.frame(), new.frame()]).to_csv(index=False)
    assert Pair(old, new).csv() == raw


def test_a_study_is_not_compared_with_itself(folder: Path) -> None:
    with pytest.raises(ReportError, match=r"both studies are 'old' in study\.db"):
        read_pair("study.db", into=f"sqlite:///{folder / 'study.db'}", name="old")


def test_studies_that_have_changed_places_are_refused(folder: Path) -> None:
    with pytest.raises(ReportError, match="the old one comes first"):
        read_pair("old-gala.db", into="study.db", name="old")
