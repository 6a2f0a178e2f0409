"""The command that `galatune run` ends with can be pasted, and works."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from optuna.trial import TrialState
from tiny_search import HEADER, objective_file, old_study

from galatune.cli.main import main

REPORTING = f"""{HEADER}

def objective(trial):
    net = make(trial)
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial.suggest_float("lr", 1e-5, 1.0, log=True))
    for step in range(6):
        value = train(optimizer, net, 40)
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value
"""


def galatune(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def following(result: Result) -> list[str]:
    """The words of the command that a run ends with."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("To go on: ")]
    return shlex.split(lines[0].removeprefix("To go on: "))[1:]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    objective_file(tmp_path, REPORTING)
    old_study("my old.log", [-1.0, -2.0, -3.0, *[-1.0] * 17], name="it's")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        (["--trials", "2"], ["--trials", "7"]),
        (["--trials", "2", "--until-match", "--tolerance", "0"], ["--trials", "7"]),
        (["--trials", "9", "--patience", "1", "--seed", "1"], ["--patience", "2"]),
    ],
)
def test_it_goes_on_where_the_run_ended(folder: Path, given: list[str], changed: list[str]) -> None:
    words = [
        "run",
        "my old.log",
        "tiny_objective.py:objective",
        "--into",
        "new one.log",
        "--repeats",
        "0",
        *given,
    ]
    first = galatune(*words)
    assert first.exit_code == 0, first.output
    assert "missed by" in first.stdout
    again = following(first)
    place = again.index(changed[0])
    assert again[place : place + 2] == changed
    assert again.count(changed[0]) == 1
    second = galatune(*again, "--json")
    assert second.exit_code == 0, second.output
    body = json.loads(second.stdout)
    assert body["trials"] > 2 - (changed[0] == "--patience")
    assert body["old_best"] == -3.0
    assert body["missed_by"] == pytest.approx(body["best_value"] + 3.0)


@pytest.mark.slow
def test_a_change_that_makes_other_trials_goes_into_another_study(folder: Path) -> None:
    words = ["run", "my old.log", "tiny_objective.py:objective", "--max-lr", "1e-6", "--trials", "2"]
    words += ["--repeats", "0"]
    first = galatune(*words)
    assert "at its upper bound in 2 of 2" in first.stdout
    again = following(first)
    assert again[again.index("--max-lr") :] == ["--max-lr", "inf", "--name", "it's-gala-2"]
    second = galatune(*again)
    assert second.exit_code == 0, second.output
    assert "2 COMPLETE" in second.stdout


def test_a_match_needs_no_advice(folder: Path) -> None:
    old_study("easy.log", [1e9, 1e8], name="easy")
    result = galatune("run", "easy.log", "tiny_objective.py:objective", "--repeats", "0", "--json")
    body = json.loads(result.stdout)
    assert (body["missed_by"], body["advice"], body["next"]) == (None, None, None)
    assert "To go on" not in result.stderr


@pytest.mark.slow
def test_pruned_trials_of_both_studies_are_counted(folder: Path) -> None:
    old_study("pruned.log", [1.0, TrialState.PRUNED, 2.0, TrialState.PRUNED], name="pruned")
    typed = ("run", "pruned.log", "tiny_objective.py:objective", "--repeats", "0")
    result = galatune(*typed, "--trials", "2")
    assert result.exit_code == 0, result.output
    assert "Pruner: MedianPruner, since the old study pruned 2 of 4 trials" in result.stderr
    assert "0 of 2 trials, 2 of 4 in the old study" in result.stdout
    report = galatune("report", "pruned.log")
    assert "0 of 2 trials were pruned, 2 of 4 trials before." in report.stdout
    assert "of these pruned" in report.stdout
    none = galatune(
        "run", "pruned.log", "tiny_objective.py:objective", "--pruner", "none", "--trials", "1", "--name", "x"
    )
    assert "Pruner: none, as given" in none.stderr
