from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fake_studies import fake_study, run_attribute

from galatune.cli import main

WITHOUT_TORCH = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "mlflow"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocker())
from galatune.cli import main
main(["report", "study.db", "--html", "report.html", "--csv", "trials.csv", "--json"])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both studies; Optuna takes its time to make a file."""
    path = tmp_path_factory.mktemp("studies")
    fake_study([5.0, 4.0, 3.0, 3.0, 1.0, 3.5], storage=f"sqlite:///{path / 'study.db'}")
    fake_study([2.0, 1.0], name="old-gala", controlled=True, storage=f"sqlite:///{path / 'old-gala.db'}")
    return path


@pytest.fixture(autouse=True)
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a copy of both."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def galatune(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", *arguments])


def test_report_prints_four_sentences_and_a_table() -> None:
    result = galatune("study.db")
    assert result.exit_code == 0
    assert result.stdout.startswith("Cost:  the whole smaller search took 2 trials, the old one 6; ")
    assert "Risk:" in result.stdout
    assert "Next:" in result.stdout
    assert "best value" in result.stdout


def test_json_is_one_object_and_words_go_elsewhere(folder: Path) -> None:
    result = galatune("study.db", "--json", "--html", "report.html", "--price", "60", "--currency", "EUR")
    body = json.loads(result.stdout)
    assert body["saved"]["trials"] == 3
    assert body["saved"]["cost"] == pytest.approx(3.0)
    assert "Counted: 3 of 5 trials" in body["verdict"]["saved"]
    assert result.stderr == "written to report.html\n"


def test_files_hold_the_page_and_every_trial(folder: Path) -> None:
    assert galatune("study.db", "--html", "report.html", "--csv", "trials.csv").exit_code == 0
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    lines = (folder / "trials.csv").read_text().splitlines()
    assert len(lines) == 1 + 6 + 2
    assert lines[0].startswith("study,trial,state,stage,value,seconds")


@pytest.mark.parametrize(("text", "tolerance"), [("5%", 0.05), ("0.05", 0.05), ("0", 0.0)])
def test_tolerance_is_a_fraction_or_a_percentage(text: str, tolerance: float) -> None:
    body = json.loads(galatune("study.db", "--json", "--tolerance", text).stdout)
    assert body["to_match"]["tolerance"] == pytest.approx(tolerance)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sink-to", "http://there"),
        ("--tracking-uri", "http://there"),
        ("--price", "2"),
        ("--currency", "EUR"),
        ("--price", "-2", "--currency", "EUR"),
        ("--tolerance", "much"),
        ("--tolerance", "5"),
        ("--tolerance", "1%%"),
        ("--tolerance", "%"),
        ("--html", ""),
        ("--csv", " "),
        ("--into", ""),
        ("--name", ""),
        ("--study", ""),
        ("--sink", ""),
        ("--sink", "mlflow", "--sink-to", ""),
        ("--sink", "mlflow", "--tracking-uri", ""),
        ("--price", "2", "--currency", ""),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    result = galatune("study.db", *arguments)
    assert result.exit_code == 2
    assert any(word in result.stderr for word in arguments if word.startswith("--"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.db",), "No such file"),
        (("study.db", "--study", "other"), "it holds: old"),
        (("study.db", "--into", "nothing.db"), "galatune run"),
        (("study.db", "--name", "other"), "it holds: old-gala"),
        (("study.db", "--html", "no/where.html"), "cannot write 'no/where.html'"),
        (("study.db", "--sink", "nowhere"), "available: mlflow"),
        (("study.db", "--html", "/dev/full"), "cannot write '/dev/full': No space left on device"),
        (("study.db", "--csv", "/dev/full"), "cannot write '/dev/full': No space left on device"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(arguments: tuple[str, ...], words: str) -> None:
    result = galatune(*arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_smaller_study_of_another_one_is_refused() -> None:
    new = fake_study([1.0], name="x", controlled=True, storage="sqlite:///x.db")
    new.set_user_attr("galatune", run_attribute("another"))
    result = galatune("study.db", "--into", "x.db", "--name", "x")
    assert result.exit_code == 1
    assert "made from 'another', not from 'old'" in result.stderr


def test_passwords_in_urls_appear_nowhere(folder: Path) -> None:
    result = galatune("study.db", "--json", "--html", "report.html", "--sink", "mlflow", "--sink-to",
                      "http://ada:secret@127.0.0.1:9")  # fmt: skip
    assert result.exit_code == 1
    assert "sends what is missing later" in result.stderr
    for text in (result.stdout, result.stderr, (folder / "report.html").read_text()):
        assert "secret" not in text


def test_report_changes_neither_study(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.glob("*.db")}
    galatune("study.db", "--html", "report.html")
    assert {path.name: path.read_bytes() for path in folder.glob("*.db")} == before


@pytest.mark.parametrize("option", ["--html", "--csv"])
@pytest.mark.parametrize(
    "name", ["study.db", "old-gala.db", "hard", "soft", "./../{here}/study.db", "other.db"]
)
def test_report_is_never_written_over_a_study(folder: Path, option: str, name: str) -> None:
    (folder / "hard").hardlink_to(folder / "study.db")
    (folder / "soft").symlink_to(folder / "old-gala.db")
    shutil.copy(folder / "study.db", folder / "other.db")
    before = {path.name: path.read_bytes() for path in folder.glob("*")}
    result = galatune("study.db", option, name.format(here=folder.name))
    assert result.exit_code == 1
    assert "would be overwritten" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.glob("*")} == before


@pytest.mark.parametrize("name", ["study.db", "old-gala.db"])
def test_mlflow_is_never_sent_into_a_study(folder: Path, name: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.glob("*")}
    result = galatune("study.db", "--sink", "mlflow", "--tracking-uri", f"sqlite:///{name}")
    assert result.exit_code == 1
    assert "holds Optuna studies" in result.stderr
    assert {path.name: path.read_bytes() for path in folder.glob("*")} == before


def test_page_and_table_need_two_files(folder: Path) -> None:
    result = galatune("study.db", "--html", "same", "--csv", "./same")
    assert result.exit_code == 1
    assert "name the same file" in result.stderr
    assert not (folder / "same").exists()


def test_report_is_written_over_an_older_one(folder: Path) -> None:
    for _ in range(2):
        assert galatune("study.db", "--html", "report.html", "--csv", "trials.csv").exit_code == 0


def test_a_full_disk_leaves_both_old_files_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("report.html", "trials.csv"):
        (folder / name).write_text("old")
    calls = []
    fsync = os.fsync

    def full_at_the_second(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_the_second)
    before = sorted(path.name for path in folder.iterdir())
    result = galatune("study.db", "--html", "report.html", "--csv", "trials.csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot write 'trials.csv': No space left on device" in result.stderr
    assert [(folder / name).read_text() for name in ("report.html", "trials.csv")] == ["old", "old"]
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_second_file_that_cannot_be_written_leaves_the_first_alone(folder: Path) -> None:
    (folder / "report.html").write_text("old")
    assert galatune("study.db", "--html", "report.html", "--csv", "no/where.csv").exit_code == 1
    assert (folder / "report.html").read_text() == "old"


def test_report_runs_without_torch_and_mlflow(folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["saved"]["trials"] == 3
    assert (folder / "report.html").exists()


def test_every_option_is_explained() -> None:
    text = galatune("--help").stdout
    for option in ("--study", "--into", "--name", "--html", "--csv", "--price", "--currency", "--tolerance",
                   "--json", "--sink", "--sink-to"):  # fmt: skip
        assert option in text
