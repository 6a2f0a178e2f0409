from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from galatune.bench.tables import datasets
from galatune.bench.tables.datasets import BUNDLED, find_sets
from galatune.errors import GalatuneError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tables that holds none yet."""
    monkeypatch.setenv("GALATUNE_DATA", str(tmp_path))
    (tmp_path / "tabular").mkdir()
    return tmp_path / "tabular"


def published(folder: Path, name: str, frame: pd.DataFrame, **about: Any) -> None:
    frame.to_parquet(folder / f"{name}.parquet")
    entry = {
        "name": name,
        "target": "y",
        "rows": len(frame),
        "categorical": [],
        "n_classes": None,
        "file": f"{name}.parquet",
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
    }
    manifest = folder / "manifest.json"
    before = json.loads(manifest.read_text())["datasets"] if manifest.exists() else []
    manifest.write_text(json.dumps({"datasets": [*before, entry | about]}))


def test_sets_of_scikit_learn_are_there_without_any_folder(folder: Path) -> None:
    found, absent = find_sets(None)
    assert [one.name for one in found] == list(BUNDLED)
    assert {"adult", "letter"} <= set(absent)
    assert all(one.chosen_on for one in found)
    assert {one.name: one.classes for one in found} == {
        "breast_cancer": 2,
        "diabetes": 0,
        "digits": 10,
        "iris": 3,
        "wine": 3,
    }


def test_a_set_that_the_manifest_names_and_nobody_knew_is_found(folder: Path) -> None:
    published(folder, "new", pd.DataFrame({"x": np.arange(8.0), "y": np.arange(8)}))
    (found,), _ = find_sets("new")
    split = found.split(0)
    assert not found.chosen_on
    assert split.y.dtype == np.float64
    assert sorted([*split.y, *split.y_test]) == list(range(8))


def test_levels_are_those_of_the_training_rows_and_others_are_missing(folder: Path) -> None:
    frame = pd.DataFrame({"colour": [1, *[2] * 30, None], "y": ["a", "b"] * 16})
    published(folder, "colours", frame, categorical=["colour"], n_classes=2)
    (found,), _ = find_sets("colours")
    rare = [split for split in map(found.split, range(20)) if len(split.X["colour"].cat.categories) == 1]
    assert rare
    for split in rare:
        assert split.X_test["colour"].cat.categories.equals(split.X["colour"].cat.categories)
        assert split.X_test["colour"].isna().any()


def test_a_split_depends_on_its_seed_alone_and_holds_every_class(folder: Path) -> None:
    (wine,), _ = find_sets("wine")
    one, again, other = wine.split(3), wine.split(3), wine.split(4)
    pd.testing.assert_frame_equal(one.X, again.X)
    np.testing.assert_array_equal(one.y_test, again.y_test)
    assert not one.X.equals(other.X)
    assert set(one.y) == set(one.y_test) == {0, 1, 2}
    assert len(one.X_test) == 45
    assert wine.test_share == pytest.approx(45 / 133)


def test_more_training_rows_than_allowed_are_drawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MOST_ROWS", 50)
    (wine,), _ = find_sets("wine")
    assert len(wine.split(0).X) == 50
    assert len(wine.split(0).X_test) == 45
    assert wine.test_share == pytest.approx(45 / 50)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("adult", "data set adult needs .*; say where with GALATUNE_DATA"),
        ("wine,winw", "no data set 'winw'; use breast_cancer"),
        (" , ", "no data set is named in ' , '"),
    ],
)
def test_sets_that_are_not_there_are_named(folder: Path, names: str, said: str) -> None:
    with pytest.raises(GalatuneError, match=said):
        find_sets(names)


@pytest.mark.parametrize("content", ["", "[]", '{"datasets": [{"name": "x"}]}', '{"datasets": null}'])
def test_a_manifest_that_is_none_is_named(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(GalatuneError, match=r"cannot read .*manifest\.json"):
        find_sets(None)
