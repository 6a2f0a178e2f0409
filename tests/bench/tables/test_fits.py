from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from galatune.bench.tables import fits as module
from galatune.bench.tables.datasets import Split, find_sets
from galatune.bench.tables.fit import Cell, Fit, measured
from galatune.bench.tables.fits import Plan, run_fits, tidy
from galatune.bench.tables.methods import METHODS, find_methods
from galatune.bench.tables.scores import Scores, judge
from galatune.errors import GalatuneError

METHODS_TYPED = "ours,sklearn-mlp"


def plan(sets: str = "wine,diabetes", methods: str = METHODS_TYPED, splits: int | None = 2) -> Plan:
    return Plan(find_sets(sets)[0], find_methods(methods)[0], splits)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Which fits were asked for; none takes place."""
    asked: list[Cell] = []

    def fit_alone(cell: Cell, seconds: float) -> Fit | None:
        asked.append(cell)
        return Fit(cell, Scores(error=0.25), 1.5, 100.0)

    monkeypatch.setattr(module, "fit_alone", fit_alone)
    return asked


def silent(done: int, of: int) -> None:
    pass


def test_fits_go_split_by_split_and_are_not_repeated(tmp_path: Path, fitted: list[Cell]) -> None:
    said: list[tuple[int, int]] = []
    first = run_fits(plan(splits=1), tmp_path, 1, silent)
    both = run_fits(plan(), tmp_path, 1, lambda done, of: said.append((done, of)))
    assert [(cell.seed, cell.dataset, cell.method) for cell in fitted] == [
        (seed, name, method)
        for seed in (0, 1)
        for name in ("wine", "diabetes")
        for method in ("ours", "sklearn-mlp")
    ]
    assert said == [(4, 8), (5, 8), (6, 8), (7, 8), (8, 8)]
    assert both[:4] == first
    assert run_fits(plan(), tmp_path, 1, silent) == both


def test_results_of_other_code_are_made_anew(
    tmp_path: Path, fitted: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_fits(plan("wine", splits=1), tmp_path, 1, silent)
    monkeypatch.setitem(METHODS, "sklearn-mlp", replace(METHODS["sklearn-mlp"], sources=("bench/text.py",)))
    fitted.clear()
    run_fits(plan("wine", splits=1), tmp_path, 1, silent)
    assert [cell.method for cell in fitted] == ["sklearn-mlp"]


def test_what_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = iter(
        [Fit(Cell("wine", "ours", 0), failure="killed"), Fit(Cell("wine", "ours", 0), Scores(), 1.0)]
    )
    monkeypatch.setattr(module, "fit_alone", lambda cell, seconds: next(results))
    wanted = plan("wine", "ours", 1)
    (failed,) = run_fits(wanted, tmp_path, 1, silent)
    (done,) = run_fits(wanted, tmp_path, 1, silent)
    assert (failed.failure, done.failure, done.seconds) == ("killed", None, 1.0)
    assert run_fits(wanted, tmp_path, 1, silent) == [done]


def test_after_the_given_hours_nothing_is_begun(tmp_path: Path) -> None:
    assert run_fits(plan(), tmp_path, 1e-12, silent) == []


def test_two_at_once_are_refused(tmp_path: Path, fitted: list[Cell]) -> None:
    with (
        FileLock(tmp_path / "tables.lock"),
        pytest.raises(GalatuneError, match="another bench tables writes to"),
    ):
        run_fits(plan(), tmp_path, 1, silent)


@pytest.mark.parametrize("body", [{}, [], {"cell": {"dataset": "wine"}}, {"cell": 1, "scores": {}}])
def test_a_line_that_is_no_fit_is_named(tmp_path: Path, body: object) -> None:
    (tmp_path / "tables.jsonl").write_text(json.dumps(body) + "\n")
    with pytest.raises(GalatuneError, match="holds a line that is no result"):
        run_fits(plan(), tmp_path, 1, silent)


def test_dear_methods_and_those_that_only_classify_get_their_share() -> None:
    some = [METHODS[name] for name in ("ours", "realmlp-log-loss", "tabm")]
    cells = Plan(find_sets("wine,diabetes")[0], some).cells()
    counts = pd.DataFrame(cells).groupby(["dataset", "method"]).size().to_dict()
    assert counts == {
        ("wine", "ours"): 10,
        ("wine", "realmlp-log-loss"): 10,
        ("wine", "tabm"): 2,
        ("diabetes", "ours"): 10,
        ("diabetes", "tabm"): 2,
    }


def test_a_fit_has_a_process_of_its_own_and_the_same_scores_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell("wine", "hist-gradient-boosting", 1)
    alone = module.fit_alone(cell, 300)
    (wine,), _ = find_sets("wine")
    here = measured(cell, wine.split(1), METHODS[cell.method])
    assert alone is not None
    assert alone.failure is None
    assert alone.scores == here.scores
    assert alone.seconds is not None
    assert alone.seconds > 0
    assert alone.memory is not None
    assert alone.memory > 10


def test_a_process_that_fails_says_why() -> None:
    failed = module.fit_alone(Cell("diabetes", "realmlp-log-loss", 0), 300)
    assert failed is not None
    assert failed.failure == "ValueError: RealMLP for log loss is a classifier"
    assert failed.scores == Scores()


def test_a_process_that_is_killed_says_by_what(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda _, **options: run(words, **options))
    killed = module.fit_alone(Cell("wine", "ours", 0), 300)
    assert killed is not None
    assert killed.failure == "ended by signal 9"


def test_the_tidy_table_has_a_row_per_fit() -> None:
    frame = tidy(
        [Fit(Cell("wine", "ours", 0), Scores(error=0.5), 1.0, 2.0), Fit(Cell("wine", "ours", 1), failure="x")]
    )
    assert frame.columns[:3].tolist() == ["dataset", "method", "seed"]
    assert frame["error"].tolist()[0] == 0.5
    assert frame["failure"].isna().tolist() == [True, False]
    assert frame["failure"].tolist()[1] == "x"


def split_of(classes: int, y: list[float], y_test: list[float]) -> Split:
    X, X_test = (pd.DataFrame({"x": np.arange(float(len(rows)))}) for rows in (y, y_test))
    dtype = np.int64 if classes else np.float64
    return Split(X, X_test, np.array(y, dtype), np.array(y_test, dtype), classes)


def test_scores_are_what_they_are_called() -> None:
    binary = split_of(2, [0, 1], [0, 0, 1, 1])
    scores = judge(binary, np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.2, 0.8]]))
    assert scores.auc_loss == pytest.approx(0.25)
    assert scores.error == pytest.approx(0.5)
    assert scores.log_loss == pytest.approx(-np.log([0.9, 0.4, 0.5, 0.8]).mean())
    values = split_of(0, [0, 2], [1, 5])
    assert judge(values, np.array([1.0, 3.0])) == Scores(rmse=pytest.approx(np.sqrt(2.0)))


def test_a_class_that_the_training_rows_lack_has_no_probability() -> None:
    rows = split_of(3, [0, 2] * 40, [0, 1, 2])
    found = measured(Cell("none", "hist-gradient-boosting", 0), rows, METHODS["hist-gradient-boosting"])
    assert found.scores.error is not None
    assert found.scores.error >= 1 / 3
    assert found.scores.log_loss is not None
    assert np.isfinite(found.scores.log_loss)


def test_predictions_that_are_not_finite_are_a_failure() -> None:
    with pytest.raises(ValueError, match="a prediction is not finite"):
        judge(split_of(0, [0, 1], [1.0]), np.array([np.nan]))


@pytest.mark.parametrize("dataset", ["wine", "diabetes"])
def test_a_fixed_rate_stays_and_tells_its_validation_score(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galatune.bench.tables.fixed_rates import fixed

    (found,), _ = find_sets(dataset)
    rows = found.split(0)
    model = fixed(0.003, bool(rows.classes), 0)
    model.set_params(max_iter=2, hidden_layer_sizes=(8,), n_members=2)
    with pytest.warns(Warning, match="not finished"):
        model.fit(rows.X, rows.y)
    assert set(model.learning_rate_curve_[:, 1]) == {0.003}


def test_unknown_and_missing_methods_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GalatuneError, match="no method 'xgbost'; use ours, hist-gradient-boosting"):
        find_methods("xgbost")
    with pytest.raises(GalatuneError, match="no method is named in ','"):
        find_methods(",")
    monkeypatch.setitem(METHODS, "tabm", replace(METHODS["tabm"], packages=("no-such-package",)))
    with pytest.raises(
        GalatuneError, match=r"method tabm needs no-such-package; install it with pip install"
    ):
        find_methods("tabm")
    found, lacking = find_methods(None)
    assert lacking["tabm"] == ["no-such-package"]
    assert "tabm" not in {method.name for method in found}
    assert [method.name for method in find_methods("fixed-rates")[0]] == [
        *("ours", "fixed-0.0001", "fixed-0.0003", "fixed-0.001", "fixed-0.003"),
        *("fixed-0.01", "fixed-0.03", "fixed-0.1"),
    ]
