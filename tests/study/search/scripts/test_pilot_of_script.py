"""`galatune pilot` on scripts: the pairs come in the place of the search, and the script ends there."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from optuna.trial import TrialState
from tiny_scripts import SHAPES, script
from tiny_search import load, old_study

from galatune.cli import main
from galatune.study.ledger.attributes import STAGE

VALUES = [3.0 - 0.01 * i for i in range(20)]
"""Of 20 old trials, so that there are two pairs."""

WHOLE = ["repeat"] * 3 + ["pilot"] * 4


@pytest.fixture(autouse=True)
def old(folder: Path) -> None:
    old_study("old.log", values=VALUES)


def typed(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def pilot(*words: object, status: int = 0) -> Result:
    result = typed("pilot", "old.log", "--into", "new.log", *words)
    assert result.exit_code == status, result.output
    return result


def stages(name: str = "old-gala") -> list[str | None]:
    trials = load(name=name).trials
    return [trial.user_attrs.get(STAGE) for trial in trials if trial.state.is_finished()]


def next_command(result: Result) -> list[str]:
    """Words of the command that goes on, without the program's name."""
    line = next(line for line in result.stderr.splitlines() if line.startswith("To go on: galatune "))
    return shlex.split(line)[4:]


TRIED = (
    *("module level", "nested function", "lambda", "partial", "method", "callable object"),
    *("globals under main", "one trial per call", "until there are enough", "load or create"),
    *("ask and tell", "ask and tell by number, defined", "ask and tell while true", "ask in batches"),
)


@pytest.mark.parametrize("shape", TRIED)
def test_each_shape_is_piloted_and_ends_there(shape: str, folder: Path) -> None:
    Path("own.db").write_bytes(b"not to be touched")
    result = pilot(script(folder, SHAPES[shape]))
    assert stages() == WHOLE
    assert "The pilot comes in the place of its search, and the script ends there" in result.stderr
    assert not Path("said.txt").exists(), "nothing behind its search runs"
    assert Path("own.db").read_bytes() == b"not to be touched"


ARGUMENTS = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, required=True)
parser.add_argument("name")
args = parser.parse_args()
def main():
    study = new()
    study.optimize(lambda trial: args.width * objective(trial), n_trials=9)
    say(study)
main()
"""

CLICK = """
import click
@click.command()
@click.option("--width", type=int, required=True)
@click.argument("name")
def main(width, name):
    study = new()
    study.optimize(lambda trial: width * objective(trial), n_trials=9)
    say(study)
main()
"""


@pytest.mark.parametrize("body", [ARGUMENTS, CLICK])
@pytest.mark.parametrize("saved", [(), ("--save", "my plan.json")])
def test_what_it_prints_next_runs_the_script_with_its_choice(
    body: str, saved: tuple[str, ...], folder: Path
) -> None:
    path = script(folder, body)
    words = next_command(pilot(path, *saved, "--", "--width", 2, "a b"))
    assert words[-4:] == ["--", "--width", "2", "a b"]
    assert ("--plan" in words) == bool(saved)
    place = words.index("--")
    result = typed(*words[:place], "--trials", 1, "--no-confirm", *words[place:])
    assert result.exit_code == 0, result.output
    assert "Pilot: " in result.stderr
    assert stages() == [*WHOLE, None]
    assert Path("said.txt").exists(), "a run goes on behind the search"


def test_a_module_is_piloted_as_with_python_m(folder: Path) -> None:
    package = folder / "pilotedpackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "names.py").write_text("NAME = 'old'\n")
    script(package, "from .names import NAME\nnew(NAME).optimize(objective, n_trials=9)\n")
    words = next_command(pilot("-m", "pilotedpackage.train", "--seed", 3, "--", "--fast", "x"))
    assert words == [
        *("run", "old.log", "-m", "pilotedpackage.train", "--into", "new.log", "--seed", "3"),
        *("--", "--fast", "x"),
    ]
    assert stages() == WHOLE


def test_enqueued_configurations_are_left_for_the_run(folder: Path) -> None:
    body = """
study = new()
study.enqueue_trial({"lr": 1e-3, "width": 8})
study.enqueue_trial({"lr": 1e-2, "width": 8})
study.optimize(objective, n_trials=9)
"""
    path = script(folder, body)
    assert "1 enqueued configuration left for the run" in pilot(path).stderr
    assert stages() == WHOLE
    result = typed("run", "old.log", path, "--into", "new.log", "--trials", 1, "--no-confirm")
    assert result.exit_code == 0, result.output
    assert load().trials[-1].params == {"width": 8}


def test_sampler_and_pruner_of_the_script_do_not_stand_between_pilot_and_run(folder: Path) -> None:
    body = """
study = new(sampler=optuna.samplers.RandomSampler(seed=3), pruner=optuna.pruners.HyperbandPruner())
study.optimize(objective, n_trials=9)
"""
    path = script(folder, body)
    assert "taken over: its objective, RandomSampler, HyperbandPruner. The pilot" in pilot(path).stderr
    result = typed("run", "old.log", path, "--into", "new.log", "--trials", 1, "--no-confirm")
    assert result.exit_code == 0, result.output
    about = load().user_attrs["galatune"]
    assert (about["sampler"], about["pruner"]) == ("RandomSampler", "HyperbandPruner")


TWO = """
first, second = new("one"), new("two")
first.optimize(lambda trial: 2 * objective(trial), n_trials=3)
second.optimize(objective, n_trials=3)
"""


def test_study_says_which_of_several_is_piloted(folder: Path) -> None:
    old_study("two.log", name="one", values=VALUES)
    old_study("two.log", name="two", values=VALUES)
    path = script(folder, TWO)
    result = typed("pilot", "two.log", path, "--study", "two", "--into", "new.log")
    assert result.exit_code == 0, result.output
    assert "Study 'one' is not searched: it has its 20 old trials" in result.stderr
    assert stages("two-gala") == WHOLE
    assert next_command(result)[3:5] == ["--study", "two"]


def test_a_script_that_holds_the_end_back_is_told_apart_from_its_pilot(folder: Path) -> None:
    body = """
study = new()
try:
    study.optimize(objective, n_trials=9)
except BaseException:
    pass
study.best_value
"""
    result = pilot(script(folder, body), "--json")
    assert json.loads(result.stdout)["over"]
    assert stages() == WHOLE


def test_the_objective_and_callbacks_do_not_stop_a_pilot(folder: Path) -> None:
    body = """
def stopping(trial):
    value = objective(trial)
    trial.study.stop()
    return value
def note(study, trial):
    study.stop()
study = new()
study.optimize(stopping, n_trials=9, callbacks=[note])
"""
    path = script(folder, body)
    pilot(path)
    assert stages() == WHOLE
    result = typed("run", "old.log", path, "--into", "new.log", "--trials", 5, "--no-confirm")
    assert result.exit_code == 0, result.output
    assert stages() == [*WHOLE, None], "a search is stopped by its objective"


SHORT = """
study = new()
for number in range({trials}):
    trial = study.ask()
    study.tell(trial, objective(trial))
{behind}
"""


@pytest.mark.parametrize(
    ("trials", "behind", "words"),
    [
        (2, "", "the pilot was ended after 2 trainings, before its first pair"),
        (5, "", "1 of at most 2 pairs are done, since the loop that asks for trials ends; go on with"),
        (5, "raise RuntimeError('no space')", "(the script ended with RuntimeError: no space (train.py:"),
    ],
)
def test_a_loop_that_asks_for_too_few_goes_on_with_the_same_command(
    trials: int, behind: str, words: str, folder: Path
) -> None:
    path = script(folder, SHORT.format(trials=trials, behind=behind))
    for done in range(trials, len(WHOLE), trials):
        result = pilot(path, "--save", "plan.json", status=1)
        last = result.stderr.splitlines()[-1]
        assert last.startswith("galatune: the pilot ")
        assert words in last or done > trials
        assert stages() == WHOLE[:done]
        assert not Path("plan.json").exists()
    pilot(path, "--save", "plan.json")
    assert stages() == WHOLE
    assert json.loads(Path("plan.json").read_text())["pilot"]["over"]


def test_what_a_script_ended_with_is_said_before_what_that_did_to_the_pilot(folder: Path) -> None:
    path = script(folder, SHORT.format(trials=1, behind="raise RuntimeError('no space')"))
    said = pilot(path, status=1).stderr.splitlines()
    assert said[-2].startswith("train.py ended with RuntimeError: no space (train.py:")
    assert said[-1].startswith("galatune: the pilot was ended after 1 training")


@pytest.mark.parametrize(
    "command", [("pilot",), ("run", "--trials", "1", "--no-confirm")], ids=["pilot", "run"]
)
def test_a_loop_that_was_interrupted_in_its_first_training_goes_on(
    command: tuple[str, ...], folder: Path
) -> None:
    body = """
from pathlib import Path
study = new()
for number in range(30):
    trial = study.ask()
    value = objective(trial)
    if not Path("interrupted").exists():
        Path("interrupted").touch()
        raise KeyboardInterrupt
    told = study.tell(trial, value)
    assert (told.number, told.value, "lr" in told.params) == (trial.number, value, True)
"""
    words = (command[0], "old.log", script(folder, body), "--into", "new.log", *command[1:])
    assert typed(*words).exit_code == 130
    result = typed(*words)
    assert result.exit_code == 0, result.output
    done = [trial for trial in load().trials if trial.state == TrialState.COMPLETE]
    expected = WHOLE if command[0] == "pilot" else [*WHOLE[:3], None]
    assert sorted(str(trial.user_attrs.get(STAGE)) for trial in done) == sorted(map(str, expected))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("study = new()\n", "ended without a search: it makes old and calls neither study.optimize nor"),
        ("1 / 0\n", "ended before it searched: ZeroDivisionError: division by zero (train.py:"),
        ("new(direction='maximize').optimize(objective)\n", "'old' of the script is to maximize"),
        ("def bad(trial):\n    suggest(trial)\n    1 / 0\nnew().optimize(bad)\n", "ZeroDivisionError"),
        ("new().optimize(lambda trial: 1.0)\n", "no torch optimizer stepped"),
    ],
)
def test_what_cannot_be_piloted_is_one_line(body: str, words: str, folder: Path) -> None:
    last = pilot(script(folder, body), status=1).stderr.splitlines()[-1]
    assert last.startswith("galatune: ")
    assert words in last


@pytest.mark.parametrize("shape", ["lambda", "partial"])
@pytest.mark.parametrize("command", ["pilot", "run"])
def test_what_cannot_be_named_is_offered_to_the_same_command(
    shape: str, command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(folder, SHAPES[shape], "unnamed.py")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "unnamed", raising=False)
    result = typed(command, "old.log", f"{path}:missing")
    assert result.exit_code == 1
    assert f"galatune {command} STORAGE {path}" in result.stderr
    assert f"galatune {command} STORAGE -m unnamed" in typed(command, "old.log", "unnamed:missing").stderr
