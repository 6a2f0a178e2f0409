"""The estimators, what they are made of, and the same network at fixed rates, on tables.

    python tests/reference/tables.py TABLE,TABLE SEED,SEED VARIANT ...

A TABLE is california_housing, credit_g or online_shoppers (from ``GALATUNE_DATA``), or diabetes, wine,
breast_cancer, digits, friedman1 or friedman3 (from scikit-learn). SEED splits a quarter off and seeds the
fit; at most 4,000 rows are trained on. A VARIANT is ``default``, ``histogram`` (scikit-learn's gradient
boosting), or settings joined by ``;`` such as ``n_members=1;hidden_layer_sizes=(256,256,256)``. Three
settings are no parameters: ``rate``, a fixed learning rate, ``step_scale`` and ``average``. One line of
JSON is printed for each fit; the score is log loss, or root mean squared error in standard deviations.
pytest does not collect it. The tables of docs/research.md, "The network of the estimators", are made of
these lines.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import galatune.tabular.train as training
from galatune import GalaClassifier, GalaRegressor
from galatune.tabular.fixed_rate import FixedRate

MOST_ROWS, TEST_ROWS = 4000, 3000
DATA = Path(os.environ.get("GALATUNE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "tabular"
MADE = {
    "friedman1": lambda: datasets.make_friedman1(2600, n_features=10, noise=1.0, random_state=7),
    "friedman3": lambda: datasets.make_friedman3(2600, noise=0.1, random_state=7),
}
CONSTANTS = {"step_scale": "STEP_SCALE", "average": "AVERAGE", "attach": "attach"}


def table(name: str) -> tuple[pd.DataFrame, Any]:
    """Features and target of a table."""
    if name in MADE:
        X, y = MADE[name]()
        return pd.DataFrame(X).rename(columns=str), y
    if hasattr(datasets, f"load_{name}"):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True, as_frame=True)
        return X, y.to_numpy()
    frame = pd.read_parquet(DATA / f"{name}.parquet")
    entries = json.loads((DATA / "manifest.json").read_text())["datasets"]
    (target,) = (entry["target"] for entry in entries if entry["name"] == name)
    return frame.drop(columns=target), frame[target].to_numpy()


def split(name: str, seed: int) -> tuple[Any, ...]:
    """Training and test rows, and whether the target is a number."""
    X, y = table(name)
    numeric = np.issubdtype(np.asarray(y).dtype, np.floating)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.25, random_state=seed, stratify=None if numeric else y
    )
    random = np.random.RandomState(seed)
    some, rest = random.permutation(len(X))[:MOST_ROWS], random.permutation(len(X_test))[:TEST_ROWS]
    return X.iloc[some], X_test.iloc[rest], y[some], y_test[rest], numeric


def estimator(variant: str, numeric: bool, seed: int) -> Any:
    """The estimator of a variant; constants of the training are set."""
    if variant == "histogram":
        made = HistGradientBoostingRegressor if numeric else HistGradientBoostingClassifier
        return made(random_state=seed, early_stopping=True, categorical_features="from_dtype")
    pairs = [setting.split("=", 1) for setting in variant.split(";") if variant != "default"]
    given = {key: ast.literal_eval(value) for key, value in pairs}
    if (rate := given.pop("rate", None)) is not None:
        given["attach"] = lambda optimizer, **_: FixedRate(optimizer, rate)
    for key in CONSTANTS.keys() & given.keys():
        setattr(training, CONSTANTS[key], given.pop(key))
    return (GalaRegressor if numeric else GalaClassifier)(random_state=seed, **given)


def measured(name: str, seed: int, variant: str) -> dict[str, Any]:
    """Fit once; the score on rows that were not trained on, and processor seconds."""
    X, X_test, y, y_test, numeric = split(name, seed)
    if variant == "histogram":
        levels = {c: pd.CategoricalDtype(X[c].dropna().unique()) for c in X.select_dtypes(exclude="number")}
        X, X_test = X.astype(levels), X_test.astype(levels)
    kept = {name: getattr(training, name) for name in CONSTANTS.values()}
    try:
        model = estimator(variant, numeric, seed)
        start = time.process_time()
        model.fit(X, y)
        seconds = time.process_time() - start
    finally:
        for constant, value in kept.items():
            setattr(training, constant, value)
    if numeric:
        score = float(np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2)) / y.std())
    else:
        score = float(log_loss(y_test, model.predict_proba(X_test), labels=model.classes_))
    line = {"table": name, "seed": seed, "variant": variant, "score": score, "seconds": round(seconds, 2)}
    return line | {"steps": len(getattr(model, "learning_rate_curve_", ()))}


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    names, seeds, *variants = sys.argv[1:]
    for variant in variants:
        for seed in map(int, seeds.split(",")):
            for name in names.split(","):
                print(json.dumps(measured(name, seed, variant)), flush=True)
