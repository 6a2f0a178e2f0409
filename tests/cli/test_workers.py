"""`galatune run --workers` as people type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_scripts import SHAPES, script
from tiny_search import objective_file, old_study

from galatune.cli import main

RUN = ("run", "old.log", "--into", "new.log", "--trials", "4", "--repeats", "0", "--workers", "2", "--json")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an old study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    old_study("old.log")
    return tmp_path


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "galatune", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


@pytest.mark.slow
def test_an_objective_of_a_file_runs_in_both_workers(folder: Path) -> None:
    path = objective_file(folder)
    path.write_text(
        path.read_text().replace("    net = make(trial)\n", "    print('begun')\n    net = make(trial)\n")
    )
    ended = typed(*RUN, "tiny_objective.py:objective")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["by_state"] == {"COMPLETE": 4}
    lines = ended.stderr.splitlines()
    assert sum(line in ("worker 1: begun", "worker 2: begun") for line in lines) >= 4
    assert sum(line.startswith("Trial ") for line in lines) == 4


@pytest.mark.slow
def test_a_script_searches_in_both_workers_and_goes_on_once(folder: Path) -> None:
    before = "from pathlib import Path\nwith Path('before.txt').open('a') as file: file.write('x')\n"
    after = "\nwith Path('after.txt').open('a') as file: file.write('x')\n"
    script(folder, before + SHAPES["lambda"] + after)
    ended = typed(*RUN, "train.py")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["by_state"] == {"COMPLETE": 4}
    assert Path("after.txt").read_text() == "x"
    assert Path("before.txt").read_text() == "xxx"
    assert "Each of 2 workers runs the script as far as here, too." in ended.stderr
    assert Path("said.txt").read_text().startswith("(4, ['lr', 'width'], ")


def test_a_loop_of_ask_and_tell_is_refused_in_one_line(folder: Path) -> None:
    script(folder, SHAPES["ask and tell"])
    result = CliRunner().invoke(main, [*RUN, "train.py"])
    assert result.exit_code == 1
    line = result.stderr.splitlines()[-1]
    assert line.startswith(
        "galatune: --workers needs an objective that each worker can call, however: train.py"
    )
    assert line.endswith("leave --workers out, or hand a function to study.optimize")


@pytest.mark.parametrize("number", ["0", "many"])
def test_a_number_that_is_none_is_wrong_usage(folder: Path, number: str) -> None:
    objective_file(folder)
    words = ["run", "old.log", "tiny_objective.py:objective", "--workers", number]
    assert CliRunner().invoke(main, words).exit_code == 2
