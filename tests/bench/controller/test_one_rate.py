"""One rate for all tasks is chosen on the other tasks, and only if there are any."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from galatune.bench.controller import results
from galatune.bench.controller.comparison import compare
from galatune.bench.controller.differences import differences
from galatune.bench.controller.figures import marks
from galatune.bench.controller.methods import METHODS, find_methods
from galatune.bench.controller.one_rate import left_out, one_rate
from galatune.bench.controller.results import Collection
from galatune.bench.controller.runs import Result, Run, execute
from galatune.bench.controller.score import cells, scores
from galatune.bench.controller.tasks import TASKS
from galatune.bench.controller.text import comparison_tables
from galatune.errors import GalatuneError

BEST = {"digits-mlp": 1e-2, "digits-cnn": 1e-2, "friedman1": 1e-3}
RATES = (1e-4, 1e-3, 1e-2, 1e-1)


def result(task: str, rate: float, loss: float, method: str = "adam", seed: int = 0) -> Result:
    return Result(Run(task, method, "cosine", rate, seed), loss * (1 + seed / 10), 1e9, 60, 60, None, 1.0)


def grids(best: dict[str, float] = BEST, rates: Sequence[float] = RATES) -> list[Result]:
    """The loss doubles with each decade away from the best rate of a task."""
    return [
        result(task, rate, 2 ** abs(math.log10(rate / best[task])), seed=seed)
        for task in best
        for rate in rates
        for seed in (0, 1)
    ]


def rates(found: Sequence[Result]) -> dict[str, float]:
    assert {r.run.method for r in found} <= {"one-rate", "one-rate-sgd"}
    return {r.run.task: r.run.rate for r in found}


def test_it_is_chosen_on_the_other_tasks() -> None:
    # For friedman1 both others want 0.01. For the others two rates are equal: the lower one is taken.
    assert rates(one_rate(grids())) == {"digits-mlp": 1e-3, "digits-cnn": 1e-3, "friedman1": 1e-2}


def test_its_own_losses_do_not_matter() -> None:
    others = [r for r in grids() if r.run.task != "friedman1"]
    flipped = [result("friedman1", rate, 5.0 if rate == 1e-2 else 1.0) for rate in RATES]
    assert rates(one_rate([*others, *flipped]))["friedman1"] == 1e-2


def test_each_task_counts_the_same_whatever_its_losses() -> None:
    large = [
        result(r.run.task, r.run.rate, r.loss * (1e6 if r.run.task == "friedman1" else 1)) for r in grids()
    ]
    assert rates(one_rate(large)) == rates(one_rate(grids()))


def test_the_row_is_a_method_like_the_others() -> None:
    fixed = grids()
    ours = [result(task, 1e-3, 1.0, "gala-graph", seed) for task in BEST for seed in (0, 1)]
    found = [*fixed, *ours, *one_rate(fixed)]
    ratios = {cell.task: (cell.ratio, cell.rate) for cell in cells(found) if cell.method == "one-rate"}
    assert ratios == {task: (pytest.approx(2.0), rate) for task, rate in rates(one_rate(fixed)).items()}
    score = next(score for score in scores(found) if score.method == "one-rate")
    assert score.score == pytest.approx(math.log(2))
    assert score.interval[0] < score.score < score.interval[1]
    assert [one.peer for one in differences(found)] == ["one-rate"]
    assert ("score", "one-rate") in {(mark.row, mark.method) for mark in marks(found, "cosine")}


def test_optimizers_and_lengths_have_rates_of_their_own() -> None:
    momentum = [result(r.run.task, r.run.rate * 10, r.loss, "sgd") for r in grids()]
    long = grids({"digits-mlp-4000": 1e-4, "digits-dropout-4000": 1e-4})
    found = one_rate([*grids(), *momentum, *long])
    assert rates([r for r in found if r.run.method == "one-rate-sgd"])["friedman1"] == pytest.approx(1e-1)
    adam = rates([r for r in found if r.run.method == "one-rate"])
    assert (adam["friedman1"], adam["digits-mlp-4000"], adam["digits-dropout-4000"]) == (1e-2, 1e-4, 1e-4)


def test_tasks_that_are_not_scored_have_no_say() -> None:
    found = one_rate([*grids({"digits-mlp": 1e-2, "friedman1": 1e-2}), *grids({"wine": 1e-4})])
    assert rates(found) == {"digits-mlp": 1e-2, "friedman1": 1e-2, "wine": 1e-2}


def test_rates_that_a_task_was_not_trained_at_cannot_be_chosen() -> None:
    found = one_rate([*grids({"digits-mlp": 1.0}, (*RATES, 1.0)), *grids({"friedman1": 1e-3})])
    assert rates(found) == {"digits-mlp": 1e-3, "friedman1": 1e-1}


def test_a_single_task_is_left_out_with_the_reason() -> None:
    alone = grids({"digits-mlp": 1e-2})
    assert one_rate(alone) == []
    (line,) = left_out(alone)
    assert line == (
        "One rate for all tasks (adam, cosine) is left out on digits-mlp: it is chosen on the other scored "
        "tasks, and there is none."
    )
    assert list(left_out(grids())) == []
    shown = list(
        comparison_tables(
            [*alone, result("digits-mlp", 1e-3, 1.0, "gala-graph")], several=False, regret=False
        )
    )
    assert shown[-1] == line


def test_it_trains_nothing_and_is_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        results, "execute", lambda run: Result(run, abs(math.log10(run.rate / 0.01)) + 1, 9, 1, 1, None)
    )
    tasks = [TASKS["digits-mlp"], TASKS["friedman1"]]
    found = compare(
        tasks, find_methods("one-rate"), ["cosine"], range(2), tmp_path, 1, lambda done, total: None
    )
    assert rates([r for r in found if r.run.method == "one-rate"]) == {"digits-mlp": 1e-2, "friedman1": 1e-2}
    kept = Collection(tmp_path).results
    assert {run.method for run in kept} == {"adam"}
    assert len(kept) == len(tasks) * len(METHODS["adam"].rates) * 2
    with pytest.raises(
        GalatuneError, match="one-rate cannot train line: it is computed from the fixed rates"
    ):
        execute(Run("line", "one-rate", "cosine", 1e-3))
