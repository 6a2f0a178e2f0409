"""Single trainings of old best configurations: every way of setting the rate once, and the table."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest

from galatune.bench.prior import trainings as trainings_module
from galatune.bench.prior.text import prior_tables, prior_words
from galatune.bench.prior.trainings import ARMS, FIXED, Trained, Training, run_trainings
from galatune.bench.studies import search as search_module
from galatune.bench.studies.testbed import Plan
from galatune.errors import GalatuneError

from .conftest import Line


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "TRIALS", 8)


def plan(*settings: str) -> Plan:
    return Plan(("line",), settings or ("again",), (), (0,))


def silent(done: int, total: int) -> None:
    pass


def by_arm(trained: list[Trained]) -> dict[str, Trained]:
    return {one.training.arm: one for one in trained if one.training.repeat == 0}


def test_every_arm_trains_the_same_steps_with_the_same_seed(line: Line, tmp_path: Path) -> None:
    found = by_arm(run_trainings(plan(), 1, tmp_path, 1, silent))
    assert list(found) == list(ARMS)
    assert {one.steps for one in found.values()} == {8}
    assert {one.gradients for name, one in found.items() if "rate" in name} == {8}
    assert found["controlled"].gradients > 8
    assert found["with the prior"].loss != found["controlled"].loss != found[FIXED].loss


def test_nothing_is_trained_twice(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_trainings(plan(), 1, tmp_path, 1, silent)
    monkeypatch.setattr(trainings_module, "_train", lambda job: pytest.fail("trained again"))
    assert run_trainings(plan(), 1, tmp_path, 1, silent) == first


def test_a_line_that_was_cut_off_is_trained_again(line: Line, tmp_path: Path) -> None:
    first = run_trainings(plan(), 1, tmp_path, 1, silent)
    path = tmp_path / "trainings.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    again = run_trainings(plan(), 1, tmp_path, 1, silent)
    assert [one.loss for one in again] == [one.loss for one in first]
    assert len(path.read_bytes().splitlines()) == len(first)


def test_a_file_of_something_else_is_refused(line: Line, tmp_path: Path) -> None:
    (tmp_path / "trainings.jsonl").write_text("{}\n")
    with pytest.raises(GalatuneError, match="holds a line that is no result"):
        run_trainings(plan(), 1, tmp_path, 1, silent)


def invented(losses: dict[str, tuple[float, float]], setting: str = "again") -> list[Trained]:
    return [
        Trained(Training("line", setting, 0, arm, repeat), loss, 1.0 + 0.1 * (arm == "controlled"), 8, 8)
        for arm in ARMS
        for repeat, loss in enumerate(losses.get(arm, (4.0, 4.2)))
    ]


def shown(trained: list[Trained]) -> str:
    from rich.console import Console

    console = Console(width=160, record=True, file=io.StringIO())
    for table in prior_tables(trained):
        console.print(table)
    return console.export_text()


def test_the_table_compares_with_the_best_of_the_fixed_rates(line: Line) -> None:
    text = shown(invented({FIXED: (1.9, 2.1), "old rate x 10^0.5": (1.0, 1.0), "controlled": (0.8, 1.2)}))
    rows = {line.split("  ")[0].strip(): line for line in text.splitlines()}
    fixed = next(line for name, line in rows.items() if "old rate" in line and "again" in line)
    assert f"{math.log(2.0):+.3f}" in fixed
    controlled = next(line for line in text.splitlines() if "controlled" in line)
    assert "+0.000" in controlled
    assert "2.00" in controlled  # twice the spread over seeds
    assert "1.10" in controlled


def test_a_training_that_diverged_counts_as_ten_times_the_best(line: Line) -> None:
    text = shown(invented({FIXED: (1.0, 1.0), "controlled": (math.inf, 1.0)}))
    assert f"{math.log(10):+.3f}" in next(line for line in text.splitlines() if "controlled" in line)


def test_the_words_say_that_the_best_is_chosen_afterwards() -> None:
    assert "which favours it" in " ".join(" ".join(prior_words(invented({}))).split())
