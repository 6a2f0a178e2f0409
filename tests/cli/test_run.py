"""`galatune run` as people type it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner, Result
from optuna.trial import TrialState
from rich.console import Console
from tiny_search import HEADER, OBJECTIVE, objective_file, old_study

from galatune.cli import main
from galatune.cli.progress import AboveTheBar, RunProgress
from galatune.study.ledger.attributes import UNFINISHED
from galatune.study.scan.scan import scan
from galatune.study.search.summary import RunSummary

HONEST = ("run", "old.log", "tiny_objective.py:objective", "--into", "new.log")
OUR = (*HONEST[:3], "--repeats", "0", *HONEST[3:])
"""Without repeats of the old best, which `HONEST` has."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with an old study, which has to stay as it is, and an objective."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    old_study("old.log")
    objective_file(tmp_path)
    digest = hashlib.sha256((tmp_path / "old.log").read_bytes()).hexdigest()
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    assert hashlib.sha256((tmp_path / "old.log").read_bytes()).hexdigest() == digest


def galatune(*arguments: str) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def body(*arguments: str) -> dict[str, Any]:
    result = galatune(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def complaint(*arguments: str, status: int = 1) -> str:
    """The one line on stderr."""
    result = galatune(*arguments)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    if status == 1:
        assert lines[-1].startswith("galatune: ")
        assert not any(line.startswith("Traceback") for line in lines)
    return lines[-1]


def load(file: str = "new.log", name: str = "old-gala") -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(file)
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))


FAILS_LATER = f"""{OBJECTIVE.replace("def objective(", "def inner(")}

def objective(trial):
    value = inner(trial)
    if trial.number > 1:
        raise ValueError
    return value
"""


# -- what a user reads


def test_stdout_is_one_json_object(folder: Path) -> None:
    found = body(*OUR, "--trials", "2")
    assert set(found) == {
        "study",
        "storage",
        "trials",
        "by_state",
        "interrupted",
        "own_steps",
        "best_value",
        "best_params",
        "best_trials",
        "stopped_because",
        "events",
        "control",
        "warm_start",
        "best_polish",
        "old_best",
        "goal",
        "repeats",
        "confirmed",
        "missed_by",
        "standard_errors",
        "advice",
        "next",
    }
    assert (found["study"], found["storage"], found["trials"]) == ("old-gala", "new.log", 2)
    assert found["best_value"] == load().best_value
    assert set(found["best_params"]) == {"width", "weight_decay"}
    assert found["stopped_because"] == "the budget of 2 trials is used up"
    assert found["events"] > 0


def test_the_command_prints_what_the_summary_says() -> None:
    result = galatune(*OUR, "--trials", "2")
    summary = RunSummary.of(load(), "new.log")
    assert result.stdout == summary.text(width=80)
    found = body(*OUR, "--trials", "2")
    assert found == {**json.loads(json.dumps(summary.to_json())), "next": found["next"]}


def test_stdout_is_a_table_and_stderr_has_a_line_a_trial() -> None:
    result = galatune(*OUR, "--trials", "2")
    assert result.exit_code == 0
    assert "stopped         the budget of 2 trials is used up" in result.stdout
    assert "2 COMPLETE" in result.stdout
    lines = result.stderr.splitlines()
    assert re.fullmatch(r"Dropped: lr \(now [\d.e-]+\)\. Searched: width, weight_decay\.", lines[0])
    assert lines[1] == "Budget: 2 trials, into new.log."
    number = r"[\d.]+(e-\d+)?"
    assert re.fullmatch(
        rf"Trial 0: complete {number}, {number} s, lr up to {number}, best {number}, at most \d+ s left",
        lines[2],
    )
    assert re.fullmatch(
        rf"Trial 1: complete {number}, {number} s, lr up to {number}, best {number}", lines[3]
    )
    assert lines[4].startswith("To go on: galatune run old.log tiny_objective.py:objective --into new.log ")
    assert "--repeats 0" in lines[4]
    assert lines[5:] == ["What it saved: galatune report old.log --study old --into new.log"]


TWO = f"""{HEADER}

def objective(trial):
    one, two = make(trial), make(trial)
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    value = train(torch.optim.SGD(one.parameters(), lr=3 * lr), one)
    return value + train(torch.optim.SGD(two.parameters(), lr=0.05), two)
"""


def test_a_trial_says_how_many_of_its_optimizers_were_controlled(folder: Path) -> None:
    objective_file(folder, TWO)
    lines = galatune(*OUR, "--trials", "2").stderr.splitlines()
    assert ["1 of 2 optimizers controlled, best" in line for line in lines[2:4]] == [True, True]


def test_constraints_that_only_the_old_sampler_knew_are_missed_aloud() -> None:
    held = optuna.trial.create_trial(value=0.0, system_attrs={"constraints": [1.0]})
    old_study("held.log").add_trial(held)
    words = "Its sampler knew constraints that no storage keeps"
    assert words in galatune("scan", "held.log").stdout
    typed = ("run", "held.log", "tiny_objective.py:objective", "--into", "new.log", "--trials", "1")
    assert words in galatune(*typed).stderr
    assert words not in galatune(*OUR[:-1], "other.log", "--trials", "1").stderr


def test_the_old_best_is_repeated_first_and_the_goal_is_said() -> None:
    result = galatune(*HONEST, "--no-prior", "--trials", "2")
    lines = result.stderr.splitlines()
    assert lines[1] == (
        "Budget: 2 trials; on top of that 3 repeats of the old best at its own rate and 3 repeats of a trial "
        "that matches, into new.log."
    )
    assert [line.split(" complete")[0] for line in lines[2:5]] == [
        f"Trial {number}: the old best again," for number in range(3)
    ]
    assert not any("best" in line.split("again, ")[1] for line in lines[2:5]), "they are no best so far"
    assert re.match(r"Goal: [\d.]+, the mean of 3 repeats of the old best at its own rate \(", lines[5])
    assert re.match(r"A trial matches from [\d.]+ on: the margin is [\d.]+, ", lines[6])
    assert lines[7].startswith("Trial 3: complete")
    assert re.search(r"^goal +[\d.]+ \(mean of 3 repeats; once 1\), ", result.stdout, re.MULTILINE)
    found = body(*HONEST, "--no-prior", "--trials", "2")
    assert (found["trials"], len(found["repeats"]), found["old_best"]) == (5, 3, 1.0)
    assert found["goal"] == pytest.approx(sum(found["repeats"]) / 3)


def test_a_match_is_confirmed_unless_that_is_turned_off() -> None:
    loose = ("--trials", "4", "--until-match", "--tolerance", "99%")
    found = body(*HONEST, *loose)
    assert found["confirmed"] is True
    assert found["stopped_because"].endswith("confirmed by repeats")
    alone = body(*HONEST[:-1], "other.log", *loose, "--no-confirm")
    assert (alone["confirmed"], alone["trials"]) == (None, found["trials"] - 3)


def test_several_objectives_are_not_repeated_and_that_is_said_once() -> None:
    old_study("both.log", directions=["minimize", "maximize"])
    text = OBJECTIVE.replace("def objective(", "def inner(")
    objective_file(Path(), f"{text}\ndef objective(trial):\n    return inner(trial), 2.0\n")
    typed = ("run", "both.log", "tiny_objective.py:objective", "--into", "new.log", "--trials", "1")
    result = galatune(*typed)
    assert result.stderr.count("the old best is not repeated, since several objectives") == 1
    assert len(load().trials) == 1


def test_a_continued_run_says_so() -> None:
    galatune(*OUR, "--trials", "2")
    result = galatune(*OUR, "--trials", "3")
    assert "Continuing after 2 trials." in result.stderr
    assert "Trial 2: complete" in result.stderr
    assert "Trial 1" not in result.stderr


def test_the_default_is_until_the_match() -> None:
    assert "Budget: until a trial reaches" in galatune(*OUR).stderr


def test_an_objective_may_print_and_warn_as_it_likes(folder: Path) -> None:
    text = f"""{OBJECTIVE}
import os, sys, warnings
print("hello from the import")
unchanged = objective

def objective(trial):
    print("x" * 1000)
    os.write(1, b"by descriptor")
    os.system("echo by a child")
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    optuna.logging.get_logger("mine").warning("a log line")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful")
    return unchanged(trial)
"""
    objective_file(folder, text)
    result = run_apart("--trials", "2", "--repeats", "0", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["trials"] == 2
    for words in ("hello from the import", "by descriptor", "by a child", "a log line", "careful"):
        assert words in result.stderr


@pytest.mark.parametrize("stream", ["sys.stdout", "sys.stderr"])
def test_an_objective_may_close_its_streams(folder: Path, stream: str) -> None:
    text = OBJECTIVE.replace("def objective(", "def inner(")
    closes = f"import sys\n{text}\ndef objective(trial):\n    {stream}.close()\n    return inner(trial)\n"
    objective_file(folder, closes)
    result = galatune(*OUR, "--trials", "2")
    assert (result.exit_code, result.stderr.count("complete")) == (0, 2)
    assert "2 COMPLETE" in result.stdout


def test_help_names_only_what_there_is() -> None:
    text = galatune("run", "--help").stdout
    assert "\n  Examples:\n    galatune run optuna.db train.py:objective --trials 20\n" in text
    assert "--replay" not in text
    assert galatune(*OUR, "--replay").exit_code == 2
    for option in (
        "--trials",
        "--workers",
        "--until-match",
        "--patience",
        "--repeats",
        "--no-confirm",
        "--yes",
    ):
        assert option in text


def test_a_percentage_is_a_tolerance() -> None:
    assert body(*OUR, "--trials", "1", "--until-match", "--tolerance", "5%")["trials"] == 1
    options = load().user_attrs["galatune"]["options"]
    assert options["tolerance"] == 0.05
    assert "old best 1, tolerance 2.5 %" in galatune(*OUR, "--tolerance", "2.5%").stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ("--trials", "0"),
        ("--trials", "-3"),
        ("--trials", "many"),
        ("--patience", "0"),
        ("--repeats", "-1"),
        ("--repeats", "51"),
        ("--seed", "-1"),
        ("--tolerance", "much"),
        ("--tolerance", "100%"),
        ("--tolerance", "1%%"),
        ("--tolerance", "nan"),
        ("--name", ""),
        ("--study", " "),
        ("--probe", "sonar"),
        ("--min-lr", "low"),
        ("--nonsense",),
    ],
)
def test_wrong_usage_is_status_2(folder: Path, wrong: tuple[str, ...]) -> None:
    assert galatune(*OUR, *wrong).exit_code == 2
    assert not (folder / "new.log").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "missing.db", "tiny_objective.py:objective"), "No such file: 'missing.db'"),
        (("run", "tiny_objective.py", "tiny_objective.py:objective"), "Neither an SQLite file nor"),
        ((*OUR, "--study", "olt"), "No study 'olt' in old.log; it holds: old"),
        (("run", "two.log", "tiny_objective.py:objective"), "--study: one, two"),
        (("run", "old.log", "tiny_objective.py:objektive"), "it has: train, make, objective"),
        (("run", "old.log", "missing.py:objective"), "No such file: 'missing.py'"),
        (("run", "old.log", "tiny_objective"), "names no objective"),
        (("run", "none.log", "tiny_objective.py:objective"), "name one with --lr"),
        (("run", "failed.log", "tiny_objective.py:objective"), "say how many trials with --trials"),
        ((*OUR, "--lr", "learn"), "learn"),
        ((*OUR, "--keep", "lr"), "name one with --lr"),
        ((*OUR[:-1], "old.log"), "--into"),
        ((*OUR[:-1], "./old.log"), "--into"),
        ((*OUR[:-1], "nowhere/new.db"), "No such directory"),
        ((*OUR[:-1], "tiny_objective.py"), "'tiny_objective.py'. Name another place with --into"),
        ((*OUR[:-1], "foreign.db"), "something else than Optuna"),
        ((*OUR[:-1], "."), "directory"),
        ((*OUR, "--min-lr", "1", "--max-lr", "0.1"), "min_lr"),
        ((*OUR, "--max-lr", "nan"), "max_lr"),
        ((*OUR, "--seed", str(2**32)), "--seed"),
    ],
)
def test_bad_input_is_one_line_and_status_1(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    for name in ("one", "two"):
        old_study("two.log", name=name)
    old_study("none.log", rates={})
    old_study("failed.log", [TrialState.FAIL, TrialState.FAIL])
    with closing(sqlite3.connect("foreign.db")) as connection:
        connection.execute("CREATE TABLE mine (x INT)")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert words in complaint(*arguments)
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after == before


def test_an_objective_that_always_fails_is_mended_and_continued(folder: Path) -> None:
    objective_file(folder, "def objective(trial):\n    return 1 / 0\n")
    words = complaint(*OUR, "--trials", "8")
    assert "5 trials in a row failed" in words
    assert "ZeroDivisionError: division by zero (tiny_objective.py:2)" in words
    objective_file(folder)
    found = body(*OUR, "--trials", "8")
    assert found["by_state"] == {"COMPLETE": 3, "FAIL": 5}


@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_that_fails_says_what_was_reached(folder: Path, as_json: bool) -> None:
    objective_file(folder, FAILS_LATER)
    result = galatune(*OUR, "--trials", "8", *(["--json"] if as_json else []))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("galatune: 5 trials in a row failed")
    advice = "mend the objective, then the same command continues the search"
    if as_json:
        found = json.loads(result.stdout)
        assert (found["by_state"], found["advice"]) == ({"COMPLETE": 2, "FAIL": 5}, advice)
        assert (found["best_value"], found["next"]) == (load().best_value, None)
    else:
        assert f"best value      {load().best_value:.6g}" in result.stdout
        assert " ".join(advice.split()) in " ".join(result.stdout.split())


def test_a_run_that_is_interrupted_says_what_was_reached(folder: Path) -> None:
    objective_file(folder, FAILS_LATER.replace("ValueError", "KeyboardInterrupt"))
    result = galatune(*OUR, "--trials", "8", "--json")
    assert result.exit_code == 130
    found = json.loads(result.stdout)
    assert (found["by_state"]["COMPLETE"], found["best_value"]) == (2, load().best_value)
    assert (found["stopped_because"], found["missed_by"] is None) == (UNFINISHED, found["advice"] is None)


def test_the_first_trial_without_a_torch_optimizer_ends_the_run(folder: Path) -> None:
    objective_file(folder, f"{HEADER}\ndef objective(trial):\n    make(trial)\n    return 1.0\n")
    for trials in (1, 2):  # the same command tries the next configuration
        words = complaint(*OUR, "--trials", "5")
        assert f"Trial {trials - 1} ended the run: no torch optimizer stepped in this process" in words
        assert [trial.state.name for trial in load().trials] == ["FAIL"] * trials
    assert "no torch optimizer" in load().user_attrs["galatune"]["stopped_because"]


def test_a_repeat_without_a_torch_optimizer_ends_the_run_at_once(folder: Path) -> None:
    objective_file(folder, f"{HEADER}\ndef objective(trial):\n    make(trial)\n    return 1.0\n")
    words = complaint(*HONEST, "--trials", "5")
    assert "Trial 0 ended the run: no torch optimizer stepped in this process" in words
    assert [trial.state.name for trial in load().trials] == ["COMPLETE", "WAITING", "WAITING"]


def test_a_configuration_without_torch_fails_beside_others_with_it(folder: Path) -> None:
    text = OBJECTIVE.replace(
        "    net = make(trial)\n    decay",
        "    net = make(trial)\n    if trial.number == 1:\n        return 1.0\n    decay",
    )
    objective_file(folder, text)
    assert body(*OUR, "--trials", "3")["by_state"] == {"COMPLETE": 2, "FAIL": 1}


def test_other_options_need_a_yes() -> None:
    galatune(*OUR, "--trials", "1")
    words = complaint(*OUR, "--trials", "2", "--seed", "4")
    assert "was begun with seed 0 (now 4)" in words
    assert "--yes" in words
    assert body(*OUR, "--trials", "2", "--seed", "4", "--yes")["trials"] == 2


def test_another_version_of_the_objective_needs_a_yes(folder: Path) -> None:
    galatune(*OUR, "--trials", "1")
    objective_file(folder, OBJECTIVE + "\n# mended\n")
    assert "was begun with another version of tiny_objective.py; continue it" in complaint(
        *OUR, "--trials", "2"
    )
    assert body(*OUR, "--trials", "2", "--yes")["trials"] == 2


def test_a_value_that_is_not_finite_is_no_best_value(folder: Path) -> None:
    text = OBJECTIVE.replace("def objective(", "def inner(")
    text += "\ndef objective(trial):\n    return (inner(trial), float('-inf'))[1]\n"
    objective_file(folder, text)
    found = body(*OUR, "--trials", "2")
    assert found["best_value"] is None
    assert found["by_state"] == {"COMPLETE": 2}


def test_several_objectives_have_no_single_best(folder: Path) -> None:
    old_study("both.log", directions=["minimize", "maximize"])
    text = OBJECTIVE.replace("def objective(", "def inner(")
    objective_file(folder, f"{text}\ndef objective(trial):\n    return inner(trial), 2.0\n")
    found = body("run", "both.log", "tiny_objective.py:objective", "--into", "new.log")
    assert (found["best_value"], found["best_params"]) == (None, None)
    best = min(trial.values for trial in load(name="old-gala").trials)
    assert [trial["values"] for trial in found["best_trials"]] == [best]
    shown = galatune("run", "both.log", "tiny_objective.py:objective", "--into", "new.log").stdout
    shown = "\n".join(line.rstrip() for line in shown.splitlines())
    assert re.search(r"^Pareto front +1 trial$", shown, re.MULTILINE)
    assert re.search(rf"^  trial {found['best_trials'][0]['number']} +{best[0]:.6g}, 2$", shown, re.MULTILINE)
    assert "none" not in shown
    assert (
        "hypervolume" in galatune("run", "both.log", "tiny_objective.py:objective", "--into", "b.log").stderr
    )


def test_names_from_a_storage_are_printed_as_text(folder: Path) -> None:
    old_study("odd.log", name="a [b]\x1b[31m; rm -rf ~ 'x'")
    result = galatune("run", "odd.log", "tiny_objective.py:objective", "--trials", "1")
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "a [b]\\x1b[31m; rm -rf ~" in result.stdout
    assert [path.suffix for path in folder.iterdir() if "gala" in path.name] == [".db"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_command_that_comes_next_can_be_pasted(folder: Path) -> None:
    name, into = "a [b]\x1b[31m 'x' \\ \u00a0\n", "new \x07.log"
    old_study("odd.log", name=name)
    result = galatune("run", "odd.log", "tiny_objective.py:objective", "--trials", "1", "--into", into)
    assert result.exit_code == 0, result.stderr
    line = result.stderr.splitlines()[-1].removeprefix("What it saved: ")
    assert line.isprintable()
    told = subprocess.run(
        ["bash", "-c", f"galatune() {{ printf '%s\\0' \"$@\"; }}; {line}"], capture_output=True, check=True
    )
    words = told.stdout.decode().split("\0")[:-1]
    assert words == ["report", "odd.log", "--study", name, "--into", into]


# -- PostgreSQL


@pytest.mark.slow
def test_a_server_on_both_sides_never_shows_its_password(
    folder: Path, postgresql_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import sqlalchemy

    secret = "Sw0rd:f%sh"
    url = sqlalchemy.make_url(postgresql_url)
    role = f"role_{url.database}"
    engine = sqlalchemy.create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'Sw0rd:f%sh'"))
    try:
        source = url.set(username=role, password=secret).render_as_string(hide_password=False)
        old_study(source)
        result = run_apart("--trials", "2", "--json", source=source, into="new.log")
        assert result.returncode == 0, result.stderr
        attributes = json.dumps(load().user_attrs) + json.dumps([t.user_attrs for t in load().trials])
        shown = [result.stdout, result.stderr, attributes]
        refused = run_apart("--trials", "2", "--name", "old", source=source, into=source)
        assert refused.returncode == 1
        assert "--name" in refused.stderr
        result = run_apart("--trials", "2", source="old.log", into=source)
        assert result.returncode == 0, result.stderr
        again = run_apart("--trials", "3", "--json", source="old.log", into=source)
        assert json.loads(again.stdout)["trials"] == 3
        broken = source.replace(url.database or "", "no_such_database")
        lost = run_apart("--trials", "2", source="old.log", into=broken)
        gone = run_apart("--trials", "2", source=broken, into="new.log")
        assert (lost.returncode, gone.returncode) == (1, 1)
        study = optuna.load_study(study_name="old-gala", storage=source)
        shown += [json.dumps(study.user_attrs), json.dumps([t.user_attrs for t in study.trials])]
        for one in (refused, result, again, lost, gone):
            shown += [one.stdout, one.stderr]
        study._storage.remove_session()
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
        for text in shown:
            assert "Sw0rd" not in text
            assert "f%sh" not in text
            assert "f%25sh" not in text
            assert "Traceback" not in text
    finally:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"REASSIGN OWNED BY {role} TO CURRENT_USER"))
            connection.execute(sqlalchemy.text(f"DROP ROLE {role}"))
        engine.dispose()


# -- processes


def command(*more: str, source: str = "old.log", into: str = "new.log") -> list[str]:
    start = [sys.executable, "-c", "from galatune.cli import main; main()"]
    return [*start, "run", source, "tiny_objective.py:objective", "--into", into, *more]


def run_apart(*more: str, source: str = "old.log", into: str = "new.log") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*more, source=source, into=into), capture_output=True, text=True, timeout=120, check=False
    )


SLOW = OBJECTIVE.replace("def objective(", "def inner(") + (
    "\nimport time, pathlib\n\n"
    "def objective(trial):\n"
    "    value = inner(trial)\n"
    "    if trial.number == 2 and not pathlib.Path('go').exists():\n"
    "        pathlib.Path('waiting').touch()\n"
    "        time.sleep(60)\n"
    "    return value\n"
)


def stopped_in_the_third_trial(folder: Path, number: signal.Signals, into: str) -> tuple[int, str]:
    """Exit status and stderr of a run that got a signal in the middle of its third trial."""
    objective_file(folder, SLOW)
    process = subprocess.Popen(
        command("--trials", "5", into=into), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 90
    while not (folder / "waiting").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert {"stopped", "best"} <= {line.partition(" ")[0] for line in out.splitlines()}
    (folder / "go").touch()
    return process.returncode, err


def open_result(into: str) -> optuna.Study:
    if into.endswith(".log"):
        return load(into)
    return optuna.load_study(study_name="old-gala", storage=f"sqlite:///{into}")


def whole_run() -> list[float | None]:
    assert galatune(*OUR[:-1], "whole.log", "--trials", "5").exit_code == 0
    return [trial.value for trial in load("whole.log").trials]


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "into"), [(signal.SIGINT, "new.db"), (signal.SIGTERM, "new.log")])
def test_an_interruption_loses_no_finished_trial(folder: Path, number: signal.Signals, into: str) -> None:
    whole = whole_run()
    status, err = stopped_in_the_third_trial(folder, number, into)
    assert status == 130
    assert f"Interrupted. 2 finished trials kept in {into}; the same command continues." in err.splitlines()
    assert "Traceback" not in err
    states = [trial.state.name for trial in open_result(into).trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "WAITING"]
    result = run_apart("--trials", "5", "--json", into=into)
    found = json.loads(result.stdout)
    assert (found["by_state"], found["interrupted"]) == ({"COMPLETE": 5, "FAIL": 1}, 1)
    trials = open_result(into).trials
    assert trials[3].params == trials[2].params
    assert [trial.value for trial in trials if trial.state == TrialState.COMPLETE] == whole


@pytest.mark.slow
@pytest.mark.parametrize("into", ["new.log", "new.db"])
def test_a_killed_run_is_completed_by_the_same_command(folder: Path, into: str) -> None:
    whole = whole_run()
    status, _ = stopped_in_the_third_trial(folder, signal.SIGKILL, into)
    assert status == -signal.SIGKILL
    assert [trial.state.name for trial in open_result(into).trials] == ["COMPLETE", "COMPLETE", "RUNNING"]
    result = run_apart("--trials", "5", "--json", into=into)
    assert json.loads(result.stdout)["by_state"] == {"COMPLETE": 5, "FAIL": 1}
    trials = open_result(into).trials
    assert trials[2].user_attrs["galatune_reason"].startswith("its process is gone")
    assert [trial.value for trial in trials if trial.state == TrialState.COMPLETE] == whole


@pytest.mark.slow
@pytest.mark.parametrize("into", ["new.log", "new.db"])
def test_the_same_command_twice_at_once_harms_nothing(folder: Path, into: str) -> None:
    assert run_apart("--trials", "1", into=into).returncode == 0
    both = [
        subprocess.Popen(
            command("--trials", "12", into=into), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in both:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert "Traceback" not in out + err
    trials = open_result(into).trials
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == 12
    assert len({str(trial.params) for trial in complete}) == 12
    assert [trial.state.name for trial in trials[12:]] in ([], ["WAITING"]), "one without a ticket"


def as_anybody(command: list[str]) -> list[str]:
    """The command without root's right to write everywhere."""
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv")
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *command]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new.db", "new.log"])
def test_an_unwritable_folder_is_one_line(folder: Path, name: str) -> None:
    (folder / "closed").mkdir(mode=0o500)
    done = subprocess.run(
        as_anybody(command("--trials", "1", into=f"closed/{name}")),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(
        rf"galatune: Cannot write to closed/{name}: .*\. Name another place with --into\n", done.stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new.db", "new.log"])
def test_a_storage_that_may_not_be_written_to_says_so(folder: Path, name: str) -> None:
    assert run_apart("--trials", "1", into=name).returncode == 0
    (folder / name).chmod(0o400)
    done = subprocess.run(
        as_anybody(command("--trials", "2", into=name)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    words = (
        rf"galatune: The smaller study's storage {name} cannot be written to: .*, or name another with --into"
    )
    assert re.fullmatch(words, done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_classes_of_the_file_travel_to_the_workers_of_a_dataloader(folder: Path) -> None:
    text = OBJECTIVE.replace("def objective(", "def inner(") + (
        "\nfrom torch.utils.data import DataLoader, Dataset\n\n"
        "class Numbers(Dataset):\n"
        "    def __len__(self):\n        return 8\n"
        "    def __getitem__(self, i):\n        print('from a worker')\n        return float(i)\n\n"
        "def objective(trial):\n"
        "    batches = DataLoader(Numbers(), 4, num_workers=1, multiprocessing_context=HOW)\n"
        "    assert sum(len(batch) for batch in batches) == 8\n"
        "    return inner(trial)\n"
    )
    for how in ("fork", "spawn"):
        objective_file(folder, text.replace("HOW", repr(how)))
        result = run_apart("--trials", "1", "--json", into=f"{how}.log")
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["trials"] == 1
        assert "from a worker" in result.stderr


# -- a terminal


class Terminal(io.StringIO):
    """What a console takes for one."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


@pytest.fixture
def console() -> Console:
    return Console(file=Terminal(), width=100, force_terminal=True, color_system=None)


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, Terminal)
    return console.file.getvalue().splitlines()


def test_a_line_that_is_drawn_again_and_again_is_printed_once(console: Console) -> None:
    stream = AboveTheBar(console)
    print("epoch 0", file=stream)
    for share in (0, 50, 100):
        print(f"\rtrain {share} %", end="", file=stream, flush=True)
    print(file=stream)
    print("by Windows", end="\r\n", file=stream)
    stream.write("half a ")
    stream.write("line\nand")
    assert printed(console) == ["epoch 0", "train 100 %", "by Windows", "half a line"]


def test_the_bar_shows_best_rate_and_time_left(
    folder: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = OBJECTIVE.replace("def objective(", "def inner(") + (
        "\ndef objective(trial):\n    print('mine', trial.number)\n    return inner(trial)\n"
    )
    objective_file(folder, text)
    monkeypatch.setattr("galatune.cli.progress.Console", lambda **_: console)
    out, err = sys.stdout, sys.stderr
    assert galatune(*OUR, "--trials", "3").exit_code == 0
    assert (sys.stdout, sys.stderr) == (out, err)
    shown = "\n".join(printed(console))
    for number in range(3):
        assert f"mine {number}" in shown
    assert re.search(r"trials .* 1/3 best [\d.]+, .*at most \d+ s left", shown)
    assert re.search(r"trials .* 3/3 best [\d.]+", shown)
    assert "Trial 0: complete" not in shown
    assert "Dropped: lr" in shown


def test_beside_the_bar_the_first_trial_says_that_not_all_were_controlled(
    folder: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective_file(folder, TWO)
    monkeypatch.setattr("galatune.cli.progress.Console", lambda **_: console)
    assert galatune(*OUR, "--trials", "2").exit_code == 0
    shown = [line for line in printed(console) if "optimizers controlled" in line]
    assert len(shown) == 1
    assert "Trial 0: complete" in shown[0]


def test_nobody_is_asked_without_a_terminal() -> None:
    plan = scan("old.log")
    assert RunProgress("new.log", plan, yes=True).agree("Really?")
    assert not RunProgress("new.log", plan, yes=False).agree("Really?")
