"""Scripts whose authors never heard of galatune, each run without a changed character."""

from __future__ import annotations

import ast
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from stranger_scripts import TRIALS, aside, names, old_study_of, prepared, run, study_options
from tiny_search import load, recorded

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", [*names(), *aside()])
def test_a_strangers_script_is_searched_and_goes_on(name: str, tmp_path: Path) -> None:
    words = prepared(name, tmp_path)
    old_study_of(words, tmp_path)
    old = (tmp_path / "old.log").read_bytes()
    ended = run(words, tmp_path, *study_options(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "old.log").read_bytes() == old
    smaller = smaller_study(tmp_path)
    trials = load(str(tmp_path / "new.log"), smaller).trials
    assert len(trials) >= TRIALS
    assert all(recorded(trial).controlled for trial in trials if trial.state.name == "COMPLETE")


def smaller_study(folder: Path) -> str:
    (name,) = optuna.get_all_study_names(JournalStorage(JournalFileBackend(str(folder / "new.log"))))
    return name


def test_they_are_what_was_written_first() -> None:
    """Not one of them knows galatune."""
    folder = Path(__file__).parents[3] / "scripts"
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*.py")]
    assert len(names()) == 30
    assert len(aside()) == 10
    assert not [text for text in texts if "galatune" in text]
    assert all(ast.parse(text) for text in texts if text.strip())
