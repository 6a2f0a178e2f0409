from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from galatune.errors import TableError
from galatune.tabular.files.task import as_target, decide_task, labels_of

CLASSES: dict[str, list[Any]] = {
    "text": ["a", "b"] * 10,
    "booleans": [True, False] * 10,
    "categories": list(pd.Categorical([7, 8] * 10)),
    "digits": list(range(10)) * 5,
    "integers that are floats": [0.0, 1.0] * 10,
}


@pytest.mark.parametrize("values", CLASSES.values(), ids=CLASSES)
def test_what_comes_again_is_classified(values: list[Any]) -> None:
    assert decide_task(pd.Series(values)).kind == "classification"


def test_categories_are_classified_whatever_they_hold() -> None:
    target = pd.Series(pd.Categorical(np.arange(40) / 2 % 5))
    assert decide_task(target).kind == "classification"
    assert labels_of(target).tolist()[:2] == ["0.0", "0.5"]


@pytest.mark.parametrize("values", [[0.5, 1.0] * 10, list(range(11)) * 5, [3, 1, 2], [1e300, 2e300]], ids=str)
def test_quantities_are_predicted(values: list[float]) -> None:
    assert decide_task(pd.Series(values)).kind == "regression"


@pytest.mark.parametrize("asked", ["classification", "regression"])
def test_what_is_asked_for_is_done(asked: Any) -> None:
    assert decide_task(pd.Series([1, 2, 3]), asked).kind == asked


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([f"name {i}" for i in range(20)], "20 different texts in 20 rows"),
        (pd.date_range("2024-01-01", periods=9), "dates or durations"),
        ([[1, 2]] * 9, "holds a list"),
        ([{"a": 1}] * 9, "holds a dict"),
        ([1j] * 9, "has dtype complex128"),
        ([], "no values"),
    ],
)
def test_what_cannot_be_predicted_is_refused(values: Any, why: str) -> None:
    with pytest.raises(TableError, match=why):
        decide_task(as_target(pd.Series(values)))


def test_decimals_are_numbers() -> None:
    target = as_target(pd.Series([Decimal("0.5"), Decimal("1.25")] * 9))
    assert decide_task(target).kind == "regression"


def test_labels_stay_as_they_were_written() -> None:
    assert labels_of(pd.Series([1.0, 0.0])).dtype == np.int64
    assert labels_of(pd.Series(["x", "y"])).tolist() == ["x", "y"]
