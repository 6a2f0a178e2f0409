"""The smaller study in the old one's database on a server, under a name of its own."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from galatune.errors import PlanError
from galatune.report.pair import read_pair
from galatune.study.ledger.rows import Ledger, ledger
from galatune.study.scan.scan import scan, scan_storage
from galatune.study.search.run import run
from galatune.study.storage.reading import open_source
from tests.tiny_search import objective, old_study


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(url: str, name: str) -> Ledger:
    with open_source(url) as source:
        return ledger(source.study(name))


def test_one_database_is_enough(server_url: str, folder: Path) -> None:
    old_study(server_url)
    before = content(server_url, "old")
    for trials in (1, 2):  # begun and continued by the same command, which names no study
        study = run(scan(server_url), objective, source=server_url, into=server_url, trials=trials, repeats=0)
        assert (study.study_name, len(study.trials)) == ("old-gala", trials)
    assert [plan.study for plan in scan_storage(server_url).plans] == ["old"]
    pair = read_pair(server_url, into=server_url)
    assert (pair.baseline.study, pair.shrunk.study) == ("old", "old-gala")
    assert content(server_url, "old") == before
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["\u5b66\u4e60\u7387", "\u0627\u062e\u062a\u0628\u0627\u0631", "\u00e9t\u00e9 \U0001f389", "a" * 512],
)
def test_names_of_every_script(server_url: str, name: str) -> None:
    old_study(server_url, name=name)
    study = run(scan(server_url), objective, source=server_url, into=server_url, trials=1)
    assert read_pair(server_url, into=server_url).shrunk.study == study.study_name
    assert study.study_name.endswith("-gala")
    assert len(study.study_name) <= 512


def test_a_name_that_the_database_takes_for_another_is_refused(mysql_url: str) -> None:
    """MySQL compares names without case and accents: writing to the one would reach the other."""
    old_study(mysql_url)
    other = optuna.create_study(study_name="OLD-G\u00e0la", storage=mysql_url)
    other.set_user_attr("mine", 1)
    with pytest.raises(PlanError, match=r"name of another study.*--name"):
        run(scan(mysql_url, "old"), objective, source=mysql_url, into=mysql_url, trials=1)
    frozen = {study.study_name: study for study in other._storage.get_all_studies()}
    assert json.dumps(frozen["OLD-G\u00e0la"].user_attrs) == '{"mine": 1}'
    assert not other.trials
