"""Fit an estimator to a table from a file, and score it on rows held out."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galatune.errors import TableError
from galatune.formatting import first_line, listed, plural, printable
from galatune.tabular.classifier import GalaClassifier
from galatune.tabular.estimator import GalaEstimator
from galatune.tabular.files.card import Card, Column, TrainingFacts
from galatune.tabular.files.pictures import Picture, picture_of_classes, picture_of_numbers, picture_of_rate
from galatune.tabular.files.reading import ReadTable, read_file
from galatune.tabular.files.scores import (
    Score,
    classification_scores,
    constant_model,
    regression_scores,
)
from galatune.tabular.files.task import AskedTask, Task, as_target, decide_task, decision, labels_of
from galatune.tabular.read import split_rows
from galatune.tabular.regressor import GalaRegressor

__all__ = ["FitOptions", "FittedFile", "fit_file", "refusals_in_one_line"]

STRATA = 10
"""Into as many parts, by size, a number to predict is divided, so that the rows held out have all sizes."""


@dataclass(frozen=True)
class FitOptions:
    """What a user may say.

    Attributes:
        target: Column to predict.
        task: "classification", "regression", or "auto" to decide by the target.
        drop: Columns to leave out.
        weights: Column of the weights of rows; it is no feature.
        test: Fraction of the rows that is held out for scores, from 0 to below 1.
        max_time: Seconds after which training stops.
        max_iter: Largest number of epochs.
        seed: Of the rows held out and of the training.
        device: Torch device.
    """

    target: str
    task: AskedTask = "auto"
    drop: tuple[str, ...] = ()
    weights: str | None = None
    test: float = 0.2
    max_time: float | None = None
    max_iter: int = 500
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class FittedFile:
    """A fitted estimator and what is to be told of it.

    Attributes:
        model: The estimator.
        card: Its card.
        pictures: Pictures for the card.
    """

    model: GalaEstimator[Any]
    card: Card
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class _Rows:
    """Features, target and weights of some rows."""

    X: pd.DataFrame
    y: NDArray[Any]
    weight: NDArray[np.float64] | None

    def take(self, places: NDArray[np.intp]) -> _Rows:
        weight = None if self.weight is None else self.weight[places]
        return _Rows(self.X.iloc[places].reset_index(drop=True), self.y[places], weight)


@dataclass
class _Notes:
    """What was warned of, each once."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)


def fit_file(
    path: Path,
    options: FitOptions,
    say: Callable[[str], None] = lambda line: None,
    *,
    show: TextIO | None = None,
) -> FittedFile:
    """Read a table, hold rows out, fit an estimator to the others, and score it on those held out.

    Args:
        path: CSV or Parquet file.
        options: What is to be done.
        say: Called, before training begins, with what was decided and why.
        show: A terminal in which a line shows losses, learning rate and the time left; None for nowhere.

    Raises:
        TableError: The file, a column or an option is not what it has to be.
    """
    table = read_file(path, text_column=options.target)
    notes = _Notes(list(table.notes))
    rows, task = _rows_and_task(table, options, notes)
    stay, held = _split(rows.y, task, options)
    training, test = rows.take(stay), rows.take(held)
    say(decision(task, options.target))
    say(
        f"Training on {plural(len(stay), 'row')} with {plural(len(rows.X.columns), 'column')}; "
        f"{plural(len(held), 'row')} held out for scores."
    )
    began = time.monotonic()
    with refusals_in_one_line(notes.add):
        model = _estimator(task, options).set_params(verbose=show is not None)
        with redirect_stdout(show or sys.stdout):
            model.fit(training.X, training.y, sample_weight=training.weight)
        model.set_params(verbose=False)
    seconds = time.monotonic() - began
    scores, pictures = _judge(model, task, training, test, options.target, notes)
    card = Card(
        file=printable(path.name),
        target=options.target,
        task=task.kind,
        why=task.why,
        estimator=type(model).__name__,
        rows=len(rows.y),
        training_rows=len(training.y),
        test_rows=len(test.y),
        columns=tuple(_columns(rows.X)),
        dropped=options.drop,
        weights=options.weights,
        classes=_class_counts(rows.y) if task.kind == "classification" else None,
        scores=scores,
        training=_facts(model, seconds),
        seed=options.seed,
        notes=tuple(notes.texts),
    )
    return FittedFile(model, card, (*pictures, picture_of_rate(model.history_)))


@contextmanager
def refusals_in_one_line(note: Callable[[str], object]) -> Iterator[None]:
    """Hand warnings on as notes, and raise what an estimator refuses as a `TableError`.

    Args:
        note: Called with the text of each warning.

    Raises:
        TableError: The block raised a ValueError, or torch refused a device.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except (ValueError, RuntimeError) as error:
            raise TableError(first_line(error)) from error
    for one in caught:
        if issubclass(one.category, UserWarning):
            note(" ".join(printable(line) for line in str(one.message).splitlines()))


def _rows_and_task(table: ReadTable, options: FitOptions, notes: _Notes) -> tuple[_Rows, Task]:
    frame = table.frame
    extra = () if options.weights is None else (options.weights,)
    _check_columns(frame, options.target, *options.drop, *extra)
    if options.target in (*options.drop, *extra):
        raise TableError(f"The target {options.target!r} cannot be dropped or hold the weights as well")
    known = frame[options.target].notna()
    if not known.all():
        notes.add(f"{plural(int((~known).sum()), 'row')} without a target left out.")
        frame = frame[known].reset_index(drop=True)
    target = as_target(frame[options.target])
    task = decide_task(target, options.task)
    features = frame.drop(columns=[options.target, *options.drop, *extra], errors="ignore")
    if not len(features.columns):
        raise TableError(f"There is no column left to predict {options.target!r} from; drop fewer columns")
    weight = None if options.weights is None else _weights(frame[options.weights])
    values = labels_of(target) if task.kind == "classification" else target
    return _Rows(features, np.asarray(values), weight), task


def _check_columns(frame: pd.DataFrame, *names: str) -> None:
    for name in names:
        if name not in frame.columns:
            found = listed([str(column) for column in frame.columns], most=20)
            raise TableError(f"There is no column {printable(name)!r}; the table has: {found}")


def _weights(column: pd.Series[Any]) -> NDArray[np.float64]:
    if not pd.api.types.is_numeric_dtype(column) or column.isna().any() or (column < 0).any():
        raise TableError(
            f"Weights must be numbers of at least 0, none missing, however: column {str(column.name)!r} "
            "holds others. Mend them or leave --weights out"
        )
    return np.asarray(column, dtype=np.float64)


def _split(y: NDArray[Any], task: Task, options: FitOptions) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Hold rows out, of each class or size the same fraction; return the places that stay and the others."""
    if task.kind == "classification":
        strata = pd.factorize(y)[0]
    else:
        ranks = pd.Series(y).rank(method="first").to_numpy() if y.dtype.kind in "biuf" else np.zeros(len(y))
        strata = (ranks * min(STRATA, max(1, len(y) // STRATA)) / (len(y) + 1)).astype(int)
    stay, held = split_rows(strata, options.test, np.random.RandomState(options.seed))
    if options.test and not len(held):
        raise TableError(
            f"No row can be held out of {plural(len(y), 'row')}, however: --test {options.test:g}. Say "
            "--test 0 to fit without scores, or name a table with more rows"
        )
    return stay, held


def _estimator(task: Task, options: FitOptions) -> GalaEstimator[Any]:
    kind = GalaClassifier if task.kind == "classification" else GalaRegressor
    return kind(
        max_iter=options.max_iter,
        max_time=options.max_time,
        device=options.device,
        random_state=options.seed,
    )


def _judge(
    model: GalaEstimator[Any], task: Task, training: _Rows, test: _Rows, target: str, notes: _Notes
) -> tuple[tuple[Score, ...], tuple[Picture, ...]]:
    """Score model and constant on the rows held out, and draw the predictions."""
    if not len(test.y):
        notes.add("No rows were held out: how good the model is was not measured.")
        return (), ()
    constant = constant_model(task.kind).fit(training.X, training.y, sample_weight=training.weight)
    score = classification_scores if task.kind == "classification" else regression_scores
    with refusals_in_one_line(notes.add):
        scores = score(model, constant, test.X, test.y, test.weight)
        guess = np.asarray(model.predict(test.X))
    if not any(one.better for one in scores):
        notes.add("No score is better than the constant's: the columns may say nothing about the target.")
    if task.kind == "classification":
        return scores, (picture_of_classes(test.y, guess, model.classes_),)
    return scores, (picture_of_numbers(test.y, guess, target),)


def _columns(X: pd.DataFrame) -> Iterator[Column]:
    for name, column in X.items():
        kind = "numbers" if pd.api.types.is_numeric_dtype(column) else "categories"
        kind = "true or false" if pd.api.types.is_bool_dtype(column) else kind
        yield Column(str(name), kind, int(column.isna().sum()), int(column.nunique()))


def _class_counts(y: NDArray[Any]) -> dict[str, int]:
    labels, counts = np.unique(y, return_counts=True)
    return {str(label): int(count) for label, count in zip(labels, counts, strict=True)}


def _facts(model: GalaEstimator[Any], seconds: float) -> TrainingFacts:
    rates = model.history_["learning_rate"].to_numpy()
    return TrainingFacts(
        epochs=int(model.n_iter_),
        best_epoch=int(model.best_iteration_),
        steps=len(rates),
        seconds=float(seconds),
        largest_rate=float(np.max(rates)),
        last_rate=float(rates[-1]),
    )
