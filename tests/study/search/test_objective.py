"""The user's file, imported as it is."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_search import objective_file

from galatune.errors import ObjectiveError
from galatune.study.search.objective import Objective, as_script, imported, in_one_line

TWO = "def objective(trial):\n    return 1.0\n\n\ndef other(trial):\n    return 2.0\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory; whatever is imported from it is forgotten, and nothing else is touched."""
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), dict(sys.modules)
    yield tmp_path
    assert sys.path == path
    assert all(sys.modules.get(name) is module for name, module in modules.items())
    for name in set(sys.modules) - set(modules):
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def load_objective(reference: str) -> Objective:
    with imported(reference) as function:
        return function


def message(reference: str) -> str:
    with pytest.raises(ObjectiveError) as caught:
        load_objective(reference)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_and_a_module_name_the_same_function(folder: Path) -> None:
    objective_file(folder, TWO, "train_a.py")
    assert load_objective("train_a.py:other")(None) == 2.0  # type: ignore[arg-type]
    assert load_objective(f"{folder}/train_a.py:objective")(None) == 1.0  # type: ignore[arg-type]
    assert load_objective("train_a:objective")(None) == 1.0  # type: ignore[arg-type]


def test_a_package_in_the_working_directory_is_a_module(folder: Path) -> None:
    objective_file(folder, "", "pack/__init__.py")
    objective_file(folder, "from .sibling import objective", "pack/train.py")
    objective_file(folder, TWO, "pack/sibling.py")
    assert load_objective("pack.train:objective")(None) == 1.0  # type: ignore[arg-type]
    assert "pack.train:FUNCTION" in message("pack/train.py:objective")
    objective_file(folder, TWO, "whole/__init__.py")
    assert load_objective("whole:objective")(None) == 1.0  # type: ignore[arg-type]


def test_a_sibling_is_imported_as_a_script_would(folder: Path) -> None:
    objective_file(folder, TWO, "sub/helper_of_it.py")
    objective_file(folder, "from helper_of_it import objective", "sub/train_b.py")
    assert load_objective("sub/train_b.py:objective")(None) == 1.0  # type: ignore[arg-type]


def test_a_working_directory_that_a_file_changes_is_its_own(folder: Path) -> None:
    (folder / "data").mkdir()
    text = """
import os
os.chdir("data")
def objective(trial):
    os.mkdir("inner")
    os.chdir("inner")
def other(trial):
    return os.getcwd()
"""
    objective_file(folder, text, "sub/train_h.py")
    for name, found in (("other", "data"), ("objective", None)):
        with imported(f"sub/train_h.py:{name}") as function:
            assert Path.cwd() == folder
            seen = function(None)  # type: ignore[arg-type]
            assert seen == (found and str(folder / found))
            assert Path.cwd() == folder
    assert (folder / "data" / "inner").is_dir()


def test_two_files_of_one_name_are_two_modules(folder: Path) -> None:
    objective_file(folder, TWO, "a/train_e.py")
    objective_file(folder, TWO.replace("1.0", "3.0"), "b/train_e.py")
    first, second = load_objective("a/train_e.py:objective"), load_objective("b/train_e.py:objective")
    assert (first(None), second(None)) == (1.0, 3.0)  # type: ignore[arg-type]
    assert sys.modules[first.__module__] is not sys.modules[second.__module__]
    assert "train_e" not in sys.modules


def test_what_an_objective_imports_while_it_runs_is_found(folder: Path) -> None:
    objective_file(folder, TWO, "sub/late_sibling.py")
    objective_file(folder, "def f(trial):\n    import late_sibling\n    return 5.0\n", "sub/train_f.py")
    with imported("sub/train_f.py:f") as function:
        assert function(None) == 5.0  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["random.py", "my-file.py", "my file.py", "profile.py", "größe.py"])
def test_any_file_name_will_do(folder: Path, name: str) -> None:
    objective_file(folder, TWO, name)
    assert load_objective(f"{name}:objective")(None) == 1.0  # type: ignore[arg-type]
    assert random.__file__ is not None
    assert str(folder) not in random.__file__
    assert "profile" not in sys.modules or str(folder) not in str(sys.modules["profile"].__file__)


def test_what_lies_under_main_does_not_run(folder: Path) -> None:
    objective_file(folder, f'{TWO}\nif __name__ == "__main__":\n    raise SystemExit(3)\n', "main_c.py")
    assert load_objective("main_c.py:objective")


def test_methods_objects_and_partials_are_objectives(folder: Path) -> None:
    text = (
        "from functools import partial\n"
        "class Objective:\n    def __init__(self, data):\n        self.data = data\n"
        "    def __call__(self, trial):\n        return self.data\n"
        "    def method(self, trial):\n        return -self.data\n"
        "made = Objective(7.0)\n"
        "def with_data(trial, data):\n    return data\n"
        "part = partial(with_data, data=3.0)\n"
        "anything = lambda *args: 4.0\n"
    )
    objective_file(folder, text, "objects.py")
    for name, value in (("made", 7.0), ("made.method", -7.0), ("part", 3.0), ("anything", 4.0)):
        assert load_objective(f"objects.py:{name}")(None) == value  # type: ignore[arg-type]
    assert "'Objective' is a class; make an objective of it" in message("objects.py:Objective")
    assert "cannot be called with a trial alone" in message("objects.py:with_data")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def objective(trial)\n    return 1.0\n", "SyntaxError"),
        ("import no_such_module_at_all\n", "No module named 'no_such_module_at_all' (broken.py:1)"),
        ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero (broken.py:2)"),
        ("import sys\nsys.exit(4)\n", "SystemExit: 4 (broken.py:2)"),
        ("raise ValueError('two\\nlines\\x1b[31m')\n", "ValueError: two lines\\x1b[31m (broken.py:1)"),
        ("x = 1\n", "has no function 'objective'; it has: no function at all"),
        (
            "from math import sin\ndef one(t): ...\ndef two(t): ...\n",
            "has no function 'objective'; it has: one, two",
        ),
        ("objective = 3\n", "has no function 'objective'"),
        (
            "import optuna\noptuna.create_study().optimize(lambda t: 1.0, n_trials=3)\n",
            "broken.py calls study.optimize when it is imported",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(folder: Path, text: str, words: str) -> None:
    objective_file(folder, text, "broken.py")
    assert words in message("broken.py:objective")
    # Half a module must not be what the next import of it finds; a whole one may.
    assert ("_galatune_objective_broken" in sys.modules) == ("has no function" in words)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("objective", "names no objective; write path/to/file.py:function"),
        ("train.py", "names no objective"),
        ("train.py:", "names no objective"),
        (":objective", "names no objective"),
        ("", "names no objective"),
        ("missing.py:objective", "No such file: 'missing.py'"),
        ("a_folder:objective", "'a_folder' is not a Python file"),
        ("a_folder.py:objective", "No such file"),
        ("notes.txt:objective", "'notes.txt' is not a Python file"),
        ("no_such_package.train:objective", "No module named 'no_such_package'"),
        (".train:objective", "Cannot import '.train'"),
        ("a/b:objective", "Cannot import 'a/b'"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_to_write(folder: Path, reference: str, words: str) -> None:
    (folder / "a_folder").mkdir()
    (folder / "a_folder.py").mkdir()
    (folder / "notes.txt").write_text("text")
    assert words in message(reference)


def test_the_search_may_be_started_again_after_an_import(folder: Path) -> None:
    import optuna

    objective_file(folder, TWO, "train_d.py")
    load_objective("train_d.py:objective")
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert len(study.trials) == 1


def test_the_command_line_of_a_script_is_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "import argparse\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--epochs', type=int, default=3)\n"
        "arguments = parser.parse_args()\n"
        "def objective(trial):\n    return float(arguments.epochs)\n"
    )
    objective_file(folder, text, "script.py")
    monkeypatch.setattr(sys, "argv", ["galatune", "run", "old.db", "script.py:objective", "--trials", "3"])
    with as_script("script.py:objective"):
        assert load_objective("script.py:objective")(None) == 3.0  # type: ignore[arg-type]
        assert sys.argv == ["script.py"]
    assert sys.argv[0] == "galatune"


def test_whatever_is_printed_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with as_script("script.py:objective"):
        print("by print")
        os.write(1, b"by descriptor\n")
        subprocess.run([sys.executable, "-c", "print('by a child')"], check=True)
    print("after")
    out, err = capfd.readouterr()
    assert out == "before\nafter\n"
    assert sorted(err.splitlines()) == ["by a child", "by descriptor", "by print"]


def test_an_error_is_told_with_the_last_line_of_the_users_code(folder: Path) -> None:
    objective_file(folder, "import json\ndef objective(trial):\n    return json.loads('{')\n", "reading.py")
    function = load_objective("reading.py:objective")
    with pytest.raises(ValueError, match="Expecting") as caught:
        function(None)  # type: ignore[arg-type]
    assert in_one_line(caught.value).endswith("(reading.py:3)")
    assert in_one_line(ValueError()) == "ValueError"
    assert len(in_one_line(ValueError("x" * 9999))) < 300
