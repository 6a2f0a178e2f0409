"""`galatune bench tables` as people type it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from galatune.bench.tables import fits as module
from galatune.bench.tables.fit import Cell, Fit
from galatune.bench.tables.scores import Scores
from galatune.cli import main

WORDS = ("bench", "tables", "--sets", "wine", "--methods", "sklearn-mlp", "--splits", "2")


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Fits that were asked for; from the third on there is no time."""
    monkeypatch.chdir(tmp_path)
    cells: list[Cell] = []

    def fit_alone(cell: Cell, seconds: float) -> Fit | None:
        cells.append(cell)
        level = 0.5 if cell.method == "ours" else 0.25
        scores = Scores(log_loss=level + 0.01 * cell.seed, error=level)
        return None if len(cells) == 3 else Fit(cell, scores, 1.0, 100.0)

    monkeypatch.setattr(module, "fit_alone", fit_alone)
    return cells


def test_it_goes_on_where_it_stopped(asked: list[Cell]) -> None:
    stopped = CliRunner().invoke(main, WORDS)
    assert stopped.exit_code == 0, stopped.output
    assert "Time was up with 2 fits left; the same command goes on." in stopped.stderr
    ended = CliRunner().invoke(main, WORDS)
    assert ended.exit_code == 0, ended.output
    assert "sklearn MLP is better than ours on wine (log loss, by 0.25)." in ended.stdout
    assert "left" not in ended.stderr
    assert len(asked) == 5
    assert len(Path("bench-results/tables.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("option", "value", "status"),
    [
        ("--sets", "win", 1),
        ("--methods", "mlp", 1),
        ("--splits", "0", 2),
        ("--max-hours", "0", 2),
    ],
)
def test_wrong_values_are_one_line(option: str, value: str, status: int) -> None:
    result = CliRunner().invoke(main, [*WORDS, option, value])
    assert result.exit_code == status
    assert result.stderr.splitlines()[-1].startswith("galatune: ")
