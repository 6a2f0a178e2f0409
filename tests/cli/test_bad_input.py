"""Bad input, generated from the commands themselves: each is one clear line, and nothing changes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import optuna
import pytest
from click.testing import CliRunner
from fake_studies import fake_study
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import create_trial

from galatune.cli import main

BEGUN = "the objective was called"
TRAIN = f"""
import sys

def objective(trial):
    trial.suggest_float("lr", 1e-5, 0.1, log=True), trial.suggest_int("width", 1, 64)
    print("{BEGUN}", file=sys.stderr)
    raise SystemExit
"""
STORAGE, OBJECTIVE = "study.db", "train.py:objective"
GOOD = {"storage": STORAGE, "objective": OBJECTIVE, "data": "rows.csv", "model": "model"}
HOSTILE = {
    "empty": "",
    "spaces": "   ",
    "escapes": "\x1b[31mred\x1b[0m\x07",
    "lines": "one\ntwo\r\nthree",
    "quotes": "'\"`$(touch hacked)",
    "long": "x" * 5_000,
    "unicode": "ü\u202e\u200b\U0001f600",
    "surrogate": "\udc80",
    "null": "a\0b",
    "password": "postgresql:/ada:hunter2@db/x",
}
WRONG = ("much", "-1", "nan", "1e999", "0x10", "1,5", "9" * 5_000)
NAMES = ("into", "name")
"""What is hostile in these may be a name all the same: then the run begins."""
TEXTS = (*NAMES, "study", "sink_to", "lr", "keep", "currency", "html", "csv")
OF_CLICK = (
    "Invalid value",
    "is not a valid",
    "is not in the range",
    "No such option",
    "Missing ",
    "Got unexp",
    "requires",
)
"""Click's own words, which say neither what was given nor what to do."""
Words = tuple[str, ...]
CONTRADICTIONS = (
    ("report", STORAGE, "--price", "2"),
    ("report", STORAGE, "--currency", "EUR"),
    ("report", STORAGE, "--sink-to", "x"),
    ("report", STORAGE, "--html", "same", "--csv", "./same"),
    ("report", STORAGE, "--html", STORAGE),
    ("report", STORAGE, "--csv", STORAGE),
    ("report", STORAGE, "--html", "no/where.html", "--csv", "fine.csv"),
    ("report", STORAGE, "--into", STORAGE, "--name", "absent"),
    ("report", STORAGE, "--into", f"sqlite:///{STORAGE}", "--name", "old"),
    ("report", STORAGE, "--html", "-"),
    ("report", STORAGE, "--sink", "mlflow", "--sink-to", "sqlite://"),
    ("run", STORAGE, OBJECTIVE, "--into", STORAGE, "--trials", "1"),
    ("run", STORAGE, OBJECTIVE, "--lr", "width", "--keep", "width", "--trials", "1"),
    ("run", STORAGE, OBJECTIVE, "--min-lr", "1", "--max-lr", "0.1", "--trials", "1"),
    ("scan", STORAGE, "--lr", "width", "--keep", "width"),
    ("bench", "compare", "--suite", "quick", "--tasks", "digits-mlp", "--out", "file/below"),
)


def commands(group: click.Group, path: Words = ()) -> Iterator[tuple[Words, click.Command]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def needed(command: click.Command) -> list[click.Argument]:
    """The arguments of a command, without those of a script, which may be anything."""
    return [p for p in command.params if isinstance(p, click.Argument) and p.nargs != -1]


def complete(path: Words, command: click.Command, without: click.Parameter | None = None) -> list[str]:
    """The words of a command with good arguments, those of one parameter left out."""
    arguments = [p for p in needed(command) if p is not without]
    return [*path, *(GOOD.get(str(argument.name), "x") for argument in arguments)]


def generated() -> Iterator[Words]:
    """Every command and parameter with values of a wrong type, missing and hostile ones."""
    for path, command in commands(main):
        yield (*path, "--no-such-option")
        yield (*complete(path, command), "one", "too", "many")
        for param in command.params:
            if isinstance(param, click.Argument) and param in needed(command):
                yield tuple(complete(path, command, without=param))
                yield from _arguments(path, command, param)
            elif isinstance(param, click.Option):
                yield from _option(complete(path, command), param)


def _arguments(path: Words, command: click.Command, param: click.Argument) -> Iterator[Words]:
    for value in HOSTILE.values():
        words = {**GOOD, str(param.name): value}
        yield (*path, *(words[str(p.name)] for p in needed(command)))


def _option(words: list[str], option: click.Option) -> Iterator[Words]:
    name = max(option.opts, key=len)
    if option.is_flag:
        yield (*words, f"{name}=yes")
        return
    yield (*words, name)
    number = isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
    for value in WRONG if number else HOSTILE.values():
        if number or option.name in TEXTS or isinstance(option.type, click.Choice):
            yield (*words, name, value)


CASES = [*generated(), *CONTRADICTIONS]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies")
    old = optuna.create_study(study_name="old", storage=f"sqlite:///{path / STORAGE}")
    spaces = {"lr": FloatDistribution(1e-5, 0.1, log=True), "width": IntDistribution(1, 64)}
    for value in (3.0, 1.0):
        params = {"lr": 0.01, "width": 8}
        old.add_trial(create_trial(value=value, params=params, distributions=spaces))
    fake_study([1.0], name="old-gala", controlled=True, storage=f"sqlite:///{path / 'old-gala.db'}")
    (path / "train.py").write_text(TRAIN)
    (path / "file").touch()
    return path


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(folder: Path) -> dict[str, str]:
    """What is in a folder."""
    files = (path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts)
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "" for p in files}


def may_begin(words: Words) -> bool:
    """Whether a run may begin all the same: any text is a name, and no bound is a bound."""
    name, value = words[-2:]
    infinite = name in ("--max-lr", "--max-growth") and value in ("1e999", "9" * 5_000)
    return infinite or name.strip("-") in NAMES


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 200
    assert {words[0] for words in CASES} == set(main.commands)


SHARED = [
    words if number % 2 == 0 else pytest.param(words, marks=pytest.mark.slow)
    for number, words in enumerate(CASES)
]
"""All of them; every second one is tried with the slow tests only."""


@pytest.mark.parametrize("words", SHARED, ids=lambda words: ascii(" ".join(words))[1:80])
def test_bad_input_is_one_clear_line(folder: Path, words: Words) -> None:
    before = state(folder)
    result = CliRunner().invoke(main, list(words))
    if result.exit_code == 0:  # nothing was wrong with it: a name or a bound that may be
        assert words[0] in ("report", "scan")
        return
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2)
    errors = [line for line in result.stderr.splitlines() if line.startswith("galatune: ")]
    assert len(errors) == 1
    assert result.stderr.rstrip("\n").endswith(errors[0])
    assert errors[0].isprintable()
    assert len(errors[0]) <= 1_000
    assert "hunter2" not in result.output
    assert "Usage: " not in result.output
    assert not any(phrase in errors[0] for phrase in OF_CLICK)
    if BEGUN in result.output:
        assert may_begin(words), "a trial was paid for"
        return
    assert state(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [*CONTRADICTIONS, *(words for words in CASES[::40] if "\0" not in "".join(words))]
)
def test_bad_input_of_a_shell_is_one_clear_line(folder: Path, words: Words) -> None:
    before = state(folder)
    command = [sys.executable, "-m", "galatune", *words]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    assert done.returncode in (1, 2) or words[0] in ("report", "scan")
    assert "Traceback" not in done.stderr
    if done.returncode and not may_begin(words):
        assert len([line for line in done.stderr.splitlines() if line.startswith("galatune: ")]) == 1
        assert state(folder) == before
