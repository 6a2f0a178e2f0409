"""Scripts in the shapes that public ones have, each run as it is."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tiny_scripts import SHAPES, script
from tiny_search import load, old_study, recorded

from galatune.cli import main

OWN = "own.db"


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_searched_and_goes_on(shape: str, folder: Path) -> None:
    old_study("old.log")
    Path(OWN).write_bytes(b"not to be touched")
    path = script(folder, SHAPES[shape])
    command = ["run", "old.log", str(path), "--into", "new.log", "--trials", "2", "--repeats", "0", "--yes"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert Path(OWN).read_bytes() == b"not to be touched"
    study = load()
    trials = study.get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert all(recorded(trial).controlled and set(trial.params) == {"width"} for trial in trials)
    count, names, rate = ast.literal_eval(Path("said.txt").read_text())
    assert (count, names) == (2, ["lr", "width"])
    peaks = [max(point.rate for point in recorded(trial).learning_rate) for trial in trials]
    assert min(abs(rate - peak) / peak for peak in peaks) < 1e-6


def test_the_old_study_stays_as_it_is(folder: Path) -> None:
    old_study("old.log")
    before = hashlib.sha256(Path("old.log").read_bytes()).hexdigest()
    body = """
from optuna.storages.journal import JournalFileBackend
storage = optuna.storages.JournalStorage(JournalFileBackend("old.log"))
study = optuna.load_study(study_name="old", storage=storage)
study.set_user_attr("touched", True)
study.optimize(objective, n_trials=2)
"""
    path = script(folder, body)
    result = CliRunner().invoke(
        main, ["run", "old.log", str(path), "--trials", "1", "--repeats", "0", "--yes"]
    )
    assert result.exit_code == 0, result.output
    assert hashlib.sha256(Path("old.log").read_bytes()).hexdigest() == before
    assert (
        optuna.load_study(study_name="old", storage=JournalStorage(JournalFileBackend("old.log"))).user_attrs
        == {}
    )
