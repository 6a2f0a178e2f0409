"""Predict the rows of a table from a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from galatune.errors import TableError
from galatune.formatting import listed, plural
from galatune.tabular.classifier import GalaClassifier
from galatune.tabular.files.fitting import refusals_in_one_line
from galatune.tabular.files.folder import load_model
from galatune.tabular.files.reading import read_file

__all__ = ["as_parquet", "predict_file"]

PREDICTION = "prediction"
PROBABILITY = "probability_"


def predict_file(
    model: Path, data: Path, *, proba: bool = False, note: Callable[[str], None] = lambda text: None
) -> pd.DataFrame:
    """Predict each row, in the order of the file.

    Args:
        model: Folder of a model, or the file of one.
        data: CSV or Parquet file; columns that the model does not read are ignored.
        proba: Whether to add the probability of each class.
        note: Called with what was noticed, a sentence each.

    Returns:
        A row per row of the file: "prediction", and "probability_" with the name of each class. Several
        outputs have a column each, numbered from 0.

    Raises:
        TableError: A file cannot be read, or a column is missing.
    """
    estimator: Any = load_model(model)
    if proba and not isinstance(estimator, GalaClassifier):
        raise TableError(
            "Only classes have probabilities, however: the model predicts numbers. Leave --proba out"
        )
    table = read_file(data)
    X = _features(estimator, table.frame)
    noticed = dict.fromkeys(table.notes)  # each once, though two methods warn of it
    with refusals_in_one_line(noticed.setdefault):
        guess = np.asarray(estimator.predict(X)) if len(X) else np.array([], dtype=object)
        share = estimator.predict_proba(X) if proba and len(X) else None
    for text in noticed:
        note(text)
    columns = _named(PREDICTION, guess)
    if proba:
        for place, label in enumerate(estimator.classes_):
            columns[f"{PROBABILITY}{label}"] = [] if share is None else share[:, place]
    return pd.DataFrame(columns)


def as_parquet(frame: pd.DataFrame) -> bytes:
    """Return a frame as the content of a Parquet file."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _features(estimator: Any, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that the estimator was fitted to, in its order."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:  # fitted to an array
        if len(frame.columns) != estimator.n_features_in_:
            raise TableError(
                f"The model was fitted to {plural(estimator.n_features_in_, 'column')} without names, "
                f"however: the table has {len(frame.columns)}. Leave out those that it was not fitted to"
            )
        return pd.DataFrame(frame.to_numpy())
    missing = [str(name) for name in names if name not in frame.columns]
    if missing:
        found = listed([str(name) for name in frame.columns], most=10)
        raise TableError(
            f"The table lacks {plural(len(missing), 'column')} that the model reads: "
            f"{listed(missing, most=10)}. It has: {found}"
        )
    return frame[list(names)]


def _named(name: str, values: Any) -> dict[str, Any]:
    if values.ndim == 1:
        return {name: values}
    return {f"{name}_{place}": values[:, place] for place in range(values.shape[1])}
