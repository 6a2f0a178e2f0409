"""Tables: real ones, an artificial one, and three that a net interpolates."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from sklearn.compose import make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    load_wine,
    make_friedman1,
    make_friedman2,
    make_friedman3,
)
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from galatune.bench.controller.tasks.task import Data, Task, Training, mean_squared_error, mlp, supervised
from galatune.bench.data import tables_folder

__all__ = ["TABLES"]

STEPS = 600
INTERPOLATED_STEPS = 300
FOLDER = tables_folder()
FRIEDMAN2_NOISE, FRIEDMAN3_NOISE = 125.0, 0.1
"""A third of the standard deviation of the target without noise, as in Friedman 1991."""
CONDITION = 1e4
"""Condition number of the inputs of the logistic regression."""


@cache
def _real(name: str) -> Data:
    import pandas as pd

    manifest = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    about = next(one for one in manifest["datasets"] if one["name"] == name)
    frame = pd.read_parquet(FOLDER / about["file"])
    rows, target = frame.drop(columns=about["target"]), frame[about["target"]]
    regression = about["task"] == "regression"
    parts = train_test_split(
        rows, target, test_size=0.25, random_state=0, stratify=None if regression else target
    )
    numeric = [column for column in rows.columns if column not in about["categorical"]]
    transform = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numeric),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), about["categorical"]),
    )
    x_train, x_valid = transform.fit_transform(parts[0]), transform.transform(parts[1])
    return _data(x_train, x_valid, parts[2].to_numpy(), parts[3].to_numpy(), regression)


def _data(x_train: Any, x_valid: Any, y_train: Any, y_valid: Any, regression: bool) -> Data:
    if regression:
        mean, spread = y_train.mean(), y_train.std()
        targets = [torch.tensor((y - mean) / spread, dtype=torch.float64) for y in (y_train, y_valid)]
    else:
        classes = np.unique(y_train)
        targets = [torch.tensor(np.searchsorted(classes, y)) for y in (y_train, y_valid)]
    rows = [torch.tensor(np.asarray(x), dtype=torch.float64) for x in (x_train, x_valid)]
    return Data(rows[0], targets[0], rows[1], targets[1])


def _small(load: Callable[..., Any]) -> Data:
    x, y = load(return_X_y=True)
    x_train, x_valid, y_train, y_valid = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    scaler = StandardScaler().fit(x_train)
    return _data(scaler.transform(x_train), scaler.transform(x_valid), y_train, y_valid, False)


def _regression(x: Any, y: Any) -> Data:
    x_train, x_valid, y_train, y_valid = train_test_split(x, y, test_size=0.25, random_state=0)
    scaler = StandardScaler().fit(x_train)
    return _data(scaler.transform(x_train), scaler.transform(x_valid), y_train, y_valid, True)


@cache
def _friedman1() -> Data:
    return _regression(*make_friedman1(n_samples=2000, noise=1.0, random_state=0))


@cache
def _friedman2() -> Data:
    return _regression(*make_friedman2(n_samples=2000, noise=FRIEDMAN2_NOISE, random_state=0))


@cache
def _friedman3() -> Data:
    return _regression(*make_friedman3(n_samples=2000, noise=FRIEDMAN3_NOISE, random_state=0))


@cache
def _diabetes() -> Data:
    return _regression(*load_diabetes(return_X_y=True))


def _perceptron(
    dtype: torch.dtype, data: Callable[[], Data], hidden: tuple[int, ...] = (128, 128), batch_size: int = 256
) -> Training:
    rows = data().to(dtype)
    regression = rows.y.is_floating_point()
    outputs = 1 if regression else int(rows.y.max()) + 1
    net = mlp((rows.x.shape[1], *hidden, outputs)).to(dtype)
    if regression:
        return supervised(net, rows, batch_size=batch_size, loss=mean_squared_error)
    return supervised(net, rows, batch_size=batch_size)


def _logistic(dtype: torch.dtype) -> Training:
    """Logistic regression whose inputs have a condition number of 1e4."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.logspace(0, -np.log10(CONDITION) / 2, 50, dtype=torch.float64)
    x = torch.randn(4000, 50, generator=generator, dtype=torch.float64) * scales
    truth = torch.randn(50, generator=generator, dtype=torch.float64) / scales
    probability = torch.sigmoid(x @ truth / 4)
    y = (torch.rand(4000, generator=generator, dtype=torch.float64) < probability).long()
    data = Data(x[:3000], y[:3000], x[3000:], y[3000:]).to(dtype)
    return supervised(nn.Linear(50, 2).to(dtype), data, batch_size=64)


def _table(name: str, *, held_out: bool = False) -> Task:
    start = partial(_perceptron, data=partial(_real, name))
    return Task(f"table-{name}", STEPS, start, needs=str(FOLDER / f"{name}.parquet"), held_out=held_out)


def _held_out(name: str, data: Callable[[], Data]) -> Task:
    return Task(name, STEPS, partial(_perceptron, data=data, batch_size=64), held_out=True)


def _interpolated(name: str, load: Callable[..., Any]) -> Task:
    start = partial(_perceptron, data=partial(_small, load), hidden=(64, 64), batch_size=32)
    return Task(name, INTERPOLATED_STEPS, start, scored=False)


TABLES = (
    *(_table(name) for name in ("california_housing", "adult", "letter", "diamonds")),
    Task(
        "table-adult-batch-4096",
        STEPS,
        partial(_perceptron, data=partial(_real, "adult"), batch_size=4096),
        needs=str(FOLDER / "adult.parquet"),
    ),
    Task("friedman1", STEPS, partial(_perceptron, data=_friedman1, batch_size=64)),
    Task("logistic-ill-conditioned", STEPS, _logistic),
    _interpolated("wine", load_wine),
    _interpolated("breast_cancer", load_breast_cancer),
    _interpolated("iris", load_iris),
    *(_table(name, held_out=True) for name in ("credit_g", "hypothyroid", "online_shoppers")),
    _held_out("diabetes", _diabetes),
    _held_out("friedman2", _friedman2),
    _held_out("friedman3", _friedman3),
)
