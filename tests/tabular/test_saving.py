"""Models in files: pickle, joblib, and safetensors without pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.exceptions import NotFittedError
from sklearn.metrics import make_scorer, r2_score

from galatune import GalaClassifier, GalaRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"hidden_layer_sizes": (16,), "n_members": 2, "max_iter": 3, "random_state": 0}


def people(n: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n),
            "city": rng.choice(["Bern", "Oslo", "Rome"], n),
            "street": np.char.add("s", rng.integers(0, 15, n).astype(str)),
        }
    )
    X.loc[3, "age"] = np.nan
    return X, X["age"].fillna(40).to_numpy() / 10


def models() -> dict[str, Any]:
    X, y = people()
    both = np.column_stack([y > 4, X["city"] == "Oslo"])
    text = np.where(y > 4, "old", "young")
    return {
        "text": (GalaClassifier(**QUICK, class_weight={"old": 2.0}), X, text),
        "object": (GalaClassifier(**QUICK, class_weight="balanced"), X, text.astype(object)),
        "booleans": (GalaClassifier(**QUICK, early_stopping=False), X[["age"]].to_numpy(), y > 4),
        "dates": (
            GalaClassifier(**QUICK),
            X,
            np.where(y > 4, np.datetime64("2020-01-01"), np.datetime64("2021")),
        ),
        "labels": (GalaClassifier(**QUICK), X, both),
        "numbers": (GalaRegressor(**QUICK, embed_numbers=False, embed_levels=False), X, y),
        "linear": (GalaRegressor(**{**QUICK, "hidden_layer_sizes": ()}), X, np.column_stack([y, -y])),
        "quantiles": (GalaRegressor(**QUICK, loss="quantile", quantile=[0.1, 0.9]), X, y),
    }


@pytest.mark.parametrize("name", models())
def test_a_saved_model_predicts_and_goes_on_to_the_last_bit(name: str, tmp_path: Path) -> None:
    model, X, y = models()[name]
    model.fit(X, y).save(tmp_path / "model.safetensors")
    copy = type(model).load(tmp_path / "model.safetensors")
    assert copy.get_params() == model.get_params()
    assert vars(copy).keys() == vars(model).keys()
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    pd.testing.assert_frame_equal(copy.history_, model.history_)
    if name != "object":
        for one in (copy, model):
            one.partial_fit(X, y)
        np.testing.assert_array_equal(copy.predict(X), model.predict(X))


def test_a_saved_model_keeps_the_names_of_its_columns(tmp_path: Path) -> None:
    X, y = people()
    GalaRegressor(**QUICK).fit(X, y).save(tmp_path / "model")
    copy = GalaRegressor.load(tmp_path / "model")
    assert copy.feature_names_in_.tolist() == ["age", "city", "street"]
    with pytest.raises(ValueError, match="feature names should match"):
        copy.predict(X.rename(columns={"age": "years"}))


def test_the_header_of_a_file_is_json_that_others_can_read(tmp_path: Path) -> None:
    GalaRegressor(**QUICK).fit(*people()).save(tmp_path / "model")
    with safe_open(tmp_path / "model", framework="np") as file:
        content = json.loads(file.metadata()["galatune"])
    assert content["class"] == "GalaRegressor"
    assert content["attributes"]["max_iter"] == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"scoring": make_scorer(r2_score)},
            "scoring holds a _Scorer. Choose another value",
        ),
        ({"random_state": np.random.RandomState(0)}, "random_state holds a RandomState"),
    ],
)
def test_what_only_pickle_can_save_is_named(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    model = GalaRegressor(**{**QUICK, **options}).fit(*people())
    with pytest.raises(ValueError, match=says):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_file_that_cannot_be_written_or_read_is_an_error_of_the_system(tmp_path: Path) -> None:
    model = GalaRegressor(**QUICK).fit(*people())
    for place in (tmp_path, tmp_path / "no folder" / "model"):
        with pytest.raises(OSError, match="Cannot write .*" + place.name):
            model.save(place)
        with pytest.raises((IsADirectoryError, FileNotFoundError), match=place.name):
            GalaRegressor.load(place)


def test_integers_of_numpy_as_parameters_are_saved(tmp_path: Path) -> None:
    options = {"n_members": np.int32(2), "dropout": np.float32(0.25), "hidden_layer_sizes": np.array([4, 4])}
    X, y = people()
    model = GalaRegressor(**{**QUICK, **options}).fit(X, y)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(GalaRegressor.load(tmp_path / "model").predict(X), model.predict(X))


def test_files_that_hold_no_such_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(NotFittedError):
        GalaRegressor().save(path)
    path.write_bytes(b"no model at all, but long enough to have a header")
    with pytest.raises(ValueError, match="must be a model written by save, however:"):
        GalaRegressor.load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(
        ValueError, match="must be a model written by save, however: it has no galatune header"
    ):
        GalaRegressor.load(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"galatune": '{"schema": 99}'})
    with pytest.raises(ValueError, match="however: it has schema 99"):
        GalaRegressor.load(path)
    GalaRegressor(**QUICK).fit(*people()).save(path)
    with pytest.raises(ValueError, match="must hold a GalaClassifier, however: it holds a GalaRegressor"):
        GalaClassifier.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"object": "TableEncoder"', '"object": "Code"'),
        ('["levels", ', '["leaves", '),
        ('{"tuple": ', '{"pair": '),
        ('"attributes": {', '"attributes": {"a": {}, '),
        ('"n_members": 2', '"n_members": 3'),
    ],
)
def test_a_damaged_header_is_refused(old: str, new: str, tmp_path: Path) -> None:
    GalaRegressor(**QUICK).fit(*people()).save(tmp_path / "model")
    with safe_open(tmp_path / "model", framework="pt") as file:
        header = file.metadata()["galatune"]
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
    assert old in header
    save_file(tensors, tmp_path / "model", metadata={"galatune": header.replace(old, new)})
    with pytest.raises(ValueError, match="must be a whole model, however: "):
        GalaRegressor.load(tmp_path / "model")
