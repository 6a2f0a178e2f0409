"""Objectives never meet a class of galatune's in what they save, dump or print, inside a real run."""

from __future__ import annotations

import argparse
import array
import copy
import dataclasses
import io
import json
import numbers
import pickle
import sqlite3
import statistics
import struct
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import cloudpickle
import joblib
import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
import torch
import yaml
from sklearn.base import clone
from sklearn.linear_model import SGDRegressor
from tiny_search import optimizer_of, recorded, run_once, train

pytestmark = pytest.mark.usefixtures("folder")


def reload(body: Any) -> Any:
    file = io.BytesIO()
    torch.save(body, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def legacy(body: Any) -> Any:
    file = io.BytesIO()
    torch.save(body, file, _use_new_zipfile_serialization=False)
    file.seek(0)
    return torch.load(file, weights_only=True)


class PythonPickle:
    """A pickle module of the user's."""

    __name__ = "mine"
    Pickler = pickle._Pickler
    dump = staticmethod(pickle.dump)


@dataclasses.dataclass
class Config:
    rate: float
    nested: dict[str, Any]


def compiled(rate: Any, backend: str) -> bool:
    torch._dynamo.reset()
    table = {"rate": rate}
    function = torch.compile(lambda x, r: x * rate + r * table["rate"], fullgraph=True, backend=backend)
    return torch.equal(function(torch.ones(2), rate), torch.ones(2) * float(rate) + float(rate) ** 2)


def in_sqlite(rate: Any) -> list[Any]:
    connection = sqlite3.connect(":memory:")
    try:
        return connection.execute("select ?, typeof(?)", (rate, rate)).fetchall()
    finally:
        connection.close()


def user_pickle(rate: Any) -> Any:
    file = io.BytesIO()
    torch.save({"lr": rate}, file, pickle_module=PythonPickle)
    file.seek(0)
    return torch.load(file, weights_only=True)


CHECKS: dict[str, Callable[[Any, float], bool]] = {
    "torch.save": lambda r, p: reload({"lr": r, "nested": [(r, 3 * r)]}) == {"lr": p, "nested": [(p, 3 * p)]},
    "torch.save, classes": lambda r, p: type(reload([r])[0]) is float,
    "torch.save, a tensor": lambda r, p: torch.equal(reload([torch.ones(3), r])[0], torch.ones(3)),
    "torch.save, the old format": lambda r, p: legacy({"lr": r, "x": torch.ones(2)})["lr"] == p,
    "torch.save, a module of the user's": lambda r, p: user_pickle(r) == {"lr": p},
    "yaml.safe_dump": lambda r, p: yaml.safe_dump({"a": r, "b": [r]}) == yaml.safe_dump({"a": p, "b": [p]}),
    "yaml.dump": lambda r, p: yaml.dump({"a": r, "b": [r]}) == yaml.dump({"a": p, "b": [p]}),
    "pickle": lambda r, p: all(
        type(pickle.loads(pickle.dumps(r, protocol))) is float for protocol in range(6)
    ),
    "pickle, names": lambda r, p: b"galatune" not in pickle.dumps({"lr": r}),
    "joblib": lambda r, p: (
        joblib.dump({"lr": r}, "x.joblib") and type(joblib.load("x.joblib")["lr"]) is float
    ),
    "copy": lambda r, p: copy.copy(r) is r and copy.deepcopy({"a": [r]})["a"][0] is r,
    "json": lambda r, p: json.dumps({"a": r, "b": [r]}, indent=1) == json.dumps({"a": p, "b": [p]}, indent=1),
    "json, a key": lambda r, p: json.dumps({r: 1}) == json.dumps({p: 1}),
    "text": lambda r, p: (
        (repr(r), str(r), f"{r:.3g} {r}", "%g %s %r" % (r, r, r))  # noqa: UP031
        == (
            *(repr(p), str(p), f"{p:.3g} {p}", "%g %s %r" % (p, p, p)),  # noqa: UP031
        )
    ),
    "the class, printed": lambda r, p: str(type(r)) == str(type(p)) and type(r).__name__ == "float",
    "the class, compared": lambda r, p: type(r) == float and type(r) in (int, float),  # noqa: E721
    "the class, looked up": lambda r, p: {float: 1, str: 2}[type(r)] == 1 and type(r)("0.5") == 0.5,
    "isinstance": lambda r, p: isinstance(r, float) and isinstance(r, numbers.Real) and r.__class__ is float,
    "a key": lambda r, p: {p: 1}[r] == 1 and hash(r) == hash(p) and len({r, p}) == 1,
    "order": lambda r, p: sorted([1.0, r, 0.0]) == sorted([1.0, p, 0.0]) and not r < p and r >= p,
    "arithmetic": lambda r, p: (
        [3 * r, r / 7, r**2, 2**r, -r, abs(r), r // 3, r % 0.01, 1 - r, r + 1, round(r, 3), +r, round(r)]
        == [3 * p, p / 7, p**2, 2**p, -p, abs(p), p // 3, p % 0.01, 1 - p, p + 1, round(p, 3), +p, round(p)]
    ),
    "sum, min and max": lambda r, p: (sum([r, r]), min(r, 9.0), max(r, 0)) == (2 * p, p, p),
    "torch": lambda r, p: torch.equal(torch.tensor(r), torch.tensor(p)),
    "torch, float16": lambda r, p: (r * torch.ones(2, dtype=torch.float16)).dtype == torch.float16,
    "numpy": lambda r, p: np.array([r, r]).dtype == np.float64 and np.asarray(r) == p,
    "numpy, float32": lambda r, p: (
        (np.ones(2, np.float32) * r).dtype == np.float32 and type(np.float32(2) * r) is np.float32
    ),
    "numpy, a function": lambda r, p: np.where(True, r, np.float32(1)).dtype == np.float32,
    "numpy, a scalar": lambda r, p: (
        [(r * np.float64(2)).item(), np.sqrt(r).round(2)]
        == ([(p * np.float64(2)).item(), np.sqrt(p).round(2)])
    ),
    "numpy, pickled": lambda r, p: type(pickle.loads(pickle.dumps(np.sqrt(r)))) is np.float64,
    "numpy, an array of it": lambda r, p: np.array([np.sqrt(r)]).dtype == np.float64,
    "pandas": lambda r, p: (
        pd.DataFrame([{"lr": r, "name": "a"}]).dtypes["lr"] == np.float64
        and (pd.Series([1.0], dtype="float32") * r).dtype == np.float32
        and pd.DataFrame({"lr": [r]}).to_json() == pd.DataFrame({"lr": [p]}).to_json()
    ),
    "attributes": lambda r, p: not hasattr(r, "__dict__"),
    "dataclass": lambda r, p: dataclasses.asdict(Config(r, {"a": r})) == {"rate": p, "nested": {"a": p}},
    "Namespace": lambda r, p: vars(pickle.loads(pickle.dumps(argparse.Namespace(lr=r)))) == {"lr": p},
    "cloudpickle": lambda r, p: type(pickle.loads(cloudpickle.dumps({"f": lambda: r}))["f"]()) is float,
    "statistics": lambda r, p: type(statistics.mean([r, r])) is float and statistics.mean([r, r]) == p,
    "decimals and fractions": lambda r, p: Decimal(r) == Decimal(p) and Fraction(r) == Fraction(p),
    "bytes": lambda r, p: struct.pack("d", r) == struct.pack("d", p) and array.array("d", [r])[0] == p,
    "scikit-learn": lambda r, p: clone(SGDRegressor(alpha=r)).fit([[0.0], [1.0]], [0.0, 1.0]).alpha == p,
    "sqlite": lambda r, p: in_sqlite(r) == [(p, "real")],
}


def test_what_is_saved_dumped_and_printed_is_plain() -> None:
    wrong: list[str] = []

    def checked(trial: Any) -> float:
        rate = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        value = float(rate)
        assert type(rate) is not float, "else this test tests nothing"
        for name, check in CHECKS.items():
            try:
                good = check(rate, value)
            except Exception as error:
                wrong.append(f"{name}: {type(error).__name__} {error}")
            else:
                wrong.extend([] if good else [name])
        trial.set_user_attr("lr", rate)
        trial.set_user_attr("all", {"lr": [rate, trial.params["lr"]]})
        trial.report(rate, 0)
        return train(*optimizer_of(trial, rate))

    trial = run_once(checked)
    assert not wrong
    assert type(trial.user_attrs["lr"]) is float
    assert [type(one) for one in trial.user_attrs["all"]["lr"]] == [float, float]
    assert recorded(trial).optimizers[0].reason == "its initial rate follows lr"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_logs_it() -> None:
    found: list[Any] = []

    def objective(trial: Any) -> float:
        rate = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        with mlflow.start_run() as run:
            mlflow.log_param("lr", rate)
            mlflow.log_metric("lr", rate)
            mlflow.log_dict({"lr": rate}, "rates.yaml")
        data = mlflow.get_run(run.info.run_id).data
        found.extend([data.params["lr"] == str(float(rate)), data.metrics["lr"] == rate])
        return train(*optimizer_of(trial, rate))

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    try:
        run_once(objective)
    finally:
        mlflow.set_tracking_uri(before)
    assert found == [True, True]


@pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
def test_a_function_that_uses_the_rate_is_compiled_as_a_whole(backend: str) -> None:
    good: list[bool] = []

    def objective(trial: Any) -> float:
        rate = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        good.extend([compiled(rate, backend), compiled(3 * rate, backend)])
        return train(*optimizer_of(trial, rate))

    run_once(objective)
    assert good == [True, True]


def kinds(value: Any) -> Iterator[type]:
    """Classes of everything that a container holds."""
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from kinds(part)
    else:
        yield type(value)


SCHEDULERS: dict[str, Callable[[Any, Any], Any]] = {
    "cosine": lambda o, r: torch.optim.lr_scheduler.CosineAnnealingLR(o, 9, eta_min=r / 100),
    "one cycle": lambda o, r: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=10 * r, total_steps=30),
    "cyclic": lambda o, r: torch.optim.lr_scheduler.CyclicLR(o, base_lr=r, max_lr=[3 * r], step_size_up=4),
    "lambda": lambda o, r: torch.optim.lr_scheduler.LambdaLR(o, lambda step: r / (1 + step)),
    "plateau": lambda o, r: torch.optim.lr_scheduler.ReduceLROnPlateau(o, min_lr=r / 1000),
    "several": lambda o, r: torch.optim.lr_scheduler.SequentialLR(
        o,
        [
            torch.optim.lr_scheduler.LinearLR(o, total_iters=3),
            torch.optim.lr_scheduler.CosineAnnealingLR(o, 9, eta_min=r / 100),
        ],
        milestones=[3],
    ),
}


@pytest.mark.filterwarnings("ignore:To get the last learning rate")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_optimizers_and_schedulers_hold_plain_numbers(name: str) -> None:
    wrong: list[Any] = []

    def scheduled(trial: Any) -> float:
        rate = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        optimizer, net = optimizer_of(trial, rate)
        scheduler = SCHEDULERS[name](optimizer, rate)
        value = 0.0
        for _ in range(4):
            value = train(optimizer, net, steps=1)
            scheduler.step(*[value] * (name == "plateau"))
            for group in optimizer.param_groups:
                group["weight_decay"] = rate * 0.0
            wrong.extend(kind for kind in kinds(vars(scheduler)) if kind is not float and kind == float)  # noqa: E721
            state = {"o": optimizer.state_dict(), "lr": scheduler.get_last_lr(), "d": optimizer.defaults}
            wrong.extend(kind for kind in kinds(state) if kind is not float and kind == float)  # noqa: E721
        return value

    trial = run_once(scheduled)
    assert not wrong
    assert trial.state == optuna.trial.TrialState.COMPLETE
    assert recorded(trial).controlled
