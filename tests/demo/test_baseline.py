"""The demo's old study: whole or not at all, and never in anybody else's file."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner

from galatune.cli import main
from galatune.demo import baseline
from galatune.errors import PlanError


def silent(trial: optuna.trial.FrozenTrial) -> None:
    return


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "objective", lambda trial: trial.suggest_float("lr", 1e-5, 1.0, log=True))


def values(path: Path) -> list[float | None]:
    return [
        trial.value for trial in optuna.load_study(study_name="digits", storage=f"sqlite:///{path}").trials
    ]


def test_an_unfinished_study_begins_anew_and_ends_like_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole.db", tmp_path / "cut.db"
    baseline.search(whole, 5, 0, silent)

    def interrupt(trial: optuna.trial.FrozenTrial) -> None:
        if trial.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        baseline.search(cut, 5, 0, interrupt)
    assert len(values(cut)) == 3
    baseline.search(cut, 5, 0, silent)
    assert values(cut) == values(whole)


def test_a_finished_study_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "digits.db"
    baseline.search(path, 3, 0, silent)
    before = path.read_bytes()
    baseline.search(path, 3, 0, silent)
    assert path.read_bytes() == before


def test_somebody_elses_study_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "digits.db"
    theirs = optuna.create_study(study_name="digits", storage=f"sqlite:///{path}")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    before = path.read_bytes()
    with pytest.raises(PlanError, match="was not made by this demo"):
        baseline.search(path, 5, 0, silent)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["demo", "--dir", str(tmp_path / "file" / "below")])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
