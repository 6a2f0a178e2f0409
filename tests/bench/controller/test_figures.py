"""Pictures: the points first, then that they are drawn."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from galatune.bench.controller.figures import (
    FIXED_LABEL,
    marks,
    rate_lines,
    score_figure,
)
from galatune.bench.controller.methods import find_methods
from galatune.bench.controller.runs import Result, Run, plan
from galatune.bench.controller.tasks import TASKS
from galatune.bench.drawing import save
from galatune.bench.sensitivity.curves import Curve
from galatune.bench.sensitivity.figure import sensitivity_figure
from galatune.cli import main
from galatune.errors import GalatuneError


def results() -> list[Result]:
    """Fixed rates: 2.0 at 1e-2, 3.0 elsewhere; ours 1.0, a peer 30."""

    def loss(run: Run) -> float:
        own = 2.0 if run.rate == 1e-2 else 3.0
        return {"adam": own, "gala-graph": 1.0}.get(run.method, 30.0) * (1 + run.seed / 10)

    methods = find_methods("gala-graph,hypergradient-adam")
    runs = plan([TASKS["line"], TASKS["wine"]], methods, ["cosine", "constant"], seeds=range(2))
    curve = ((1, 1e-5), (60, 2e-3))
    return [
        Result(run, loss(run), 99.0, 60, 60, 2e-3, 1.0, 8.0, curve if run.method == "gala-graph" else ())
        for run in runs
    ]


def test_marks_are_the_ratios_and_the_score() -> None:
    found = {(mark.row, mark.method): mark for mark in marks(results(), "cosine")}
    assert set(found) == {
        (row, method)
        for row, method in (
            ("line", "gala-graph"),
            ("line", "hypergradient-adam"),
            ("wine", "gala-graph"),
            ("wine", "hypergradient-adam"),
            ("score", "gala-graph"),  # of the tasks that count: line
            ("score", "hypergradient-adam"),
        )
    }
    assert found["line", "gala-graph"].ratio == pytest.approx(0.5)
    assert found["line", "gala-graph"].interval == pytest.approx((0.5, 0.5))
    assert found["score", "hypergradient-adam"].ratio == pytest.approx(15.0)


def test_best_fixed_rate_follows_the_schedule_beside_ours() -> None:
    for schedule, last in (("cosine", 0.5e-2 * (1 + math.cos(math.pi * 59 / 60))), ("constant", 1e-2)):
        lines = {(line.panel, line.label): line for line in rate_lines(results(), schedule)}
        assert set(lines) == {
            (f"{task}, adam", label) for task in ("line", "wine") for label in ("gala-graph", FIXED_LABEL)
        }
        fixed, own = lines["line, adam", FIXED_LABEL], lines["line, adam", "gala-graph"]
        assert (own.steps, own.rates) == ((1, 60), (1e-5, 2e-3))
        assert (fixed.steps[0], fixed.steps[-1], fixed.rates[0]) == (1, 60, 1e-2)
        assert fixed.rates[-1] == pytest.approx(last)


def test_what_lies_beyond_the_axis_is_said_in_numbers() -> None:
    figure = score_figure(marks(results(), "cosine"), "cosine")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["line", "wine", "score"]
    assert {text.get_text() for text in axes.texts} == {"15"}
    low, high = axes.get_xlim()
    drawn = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert len(drawn) == 6
    assert all(low < x < high for x in drawn)


def test_a_figure_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    curve = Curve("line", "adam", (1e-3, 1e-2), ((2.0,), (1.0,)))
    (tmp_path / "sensitivity.svg").mkdir()
    with pytest.raises(GalatuneError, match=r"cannot write .*sensitivity.svg': Is a directory"):
        save(sensitivity_figure([curve]), tmp_path, "sensitivity")


@pytest.mark.slow
def test_command_draws_what_it_prints(tmp_path: Path) -> None:
    words = ["--tasks", "line", "--methods", "gala-graph", "--seeds", "1", "--jobs", "1"]
    ran = CliRunner().invoke(main, ["bench", "compare", *words, "--figures", "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    ran = CliRunner().invoke(main, ["bench", "sensitivity", *words, "--figures", "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    for name in ("scores-cosine", "rates-cosine", "sensitivity"):
        assert (tmp_path / f"{name}.svg").read_text().lstrip().startswith("<?xml")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
