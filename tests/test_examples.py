"""Every example runs, in the order of its number, in a folder of its own."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
APART = "5_attach.py"
"""Runs in a process of its own, whose end is looked at."""


def test_examples_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("galatune.demo.objective.EPOCHS", 3)  # what they print of losses is not looked at
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [int(script.name.split("_")[0]) for script in scripts] == list(range(1, len(scripts) + 1))
    printed = {}
    for script in scripts:
        if script.name == APART:
            continue
        names = runpy.run_path(str(script))
        if "controller" in names:  # an optimizer's class defined in a script keeps the script's names alive
            names["controller"].detach()
        printed[script.stem] = capsys.readouterr().out
    assert "lr: rate" in printed["2_scan"]
    assert float(printed["7_tabular"].split()[1]) > 0.9
    regret, bound = map(float, re.findall(r": ([\d.]+)", printed["8_regret"]))
    assert 0 < regret <= bound


def test_initial_rate_does_not_matter_and_the_example_ends_without_a_word_on_stderr(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / APART)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    losses = {line.split(": ")[1] for line in ran.stdout.splitlines()}
    assert len(losses) == 1, ran.stdout
