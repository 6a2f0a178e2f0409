"""Decide from a target whether rows are to be classified or a number is to be predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pandas as pd
from pandas.api import types

from galatune.errors import TableError
from galatune.formatting import first_line, plural, printable
from galatune.tabular.values import kind_of

__all__ = ["AskedTask", "Task", "as_target", "decide_task", "decision", "labels_of"]

AskedTask: TypeAlias = Literal["auto", "classification", "regression"]

MOST_NUMBERED_CLASSES = 10
"""More different integers than these are quantities, not classes."""

FEWEST_ROWS_PER_CLASS = 5
"""On average, for integers to be classes."""


@dataclass(frozen=True)
class Task:
    """What is to be done with a target, and why.

    Attributes:
        kind: "classification" or "regression".
        why: The reason, in a sentence without its full stop.
    """

    kind: Literal["classification", "regression"]
    why: str


def decide_task(target: pd.Series[Any], asked: AskedTask = "auto") -> Task:
    """Decide by the type of the target's values and by how many differ.

    Args:
        target: Without missing values.
        asked: What the user wants; "auto" to decide.

    Raises:
        TableError: The target is nothing that can be predicted.

    Example:
        >>> decide_task(pd.Series(["yes", "no", "no"])).kind
        'classification'
        >>> decide_task(pd.Series([0.5, 1.25, 7.0]))
        Task(kind='regression', why='it holds numbers with decimals')
    """
    if len(target) == 0:
        raise TableError("The target has no values: all of its rows are missing or there are none")
    if asked != "auto":
        return _asked(target, asked)
    if types.is_bool_dtype(target):
        return Task("classification", "it holds true and false")
    return _of_numbers(target) if types.is_numeric_dtype(target) else _of_words(target)


def decision(task: Task, target: str) -> str:
    """Say what is predicted, why so, and how to say otherwise.

    Example:
        >>> decision(Task("regression", "it holds 12 different integers"), "age")
        "Regression of 'age': it holds 12 different integers. Say --task classification if it is none."
    """
    other = "regression" if task.kind == "classification" else "classification"
    how = "" if task.why.startswith("--task") else f" Say --task {other} if it is none."
    return f"{task.kind.capitalize()} of {printable(target)!r}: {task.why}.{how}"


def labels_of(target: pd.Series[Any]) -> pd.Series[Any]:
    """Return classes as they were written: integers that a missing value had turned into floats are integers.

    Example:
        >>> labels_of(pd.Series([1.0, 0.0])).tolist()
        [1, 0]
    """
    if types.is_float_dtype(target) and _whole(target) and float(target.abs().max()) < 2**53:
        return target.astype("int64")
    return target.astype(str) if isinstance(target.dtype, pd.CategoricalDtype) else target


def as_target(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as what can be predicted: objects that are numbers as numbers, anything else as it is.

    Raises:
        TableError: It holds lists, dates or other objects.

    Example:
        >>> as_target(pd.Series([1, 2], dtype=object)).dtype
        dtype('float64')
    """
    if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
        raise TableError(
            f"The target must hold classes or numbers, however: {_name(column)} holds dates or durations. "
            "Turn them into numbers"
        )
    try:
        kind = kind_of(str(column.name), column)
    except ValueError as error:
        raise TableError(first_line(error)) from error
    return column.astype(float) if kind == "numbers" and column.dtype == object else column


def _asked(target: pd.Series[Any], asked: Literal["classification", "regression"]) -> Task:
    number = types.is_numeric_dtype(target) and not types.is_bool_dtype(target)
    if asked == "classification" and number and not _whole(target):
        raise TableError(
            f"Classes must be text or integers, however: {_name(target)} holds numbers with decimals. Say "
            "--task regression"
        )
    return Task(asked, f"--task {asked} says so")


def _of_numbers(target: pd.Series[Any]) -> Task:
    different = int(target.nunique())
    if not _whole(target):
        return Task("regression", "it holds numbers with decimals")
    if different > MOST_NUMBERED_CLASSES:
        return Task("regression", f"it holds {different} different integers")
    if len(target) < FEWEST_ROWS_PER_CLASS * different:
        return Task("regression", f"it holds {different} different integers in {plural(len(target), 'row')}")
    return Task("classification", f"it holds only {plural(different, 'different integer')}")


def _of_words(target: pd.Series[Any]) -> Task:
    different = int(target.nunique())
    if different > max(2, len(target) // 2):
        raise TableError(
            f"The target must hold classes that come again or numbers, however: {_name(target)} holds "
            f"{different} different texts in {len(target)} rows. Choose another --target, or say --task"
        )
    kind = "categories" if isinstance(target.dtype, pd.CategoricalDtype) else "text"
    return Task("classification", f"it holds {kind}, {plural(different, 'different value')}")


def _whole(target: pd.Series[Any]) -> bool:
    return bool(types.is_integer_dtype(target) or (target.astype(float) % 1 == 0).all())


def _name(target: pd.Series[Any]) -> str:
    return repr(printable(str(target.name)))
