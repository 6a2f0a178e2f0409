from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from galatune.cli import main


def galatune(*words: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("with space")
    size = np.arange(60) * 37 % 60
    frame = pd.DataFrame({"size": size, "kind": np.where(size > 30, "big", "small")})
    frame.to_csv(folder / "my table.csv", index=False)
    return folder / "my table.csv"


@pytest.fixture(scope="module")
def fitted(table: Path) -> Result:
    return galatune("fit", table, "--target", "kind", "--out", table.parent / "model", "--max-iter", "3")


def test_fit_says_what_it_decided_and_what_to_type_next(fitted: Result, table: Path) -> None:
    assert fitted.exit_code == 0, fitted.stderr
    assert "Classification of 'kind': it holds text, 2 different values." in fitted.stderr
    assert "--task regression" in fitted.stderr
    assert "3 epochs (9 steps) in " in fitted.stderr
    assert "Epoch" not in fitted.stderr + fitted.stdout  # nothing is written over where it is no terminal
    assert "ROC AUC" in fitted.stdout
    command = next(line for line in fitted.stderr.splitlines() if line.startswith("To predict: "))
    words = shlex.split(command.removeprefix("To predict: galatune "))
    predicted = galatune(*words)
    assert (predicted.exit_code, predicted.stderr) == (0, "")
    rows = pd.read_csv(io.StringIO(predicted.stdout))
    assert len(rows) == 60
    assert set(rows["prediction"]) <= {"big", "small"}


def test_probabilities_go_to_a_file(fitted: Result, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    result = galatune("predict", table.parent / "model", table, "--proba", "--out", out)
    assert (result.exit_code, result.stdout) == (0, "")
    rows = pd.read_parquet(out)
    assert list(rows.columns) == ["prediction", "probability_big", "probability_small"]


def test_a_folder_that_exists_stays_without_overwrite(fitted: Result, table: Path) -> None:
    words = ("fit", table, "--target", "size", "--out", table.parent / "model", "--json", "--max-iter", "2")
    before = (table.parent / "model" / "card.json").read_text()
    refused = galatune(*words)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "say --overwrite" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert (table.parent / "model" / "card.json").read_text() == before
    (table.parent / "model" / "mine.txt").write_text("stays")
    replaced = galatune(*words, "--overwrite")
    assert replaced.exit_code == 0, replaced.stderr
    assert json.loads(replaced.stdout)["task"] == "regression"
    assert json.loads((table.parent / "model" / "card.json").read_text()) == json.loads(replaced.stdout)
    assert (table.parent / "model" / "mine.txt").read_text() == "stays"
    no_classes = galatune("predict", table.parent / "model", table, "--proba")
    assert (no_classes.exit_code, no_classes.stderr.count("\n")) == (1, 1)
    assert "Leave --proba out" in no_classes.stderr


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--target", "nope", "--out", "new"), 1),
        (("--target", "kind", "--out", "my table.csv"), 1),
        (("--target", "kind", "--out", "my table.csv/below"), 1),
        (("--target", "kind"), 2),
        (("--target", "kind", "--out", ""), 2),
        (("--target", "kind", "--out", "new", "--test", "1"), 2),
        (("--target", "kind", "--out", "new", "--max-time", "0"), 2),
    ],
)
def test_what_cannot_be_fitted_is_one_line_and_leaves_no_folder(
    table: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], status: int
) -> None:
    monkeypatch.chdir(table.parent)
    result = galatune("fit", table, *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith("galatune: ")
    assert not (table.parent / "new").exists()
