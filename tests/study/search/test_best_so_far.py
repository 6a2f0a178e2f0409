"""Code that asks for the best trial so far gets one from its second trial on, also before the search."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState, create_trial
from tiny_scripts import script
from tiny_search import load, objective, old_study

from galatune.cli import main
from galatune.errors import ObjectiveError
from galatune.study.ledger.attributes import STAGE
from galatune.study.scan.scan import scan
from galatune.study.search.best_so_far import best_so_far
from galatune.study.search.pilot import pilot
from galatune.study.search.run import run

pytestmark = pytest.mark.usefixtures("folder")

VALUES = [3.0 - 0.01 * i for i in range(20)]
BEFORE = {"pilot": 3 + 4, "run": 3}
"""Trials before a search."""


def with_repeats(*values: float, direction: str = "minimize") -> optuna.Study:
    """A study of nothing but repeats."""
    study = optuna.create_study(direction=direction)
    for value in values:
        attributes = {"user_attrs": {STAGE: "repeat"}, "system_attrs": {"constraints": [1.0]}}
        study.add_trial(create_trial(value=value, **attributes))  # type: ignore[arg-type]
    return study


@pytest.mark.parametrize(("direction", "best"), [("minimize", 1.0), ("maximize", 3.0)])
def test_trials_before_the_search_count_until_it_has_a_result(direction: str, best: float) -> None:
    study = with_repeats(2.0, 1.0, 3.0, direction=direction)
    with best_so_far(study):
        assert study.best_value == study.best_trial.value == best
        study.add_trial(create_trial(value=2.5))
        assert study.best_value == 2.5
    assert type(study) is optuna.Study


@pytest.mark.parametrize("what", ["ask", "tell"])
def test_an_objective_begins_and_ends_no_trial_of_its_study(what: str) -> None:
    old_study("old.log")

    def foreign(trial: Any) -> float:
        value = objective(trial)
        return value if what == "tell" and trial.study.tell(trial, value) else trial.study.ask()

    with pytest.raises(ObjectiveError, match=f"the objective {what}s .* of the very study that runs it"):
        run(scan("old.log"), foreign, into="new.log", trials=1, repeats=0)
    assert [trial.state for trial in load().trials] == [TrialState.FAIL]


def test_without_any_value_it_is_an_error_as_in_optuna() -> None:
    study = optuna.create_study()
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={STAGE: "repeat"}))
    with best_so_far(study), pytest.raises(ValueError, match="completed"):
        study.best_value  # noqa: B018


def test_a_copy_is_an_ordinary_study() -> None:
    study = with_repeats(2.0)
    with best_so_far(study):
        copied = pickle.loads(pickle.dumps(study))
    assert type(copied) is optuna.Study
    assert [trial.value for trial in copied.trials] == [2.0]


def saving(trial: Any) -> float:
    """The objective as many write it: the best so far is saved."""
    value = objective(trial)
    if trial.number == 0 or value < trial.study.best_value:
        Path("best").write_text(str(trial.number))
    return value


@pytest.mark.parametrize("command", ["pilot", "run"])
def test_an_objective_may_compare_with_the_best_so_far(command: str) -> None:
    old_study("old.log", values=VALUES)
    if command == "pilot":
        pilot(scan("old.log"), saving, into="new.log")
    else:
        run(scan("old.log"), saving, into="new.log", trials=2, confirm=False)
    trials = load().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * (7 if command == "pilot" else 5)
    assert Path("best").exists()


LOOP = """
import joblib
study = new()
for number in range(30):
    trial = study.ask()
    study.tell(trial, objective(trial))
    joblib.dump(study, "study.pkl")
    with open("said.txt", "a") as file:
        file.write(f"{study.best_value} {study.best_params['lr']} {study.best_trial.number}\\n")
"""

LOADED = """
for number in range(30):
    study = new()
    trial = study.ask()
    study.tell(trial, objective(trial))
    with open("said.txt", "a") as file:
        file.write(f"{study.best_value}\\n")
"""

ONE_LINE = """
study = new()
for number in range(30):
    trial = study.ask(); study.tell(trial, objective(trial))
    with open("said.txt", "a") as file:
        file.write(f"{study.best_value}\\n")
"""


@pytest.mark.parametrize("body", [LOOP, LOADED, ONE_LINE])
@pytest.mark.parametrize("command", ["pilot", "run"])
def test_a_loop_may_print_the_best_so_far(body: str, command: str, folder: Path) -> None:
    old_study("old.log", values=VALUES)
    more = ["--trials", "2", "--no-confirm"] if command == "run" else []
    words = [command, "old.log", str(script(folder, body)), "--into", "new.log", *more]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    trials = load().trials
    assert len(trials) == BEFORE[command] + len(more[1:2]) * 2
    assert len(Path("said.txt").read_text().splitlines()) == len(trials)


CALLBACKS = """
def keep(study, trial):
    if study.best_trial.number == trial.number:
        study.set_user_attr("best", trial.number)
    with open("said.txt", "a") as file:
        file.write(f"{trial.number}\\n")
new().optimize(objective, n_trials=9, callbacks=[keep])
"""


@pytest.mark.parametrize("command", ["pilot", "run"])
def test_callbacks_are_called_after_trials_of_the_search_alone(command: str, folder: Path) -> None:
    old_study("old.log", values=VALUES)
    more = ["--trials", "2", "--no-confirm"] if command == "run" else []
    words = [command, "old.log", str(script(folder, CALLBACKS)), "--into", "new.log", *more]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "is called no more" not in result.stderr
    said = Path("said.txt").read_text().split() if Path("said.txt").exists() else []
    assert said == ([] if command == "pilot" else ["3", "4"])
