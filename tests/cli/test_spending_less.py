"""The options of `galatune run` that spend less, as people type them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tiny_search import objective_file, old_study

from galatune.cli import main

RUN = ("run", "old.log", "tiny_objective.py:objective", "--into", "new.log")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with an old study and its objective."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name == "tiny_objective"]:
        monkeypatch.delitem(sys.modules, name)
    old_study("old.log")
    objective_file(tmp_path)


def said(*more: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, [*RUN, *more])
    assert result.exit_code == status, result.output
    return str(result.stderr)


def body(*more: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*RUN, *more, "--json"])
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_control_off_is_said_at_the_beginning_and_in_json() -> None:
    words = said("--trials", "2", "--control", "off")
    assert "Control off: rate fixed at the old best: lr=" in words
    assert "nothing is controlled." in words
    assert "optimizers controlled" not in words
    assert body("--trials", "2", "--control", "off")["control"] == "off"


def test_control_is_on_by_default() -> None:
    assert body("--trials", "1")["control"] == "on"


def test_control_off_beside_an_option_of_control_is_one_line() -> None:
    words = said("--trials", "1", "--control", "off", "--max-growth", "2", status=1)
    assert words.splitlines()[-1] == (
        "galatune: --control off fixes the rate, so --max-growth has no meaning; leave one of them out"
    )


def test_a_warm_start_names_the_old_trials() -> None:
    words = said("--trials", "3", "--warm-start", "2")
    assert "Warm start: first the configurations of old trials 2, 1, without their rates" in words
    found = body("--trials", "3", "--warm-start", "2")
    assert found["warm_start"] == [{"number": 0, "old_trial": 2}, {"number": 1, "old_trial": 1}]


def test_a_sampler_is_named_and_kept() -> None:
    said("--trials", "2", "--sampler", "random")
    assert "begun with sampler random (now not set)" in said("--trials", "3", status=1)


def test_a_grid_that_there_was_not_is_one_line() -> None:
    words = said("--trials", "2", "--sampler", "grid", status=1)
    assert words.splitlines()[-1].startswith("galatune: --sampler grid rebuilds the grid of an old study")


def test_a_polish_says_what_it_will_cost() -> None:
    words = said("--trials", "2", "--polish", "1", "--repeats", "0")
    assert (
        "Polish: once the search is over, the best configuration with half and twice the step scale and at "
        "the rate found, at most 3 trials on top of the budget."
    ) in words
    assert words.count(": polish, complete") == 3
