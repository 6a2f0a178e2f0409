from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_studies import fake_study

from galatune.cli import main
from galatune.errors import ReportError
from galatune.report import sinks
from galatune.report.sinks import Delivery, available, destination_options, find_sink


class FolderSink:
    """A sink as a third party writes it: reports go into a folder."""

    destination_options = ("--folder",)

    def send(self, delivery: Delivery, destination: str | None = None) -> str:
        path = Path(destination or "reports") / f"{delivery.shrunk.study}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(delivery.report.to_json()))
        path.with_suffix(".html").write_text(delivery.page)
        return f"written to {path}"


class PlainSink:
    """The least that a sink can be."""

    def send(self, delivery: Delivery, destination: str | None = None) -> str:
        return f"sent to {destination}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with both studies, where two more sinks are installed."""
    found = [
        EntryPoint(name, f"{__name__}:{kind.__name__}", sinks.GROUP)
        for name, kind in (("folder", FolderSink), ("plain", PlainSink))
    ]
    monkeypatch.setattr(sinks, "entry_points", lambda group: found if group == sinks.GROUP else [])
    monkeypatch.chdir(tmp_path)
    fake_study([5.0, 4.0, 1.0], storage="sqlite:///study.db")
    fake_study([2.0, 1.0], name="old-gala", controlled=True, storage="sqlite:///old-gala.db")
    return tmp_path


def test_sinks_are_found_by_entry_point() -> None:
    assert "mlflow" in available()
    assert callable(find_sink("mlflow").send)


def test_an_unknown_sink_lists_those_there_are() -> None:
    with pytest.raises(ReportError, match="available: mlflow") as caught:
        find_sink("x\ny")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["--sink-to", "--folder"])
def test_a_sink_of_somebody_else_receives_the_report(folder: Path, option: str) -> None:
    words = ["report", "study.db", "--json", "--sink", "folder", option, "there"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[-1] == "written to there/old-gala.json"
    assert json.loads((folder / "there" / "old-gala.json").read_text()) == json.loads(result.stdout)
    assert (folder / "there" / "old-gala.html").read_text().startswith("<!DOCTYPE html>")


def test_a_sink_has_a_default_place(folder: Path) -> None:
    assert CliRunner().invoke(main, ["report", "study.db", "--sink", "folder"]).exit_code == 0
    assert (folder / "reports" / "old-gala.json").exists()


def test_only_the_chosen_sink_names_its_destination(folder: Path) -> None:
    assert destination_options(find_sink("folder")) == ("--folder",)
    assert destination_options(find_sink("plain")) == ()
    for words in (["--sink", "plain", "--folder", "x"], ["--folder", "x"], ["--sink-to", "x"]):
        result = CliRunner().invoke(main, ["report", "study.db", *words])
        assert result.exit_code == 2
    shown = CliRunner().invoke(main, ["report", "--sink=folder", "--help"]).stdout
    assert "--folder" in shown
    assert "--folder" not in CliRunner().invoke(main, ["report", "--help"]).stdout


def test_a_sink_without_names_of_its_own_takes_the_common_one(folder: Path) -> None:
    result = CliRunner().invoke(main, ["report", "study.db", "--sink", "plain", "--sink-to", "x"])
    assert (result.exit_code, result.stderr) == (0, "sent to x\n")


@pytest.mark.parametrize("wrong", ["NoSuchSink", "fake_study"])
def test_an_entry_point_that_names_no_sink_is_an_error_in_one_line(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("wrong", f"{__name__}:{wrong}", sinks.GROUP)
    monkeypatch.setattr(sinks, "entry_points", lambda group: [entry] if group == sinks.GROUP else [])
    with pytest.raises(ReportError, match="'wrong' cannot be loaded") as caught:
        find_sink("wrong")
    assert "\n" not in str(caught.value)
