"""Every example runs, in the order of its number, in a folder of its own."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_examples_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [int(script.name.split("_")[0]) for script in scripts] == list(range(1, len(scripts) + 1))
    printed = {}
    for script in scripts:
        runpy.run_path(str(script))
        printed[script.stem] = capsys.readouterr().out
    assert "lr: rate" in printed["2_scan"]
    losses = {line.split(": ")[1] for line in printed["5_attach"].splitlines()}
    assert len(losses) == 1, printed["5_attach"]
    assert float(printed["7_tabular"].split()[1]) > 0.9
    regret, bound = map(float, re.findall(r": ([\d.]+)", printed["8_regret"]))
    assert 0 < regret <= bound


def test_an_example_ends_without_a_word_on_stderr(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "5_attach.py")]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
