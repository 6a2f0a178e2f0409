"""The testbed: plans, resumes, widens its grids, and scores what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from galatune.bench import comparison, results
from galatune.bench.comparison import compare
from galatune.bench.methods import METHODS, find_methods
from galatune.bench.results import Collection
from galatune.bench.runs import Result, Run, execute, plan
from galatune.bench.score import cells, scores, tuned
from galatune.bench.suites import SUITES
from galatune.bench.tasks import TASKS, Task, find_tasks
from galatune.bench.tasks.task import Data, Training, mean_squared_error, supervised
from galatune.cli import main
from galatune.errors import GalatuneError


def _line(dtype: torch.dtype) -> Training:
    x = torch.randn(64, 3, dtype=dtype)
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=dtype)
    data = Data(x[:48], y[:48], x[48:], y[48:])
    return supervised(torch.nn.Linear(3, 1).to(dtype), data, batch_size=16, loss=mean_squared_error)


@pytest.fixture(autouse=True)
def _line_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "line", Task("line", 60, _line))


def silent(done: int, total: int) -> None:
    return


def made_up(loss: Callable[[Run], float]) -> Callable[[Run], Result]:
    return lambda run: Result(run, loss(run), 10.0, 60, 60, None)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_method_trains(name: str) -> None:
    method = METHODS[name]
    rate = 1e-1 if method.tuned else method.rates[0]
    result = execute(Run("line", name, method.schedules[0], rate))
    assert result.steps == 60
    assert result.gradient_evaluations >= 60
    assert math.isfinite(result.loss)
    if not name.startswith("hypergradient") and name not in ("adam-default", "mechanic", "d-adaptation"):
        assert result.loss < result.start


def test_equal_gradients_spend_no_more_than_the_steps_of_the_task() -> None:
    result = execute(Run("line", "gala-graph", "cosine", 1e-3, equal_gradients=True))
    assert result.steps < 60
    assert result.gradient_evaluations <= 60


def test_same_run_gives_the_same_result() -> None:
    run = Run("line", "gala-closure", "cosine", 1e-3, seed=3)
    assert execute(run) == execute(run)


def test_collection_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = plan([TASKS["line"]], find_methods("gala-graph"), ["cosine"], seeds=2)
    trained: list[Run] = []

    def counted(run: Run) -> Result:
        trained.append(run)
        return Result(run, math.inf if run.seed else 0.1 * run.rate, 2.0, 60, 61, None)

    monkeypatch.setattr(results, "execute", counted)
    Collection(tmp_path).complete(runs[:5], 1, silent)
    again = Collection(tmp_path)
    again.complete(runs, 1, silent)
    assert sorted(map(repr, trained)) == sorted(map(repr, runs))
    assert Collection(tmp_path).results == again.results


def test_another_table_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(GalatuneError, match="holds other columns"):
        Collection(tmp_path)
    assert (tmp_path / "results.csv").read_text() == "a,b\n1,2\n"


def test_grid_is_widened_until_its_best_is_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "execute", made_up(lambda run: 1 + abs(math.log10(run.rate / 1.0))))
    found = compare([TASKS["line"]], find_methods("adam"), ["cosine"], 1, tmp_path, 1, silent)
    best = tuned(found, "line", "adam", "cosine")
    assert best is not None
    assert (best.rate, best.at_the_edge) == (1.0, False)


def test_grid_ends_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "execute", made_up(lambda run: run.rate))
    found = compare([TASKS["line"]], find_methods("adam"), ["cosine"], 1, tmp_path, 1, silent)
    best = tuned(found, "line", "adam", "cosine")
    assert best is not None
    assert best.rate == pytest.approx(comparison.SMALLEST)
    assert best.at_the_edge


def test_score_is_the_mean_logarithm_of_the_ratios() -> None:
    made = made_up(lambda run: (2.0 if run.rate == 1e-2 else 3.0) * (1 if run.method == "adam" else 1.5))
    runs = plan([TASKS["line"], TASKS["digits-mlp"]], find_methods("gala-consecutive"), ["cosine"], seeds=3)
    found = [made(run) for run in runs]
    assert {cell.ratio for cell in cells(found)} == {2.25}
    (score,) = scores(found)
    assert score.score == pytest.approx(math.log(2.25))
    assert score.interval == pytest.approx((math.log(2.25), math.log(2.25)))
    assert (score.tasks, score.diverged) == (2, 0)


def test_divergence_counts_as_the_loss_at_the_start() -> None:
    result = Result(Run("line", "adam", "cosine", 1.0), math.inf, 10.0, 60, 60, None)
    assert result.diverged
    assert result.clipped == 10.0


def test_interpolated_tasks_stand_apart() -> None:
    runs = plan([TASKS["wine"]], find_methods("gala-graph"), ["cosine"], seeds=1)
    found = [made_up(lambda run: run.rate)(run) for run in runs]
    assert cells(found)
    assert scores(found) == []


def test_every_suite_names_what_exists() -> None:
    for suite in SUITES.values():
        assert all(name in TASKS for name in suite.tasks.split(","))
        assert find_methods(suite.methods)


def test_unknown_names_are_listed() -> None:
    with pytest.raises(GalatuneError, match="no task 'lime'; use digits-cnn"):
        find_tasks("lime")
    with pytest.raises(GalatuneError, match="no method 'adan'; use adam"):
        find_methods("adan")


def test_command_prints_ratios_and_invariance(tmp_path: Path) -> None:
    words = [
        "bench",
        "--tasks",
        "line",
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--invariance",
        "--out",
        str(tmp_path),
    ]
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code == 0, ran.output
    assert "fixed 0.001" in ran.stdout
    assert "gala-graph, equal gradients" in ran.stdout
    assert "to the last digit" in ran.stdout
    assert "NOT equal" not in ran.stdout
