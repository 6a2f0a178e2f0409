"""Databases from whose tables somebody has deleted rows."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from galatune.study.ledger.rows import ledger
from galatune.study.scan.scan import scan
from galatune.study.search.run import run
from galatune.study.storage.reading import open_source
from tests.tiny_search import objective, old_study


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def execute(file: str, *statements: str) -> None:
    """As somebody does by hand, who knows nothing of foreign keys."""
    with sqlite3.connect(file) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def states(file: str) -> list[tuple[int, str, tuple[float, ...] | None]]:
    with open_source(file) as source:
        return [(row.number, row.state, row.values) for row in ledger(source.study()).rows]


def test_a_complete_trial_without_its_value_is_read_as_failed(folder: Path) -> None:
    old_study("sqlite:///old.db", (3.0, 1.0, 2.0))
    execute("old.db", "DELETE FROM trial_values WHERE value = 1.0")
    assert states("old.db") == [(0, "COMPLETE", (3.0,)), (1, "FAIL", None), (2, "COMPLETE", (2.0,))]
    with open_source("old.db") as source:
        assert "holds no value" in str(ledger(source.study()).rows[1].reason)
        best = source.study().best_trial
    plan = scan("old.db")
    assert plan.placeholders == {"lr": best.params["lr"]}
    assert (plan.trials.complete, plan.trials.failed) == (2, 1)
    assert plan.note == "1 trial of old read as failed: marked complete, but the storage holds no value of it"


@pytest.mark.parametrize("lost", ["objective = 0", "objective = 1"])
def test_several_objectives_of_which_one_is_missing(folder: Path, lost: str) -> None:
    old_study("sqlite:///old.db", (3.0, 1.0, 2.0), directions=("minimize", "maximize"))
    execute("old.db", f"DELETE FROM trial_values WHERE trial_id = 2 AND {lost}")
    assert [state for _, state, _ in states("old.db")] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert set(scan("old.db").placeholders) == {"lr"}


def test_values_of_more_objectives_than_the_study_has(folder: Path) -> None:
    old_study("sqlite:///old.db", (3.0, 1.0, 2.0))
    execute(
        "old.db",
        "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (2, 1, 0.5, 'FINITE')",
    )
    assert [state for _, state, _ in states("old.db")] == ["COMPLETE", "FAIL", "COMPLETE"]


def test_infinite_values_are_values(folder: Path) -> None:
    old_study("sqlite:///old.db", (3.0, float("inf"), float("-inf")))
    assert [state for _, state, _ in states("old.db")] == ["COMPLETE"] * 3


def test_a_study_that_went_on_after_a_trial_was_deleted_loses_none(folder: Path) -> None:
    """Optuna numbers by counting rows: the next one has the number of the last one again."""
    old_study("sqlite:///old.db", (4.0, 3.0, 2.0, 1.0))
    execute("old.db", "DELETE FROM trials WHERE number = 1")
    study = optuna.load_study(study_name="old", storage="sqlite:///old.db")
    study.add_trial(create_trial(value=0.5))
    assert states("old.db") == [(i, "COMPLETE", (v,)) for i, v in [(0, 4.0), (2, 2.0), (3, 1.0), (4, 0.5)]]


def test_a_deleted_trial_of_the_smaller_study_is_run_again(folder: Path) -> None:
    old_study("old.log", (4.0, 3.0, 2.0))
    plan = scan("old.log")
    before = run(plan, objective, into="new.db", trials=4, repeats=0).trials
    execute("new.db", "DELETE FROM trials WHERE number IN (1, 2)")
    after = run(plan, objective, into="new.db", trials=5, repeats=0).trials
    assert [trial.number for trial in after] == [0, 1, 2, 3, 4]
    assert all(trial.state == TrialState.COMPLETE for trial in after)
    assert [after[i].value for i in (0, 3)] == [before[i].value for i in (0, 3)]


def test_the_best_old_trial_is_deleted_between_two_runs(folder: Path) -> None:
    """The dropped rate stays at what the trials before had."""
    old_study("sqlite:///old.db", (4.0, 1.0, 2.0))
    begun = run(scan("old.db"), objective, into="new.log", trials=1, repeats=0).user_attrs["galatune"]["plan"]
    execute("old.db", "DELETE FROM trials WHERE number = 1")
    plan = scan("old.db")
    assert plan.placeholders["lr"] != begun["learning_rate"][0]["placeholder"]
    study = run(plan, objective, into="new.log", trials=2, repeats=0)
    assert len(study.trials) == 2
    assert study.user_attrs["galatune"]["plan"]["learning_rate"] == begun["learning_rate"]


def test_a_study_without_any_trial_left(folder: Path) -> None:
    old_study("sqlite:///old.db", (4.0, 1.0))
    execute("old.db", "DELETE FROM trials")
    assert scan("old.db").trials.total == 0
