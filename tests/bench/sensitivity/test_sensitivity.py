"""Sensitivity to the initial rate: ours has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from galatune.bench.controller.runs import Result, Run
from galatune.bench.sensitivity.curves import INITIAL_RATES, curves
from galatune.cli import main


def test_sensitivity_is_the_expected_deviation_from_the_best() -> None:
    losses = {1e-3: (4.0, 2.0), 1e-2: (1.0, 2.0), 1e-1: (float("inf"), 2.0)}
    results = [
        Result(Run("line", "adam", "cosine", rate, seed), loss, 5.0, 60, 60, None)
        for rate, of_seeds in losses.items()
        for seed, loss in enumerate(of_seeds)
    ]
    (curve,) = curves(results)
    assert curve.means == (3.0, 1.5, 3.5)  # what diverged counts as the loss at the start
    assert curve.best == (1e-2, 1.5)
    assert curve.sensitivity == pytest.approx((1.5 + 0.0 + 2.0) / 3)
    assert not curve.same_to_the_last_digit


def test_equal_means_of_different_seeds_are_not_the_same() -> None:
    results = [
        Result(Run("line", "adam", "cosine", rate, seed), loss, 5.0, 60, 60, None)
        for rate, of_seeds in {1e-3: (1.0, 2.0), 1e-2: (2.0, 1.0)}.items()
        for seed, loss in enumerate(of_seeds)
    ]
    (curve,) = curves(results)
    assert curve.sensitivity == 0
    assert not curve.same_to_the_last_digit


def test_rates_are_every_decade() -> None:
    assert (len(INITIAL_RATES), INITIAL_RATES[0], INITIAL_RATES[-1]) == (10, 1e-8, 10.0)


def test_command_measures_that_ours_has_none(tmp_path: Path) -> None:
    words = ["bench", "sensitivity", "--tasks", "line", "--methods", "gala-graph,gala-closure"]
    words += ["--seeds", "1", "--jobs", "1", "--out", str(tmp_path)]
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code == 0, ran.output
    rows = {line.split()[1]: line for line in ran.stdout.splitlines() if line.strip().startswith("line ")}
    assert set(rows) == {"adam", "gala-graph", "gala-closure"}
    for name in ("gala-graph", "gala-closure"):
        assert rows[name].split()[2] == "0"
        assert "equal to the last digit" in rows[name]
    assert float(rows["adam"].split()[2]) > 0.1
    assert "10 different" in rows["adam"]
