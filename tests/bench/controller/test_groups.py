"""Results that the method was chosen on are kept apart from those that it was not, and long from short."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from galatune.bench.controller import results
from galatune.bench.controller.comparison import compare
from galatune.bench.controller.figures import marks
from galatune.bench.controller.groups import Group, by_group, group_of
from galatune.bench.controller.methods import find_methods
from galatune.bench.controller.results import Collection
from galatune.bench.controller.runs import Result, Run, plan
from galatune.bench.controller.score import scores, tuned
from galatune.bench.controller.suites import SUITES, choose
from galatune.bench.controller.tasks import TASKS, find_tasks
from galatune.bench.controller.text import comparison_tables
from galatune.cli import main

HELD_OUT = {
    "table-credit_g",
    "table-hypothyroid",
    "table-online_shoppers",
    "diabetes",
    "friedman2",
    "friedman3",
}


def measured(seeds: range = range(5, 7)) -> list[Result]:
    """Ours is twice the best rate's loss, five times on a task that nothing was chosen on."""
    tasks = [TASKS[name] for name in ("digits-mlp", "friedman1", "friedman2", "friedman3", "friedman1-4000")]

    def loss(run: Run) -> float:
        if run.method == "adam":
            return 1.0 if run.rate == 1e-2 else 3.0
        return 5.0 if TASKS[run.task].held_out else 2.0

    runs = plan(tasks, find_methods("gala-echo"), ["cosine"], seeds)
    return [Result(run, loss(run), 99.0, 60, 60, None, 1.0) for run in runs]


def test_the_tasks_that_nothing_was_chosen_on_are_marked() -> None:
    held_out = {
        name.removesuffix("-4000").removesuffix("-20000") for name, task in TASKS.items() if task.held_out
    }
    assert held_out == HELD_OUT


@pytest.mark.parametrize(
    ("task", "seed", "group"),
    [
        ("digits-mlp", 5, "chosen on"),
        ("digits-mlp", 6, "held-out seeds"),
        ("diabetes", 0, "held-out tasks"),
        ("diabetes", 100, "held-out tasks"),
        ("digits-mlp-4000", 0, "chosen on, 4,000 steps"),
        ("table-letter-20000", 100, "held-out seeds, 20,000 steps"),
        ("friedman3-20000", 0, "held-out tasks, 20,000 steps"),
    ],
)
def test_group_says_what_a_result_can_show(task: str, seed: int, group: str) -> None:
    assert str(group_of(Run(task, "adam", "cosine", 1e-3, seed))) == group


def test_groups_do_not_share_a_score() -> None:
    found = {str(group): scores(own) for group, own in by_group(measured()).items()}
    assert {name: [round(math.exp(score.score), 6) for score in own] for name, own in found.items()} == {
        "chosen on": [2.0],
        "chosen on, 4,000 steps": [2.0],
        "held-out seeds": [2.0],
        "held-out seeds, 4,000 steps": [2.0],
        "held-out tasks": [5.0],
    }


def test_tables_show_each_group_by_itself() -> None:
    tables = [
        table
        for table in comparison_tables(measured(), several=True, regret=False)
        if not isinstance(table, str)
    ]
    titles = [str(table.title) for table in tables]
    assert "digits-mlp, adam, cosine, 1 seeds (chosen on)" in titles
    assert "friedman2, adam, cosine, 2 seeds (held-out tasks)" in titles
    assert "friedman1-4000, adam, cosine, 1 seeds (held-out seeds, 4,000 steps)" in titles
    of_scores = [title.partition(":")[0] for title in titles if title.startswith("Score")]
    assert of_scores == [
        f"Score, cosine ({group})"
        for group in (
            "chosen on",
            "chosen on, 4,000 steps",
            "held-out seeds",
            "held-out seeds, 4,000 steps",
            "held-out tasks",
        )
    ]


def test_pictures_mark_what_nothing_was_chosen_on() -> None:
    rows = list(dict.fromkeys(mark.row for mark in marks(measured(), "cosine")))
    assert rows == [
        "digits-mlp",
        "friedman1",
        "score",
        "friedman1-4000",
        "score (chosen on, 4,000 steps)",
        "digits-mlp (held-out seeds)",
        "friedman1 (held-out seeds)",
        "score (held-out seeds)",
        "friedman1-4000 (held-out seeds)",
        "score (held-out seeds, 4,000 steps)",
        "friedman2 (held-out tasks)",
        "friedman3 (held-out tasks)",
        "score (held-out tasks)",
    ]


def test_a_grid_is_widened_until_the_best_of_each_group_is_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(run: Run) -> Result:
        best = 1.0 if run.seed > 5 else 1e-2
        return Result(run, 1 + abs(math.log10(run.rate / best)), 99.0, 1, 1, None)

    monkeypatch.setattr(results, "execute", made)
    found = compare(
        [TASKS["line"]], find_methods("adam"), ["cosine"], [5, 6], tmp_path, 1, lambda done, total: None
    )
    best = [tuned(own, "line", "adam", "cosine") for own in by_group(found).values()]
    assert [(one.rate, one.at_the_edge) for one in best if one is not None] == [(1e-2, False), (1.0, False)]


def test_long_tasks_are_the_short_ones_with_more_steps() -> None:
    for steps in (4_000, 20_000):
        long, short = TASKS[f"friedman3-{steps}"], TASKS["friedman3"]
        assert long == replace(short, name=f"friedman3-{steps}", steps=steps)


def test_suite_of_long_trainings_tries_fewer_rates() -> None:
    chosen = choose("long", "friedman1-4000,friedman3-20000", None, (), None)
    fixed, *others = chosen.methods
    assert (fixed.name, fixed.rates) == ("adam", SUITES["long"].rates)
    assert {method.rates for method in others if method.name.startswith("gala-")} == {(1e-3,)}
    assert {task.steps for task in find_tasks(SUITES["held-out"].tasks.split(",")[0])} == {600}


def test_seeds_begin_where_they_are_told_to() -> None:
    assert choose(None, "digits-mlp", None, (), None, 100).seeds == range(100, 105)
    assert choose("quick", "digits-mlp", None, (), 2, 6).seeds == range(6, 8)


def test_results_of_a_task_that_is_gone_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "execute", lambda run: Result(run, run.rate, 9.0, 60, 60, None))
    old, new = (Run(task, "adam", "cosine", 1e-3) for task in ("digits-mlp-long", "digits-mlp-4000"))
    for run in (old, new):
        Collection(tmp_path).complete([run], 1, lambda done, total: None)
    assert list(Collection(tmp_path).results) == [old, new]


def test_command_trains_the_seeds_that_it_names(tmp_path: Path) -> None:
    words = [
        "--tasks",
        "line",
        "--methods",
        "gala-echo",
        "--seeds",
        "1",
        "--first-seed",
        "100",
        "--jobs",
        "1",
    ]
    ran = CliRunner().invoke(main, ["bench", "compare", *words, "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    assert {run.seed for run in Collection(tmp_path).results} == {100}
    assert "line, adam, cosine, 1 seeds (held-out seeds)" in ran.stdout
    assert "One rate for all tasks (adam, cosine) is left out on line" in " ".join(ran.stdout.split())


def test_group_is_sorted_with_what_was_chosen_on_first() -> None:
    assert sorted([Group("held-out tasks"), Group("chosen on", "4,000 steps"), Group("chosen on")]) == [
        Group("chosen on"),
        Group("chosen on", "4,000 steps"),
        Group("held-out tasks"),
    ]
