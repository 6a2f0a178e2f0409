"""Data sets and their splits: those of ``GALATUNE_DATA`` and those that scikit-learn brings along."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets as bundled
from sklearn.model_selection import train_test_split

from galatune.bench.data import tables_folder
from galatune.errors import GalatuneError
from galatune.formatting import first_line, listed

__all__ = ["BUNDLED", "DataSet", "Split", "find_sets", "known_sets"]

TEST_SHARE = 0.25

MOST_ROWS = 10_000
"""Training rows; of more, as many are drawn with the seed of the split."""

FEW_ROWS = 2_000
MANY_SPLITS, FEW_SPLITS = 10, 5
"""Splits of a set of fewer rows, and of a larger one."""

CHOSEN_ON = ("california_housing", "credit_g", "online_shoppers")
"""Sets of ``GALATUNE_DATA`` on which the estimators' defaults were chosen, beside those of scikit-learn."""

BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "wine")

PUBLISHED = (
    "adult",
    "california_housing",
    "credit_g",
    "diamonds",
    "hypothyroid",
    "letter",
    "online_shoppers",
)
"""Sets that are named even if they are absent, so that leaving them out is said."""


@dataclass(frozen=True)
class Split:
    """Rows of one split.

    Attributes:
        X: Training rows. Columns of text have the dtype category, with the levels of the training rows.
        X_test: Test rows; a level that the training rows lack is missing.
        y: Class numbers or values of the training rows, shape (n_rows,).
        y_test: The same of the test rows.
        classes: How many classes the whole set has; 0 for a regression.
    """

    X: pd.DataFrame
    X_test: pd.DataFrame
    y: NDArray[Any]
    y_test: NDArray[Any]
    classes: int


@dataclass(frozen=True)
class DataSet:
    """A table with one target.

    Attributes:
        name: What the command line calls it.
        rows: Number of rows, test rows included.
        classes: Number of classes; 0 for a regression.
        chosen_on: Whether defaults of the estimators were chosen on it.
        content: What tells one version of it from another.
        load: Returns features and target.
    """

    name: str
    rows: int
    classes: int
    chosen_on: bool
    content: str
    load: Callable[[], tuple[pd.DataFrame, NDArray[Any]]]

    @property
    def splits(self) -> int:
        """How many splits it gets unless told otherwise."""
        return MANY_SPLITS if self.rows < FEW_ROWS else FEW_SPLITS

    @property
    def test_share(self) -> float:
        """Number of test rows / number of training rows."""
        test = int(np.ceil(self.rows * TEST_SHARE))
        return test / min(MOST_ROWS, self.rows - test)

    def split(self, seed: int) -> Split:
        """A quarter of the rows for the test, stratified by class, and at most 10,000 for the training.

        Args:
            seed: Decides which rows; the same for every method.
        """
        X, y = self.load()
        y = np.unique(y, return_inverse=True)[1] if self.classes else y.astype(np.float64)
        stay, held = train_test_split(
            np.arange(len(y)),
            test_size=TEST_SHARE,
            random_state=seed,
            stratify=y if self.classes else None,
        )
        stay = np.random.RandomState(seed).permutation(stay)[:MOST_ROWS]
        train, test = X.iloc[stay].reset_index(drop=True), X.iloc[held].reset_index(drop=True)
        for name in train.select_dtypes("category"):
            train[name] = train[name].cat.remove_unused_categories()
            test[name] = test[name].cat.set_categories(train[name].cat.categories)
        return Split(train, test, y[stay], y[held], self.classes)


def find_sets(names: str | None) -> tuple[list[DataSet], list[str]]:
    """Data sets by a comma-separated list of names, and the names of those that are absent.

    Args:
        names: None for all; then absent ones are left out.

    Raises:
        GalatuneError: A named set is unknown or absent, the list is empty, or the manifest cannot be read.
    """
    there = known_sets()
    absent = [name for name in PUBLISHED if name not in there]
    if names is None:
        return list(there.values()), absent
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not wanted:
        raise GalatuneError(f"no data set is named in {names!r}; use {listed(there)}")
    for name in wanted:
        if name in absent:
            raise GalatuneError(f"data set {name} needs {tables_folder()}; say where with GALATUNE_DATA")
        if name not in there:
            raise GalatuneError(f"no data set {name!r}; use {listed(there)}")
    return [there[name] for name in wanted], []


def known_sets() -> dict[str, DataSet]:
    """Every data set that is there, by name.

    Raises:
        GalatuneError: The manifest of the tables cannot be read.
    """
    found = [*_published(tables_folder()), *map(_bundled, BUNDLED)]
    return {one.name: one for one in found}


def _published(folder: Path) -> Iterator[DataSet]:
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["datasets"]
        for entry in entries:
            if (folder / entry["file"]).exists():
                yield DataSet(
                    entry["name"],
                    int(entry["rows"]),
                    int(entry["n_classes"] or 0),
                    entry["name"] in CHOSEN_ON,
                    str(entry["sha256"]),
                    partial(_read, folder / entry["file"], entry["target"], tuple(entry["categorical"])),
                )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GalatuneError(
            f"cannot read {manifest} ({type(error).__name__}: {first_line(error)}); name another folder with "
            "GALATUNE_DATA"
        ) from error


def _read(file: Path, target: str, categorical: tuple[str, ...]) -> tuple[pd.DataFrame, NDArray[Any]]:
    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError, ImportError) as error:
        raise GalatuneError(
            f"cannot read {file} ({type(error).__name__}: {first_line(error)}); it needs pyarrow"
        ) from error
    X = frame.drop(columns=target)
    for name in categorical:
        X[name] = X[name].map(str, na_action="ignore").astype("category")
    return X, frame[target].to_numpy()


def _bundled(name: str) -> DataSet:
    X, y = _load_bundled(name)
    classes = 0 if name == "diabetes" else len(np.unique(y))
    return DataSet(name, len(X), classes, True, name, partial(_load_bundled, name))


@cache
def _load_bundled(name: str) -> tuple[pd.DataFrame, NDArray[Any]]:
    X, y = getattr(bundled, f"load_{name}")(return_X_y=True, as_frame=True)
    return X, y.to_numpy()
