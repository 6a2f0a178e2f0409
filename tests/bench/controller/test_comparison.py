"""The testbed: plans, resumes, widens its grids, and scores what was measured."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from galatune.bench.controller import comparison, results
from galatune.bench.controller.comparison import compare
from galatune.bench.controller.differences import differences
from galatune.bench.controller.methods import METHODS, find_methods
from galatune.bench.controller.methods.learners import LEARNERS
from galatune.bench.controller.results import Collection
from galatune.bench.controller.runs import Result, Run, execute, plan
from galatune.bench.controller.score import cells, scores, tuned
from galatune.bench.controller.suites import SUITES
from galatune.bench.controller.tasks import TASKS, find_tasks
from galatune.cli import main
from galatune.errors import GalatuneError


def silent(done: int, total: int) -> None:
    return


def made_up(loss: Callable[[Run], float]) -> Callable[[Run], Result]:
    return lambda run: Result(run, loss(run), 10.0, 60, 60, None, 1.0)


@pytest.mark.parametrize("name", sorted(name for name, method in METHODS.items() if method.rates))
def test_method_trains(name: str) -> None:
    method = METHODS[name]
    rate = 1e-1 if method.tuned else method.rates[0]
    result = execute(Run("line", name, method.schedules[0], rate))
    assert result.steps == 60
    assert result.gradient_evaluations >= 60
    assert math.isfinite(result.loss)
    if not name.startswith("hypergradient") and name not in ("adam-default", "mechanic", "d-adaptation"):
        assert result.loss < result.start


def test_the_default_learner_is_that_of_control() -> None:
    named = execute(Run("line", "discounted-ftrl", "cosine", 1e-3))
    plain = execute(Run("line", "gala-closure", "cosine", 1e-3))
    assert (named.loss, named.rates, named.regret) == (plain.loss, plain.rates, plain.regret)


def test_learners_choose_different_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "line", replace(TASKS["line"], steps=200))  # past the limited growth
    names = [method.name for method in LEARNERS]
    assert len({execute(Run("line", name, "constant", 1e-3)).rates for name in names}) == len(names)


def test_regret_is_that_of_controlled_methods_alone() -> None:
    controlled = execute(Run("line", "gala-closure", "constant", 1e-3))
    assert controlled.regret is not None
    assert math.isfinite(controlled.regret)
    assert execute(Run("line", "adam", "constant", 1e-3)).regret is None


def test_equal_gradients_spend_no_more_than_the_steps_of_the_task() -> None:
    result = execute(Run("line", "gala-graph", "cosine", 1e-3, equal_gradients=True))
    assert result.steps < 60
    assert result.gradient_evaluations <= 60


def test_same_run_gives_the_same_result() -> None:
    run = Run("line", "gala-closure", "cosine", 1e-3, seed=3)
    assert execute(run) == execute(run)


def test_collection_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = plan([TASKS["line"]], find_methods("gala-graph"), ["cosine"], seeds=range(2))
    rates = ((1, 1e-5), (60, 0.1 + 0.2))
    trained: list[Run] = []

    def counted(run: Run) -> Result:
        trained.append(run)
        return Result(run, math.inf if run.seed else 0.1 * run.rate, 2.0, 60, 61, None, 0.5, 8.0, rates)

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


def test_a_half_written_line_makes_way_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = plan([TASKS["line"]], find_methods("gala-graph"), ["cosine"], seeds=range(1))
    monkeypatch.setattr(results, "execute", made_up(lambda run: run.rate))
    Collection(tmp_path).complete(runs[:3], 1, silent)
    path = tmp_path / "results.csv"
    path.write_bytes(path.read_bytes()[:-5])
    stopped = Collection(tmp_path)
    assert list(stopped.results) == runs[:2]
    stopped.complete(runs, 1, silent)
    assert Collection(tmp_path).results == stopped.results
    assert list(stopped.results) == runs


@pytest.mark.parametrize("written", ["a,b", "task,method\n", "\n"])
def test_a_file_of_somebody_else_stays_as_it_is(tmp_path: Path, written: str) -> None:
    (tmp_path / "results.csv").write_text(written)
    with pytest.raises(GalatuneError, match="holds other columns"):
        Collection(tmp_path)
    assert (tmp_path / "results.csv").read_text() == written


def test_a_line_that_is_no_result_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "execute", made_up(lambda run: 1.0))
    Collection(tmp_path).complete([Run("line", "adam", "cosine", 1e-3)], 1, silent)
    with (tmp_path / "results.csv").open("a") as file:
        file.write("line,adam,cosine,high\n")
    with pytest.raises(GalatuneError, match=r"line 3 of .*results.csv is no result"):
        Collection(tmp_path)


def test_a_full_disk_is_noticed_before_training_and_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Run] = []
    monkeypatch.setattr(results, "execute", trained.append)
    collection = Collection(tmp_path)
    collection.path = Path("/dev/full")
    with pytest.raises(GalatuneError, match=r"cannot write /dev/full: .*; trainings that are in it stay"):
        collection.complete([Run("line", "adam", "cosine", 1e-3)], 1, silent)
    assert trained == []


def test_a_method_that_fails_is_named() -> None:
    with pytest.raises(GalatuneError, match="adam cannot train line: Invalid learning rate"):
        execute(Run("line", "adam", "cosine", -1.0))


def test_what_is_kept_between_steps_is_weighed() -> None:
    adam = execute(Run("line", "adam", "cosine", 1e-3)).state_bytes
    ours = execute(Run("line", "gala-closure", "cosine", 1e-3)).state_bytes
    assert 8 <= adam < 12  # two moments, and a step count a tensor
    assert ours == adam + 4  # before a probe the parameters as they were


def test_grid_is_widened_until_its_best_is_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "execute", made_up(lambda run: 1 + abs(math.log10(run.rate / 1.0))))
    found = compare([TASKS["line"]], find_methods("adam"), ["cosine"], [0], tmp_path, 1, silent)
    best = tuned(found, "line", "adam", "cosine")
    assert best is not None
    assert (best.rate, best.at_the_edge) == (1.0, False)


def test_grid_ends_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "execute", made_up(lambda run: run.rate))
    found = compare([TASKS["line"]], find_methods("adam"), ["cosine"], [0], tmp_path, 1, silent)
    best = tuned(found, "line", "adam", "cosine")
    assert best is not None
    assert best.rate == pytest.approx(comparison.SMALLEST)
    assert best.at_the_edge


def test_score_is_the_mean_logarithm_of_the_ratios() -> None:
    made = made_up(lambda run: (2.0 if run.rate == 1e-2 else 3.0) * (1 if run.method == "adam" else 1.5))
    runs = plan(
        [TASKS["line"], TASKS["digits-mlp"]], find_methods("gala-consecutive"), ["cosine"], seeds=range(3)
    )
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


def test_a_loss_of_zero_has_a_ratio() -> None:
    made = made_up(lambda run: 0.0 if run.rate == 1e-2 else 3.0)
    runs = plan([TASKS["wine"]], find_methods("gala-consecutive"), ["cosine"], seeds=range(2))
    (cell,) = cells([made(run) for run in runs])
    assert cell.ratio == pytest.approx(3e12)


def test_ours_is_compared_with_peers_seed_by_seed() -> None:
    def loss(run: Run) -> float:
        hard = 1.0 + run.seed  # for both alike
        return hard * {"adam": 0.5, "gala-consecutive": 1.0}.get(run.method, 1.25)

    methods = find_methods("gala-consecutive,gala-sgd-graph,hypergradient-adam")
    runs = plan([TASKS["line"], TASKS["digits-mlp"], TASKS["wine"]], methods, ["cosine"], seeds=range(3))
    (one,) = differences([made_up(loss)(run) for run in runs])
    assert (one.method, one.peer, one.tasks) == ("gala-consecutive", "hypergradient-adam", 2)
    assert one.difference == pytest.approx(math.log(0.8))
    assert one.interval == pytest.approx((math.log(0.8), math.log(0.8)))


def test_interpolated_tasks_stand_apart() -> None:
    runs = plan([TASKS["wine"]], find_methods("gala-graph"), ["cosine"], seeds=range(1))
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
    with pytest.raises(GalatuneError, match="no task is named in ' ,'; use digits-cnn"):
        find_tasks(" ,")
    with pytest.raises(GalatuneError, match="no method is named in ''; use adam"):
        find_methods("")


def test_command_prints_ratios_and_invariance(tmp_path: Path) -> None:
    words = [
        "bench",
        "compare",
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


@pytest.mark.slow
def test_command_compares_learners_and_their_regret(tmp_path: Path) -> None:
    names = [method.name for method in LEARNERS]
    words = [
        "bench",
        "compare",
        "--tasks",
        "line",
        "--methods",
        ",".join(names),
        "--seeds",
        "1",
        "--jobs",
        "1",
    ]
    ran = CliRunner().invoke(main, [*words, "--regret", "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    assert "regret per probe" in ran.stdout
    rows = {line.split()[0]: line.split() for line in ran.stdout.splitlines() if line.strip()}
    assert set(names) <= set(rows)
    kept = {result.run.method: result.regret for result in Collection(tmp_path).results.values()
            if not result.run.equal_gradients}  # fmt: skip
    for name in names:
        assert rows[name][-1] == f"{kept[name]:.3g}"


def test_command_says_bad_input_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "results.csv").mkdir()
    file = tmp_path / "file"
    file.write_text("")
    for words, message in (
        (["--tasks", ""], "no task is named in ''"),
        (["--methods", ""], "no method is named in ''"),
        (["--out", ""], "--out '' names no folder"),
        (["--out", str(file)], f"cannot make the folder {file}: File exists; name another"),
        (["--out", str(file / "x")], "Not a directory; name another with --out"),
        (["--out", str(tmp_path)], "results.csv is not a file; name another folder with --out"),
    ):
        ran = CliRunner().invoke(main, ["bench", "compare", *words])
        assert ran.exit_code == 1, ran.output
        assert message in ran.stderr
        assert len(ran.stderr.splitlines()) == 1


@pytest.mark.slow
def test_command_keeps_its_trainings_where_stdout_is_full(tmp_path: Path) -> None:
    words = ["--tasks", "iris", "--methods", "gala-closure", "--seeds", "1", "--jobs", "1", "--out"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "galatune", "bench", "compare", *words, str(tmp_path)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "No space left on device" in line
    assert Collection(tmp_path).results
