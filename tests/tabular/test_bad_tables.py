"""Tables, targets and weights that cannot be right: one clear line each."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import sparse

from galatune import GalaClassifier, GalaRegressor

QUICK = {"hidden_layer_sizes": (8,), "n_members": 2, "max_iter": 2, "early_stopping": False}
N = 60
GOOD, LABELS = np.random.default_rng(0).normal(size=(N, 2)), np.arange(N) % 2
DAYS = pd.date_range("2020-01-01", periods=N)


def column(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": GOOD[:, 0], "odd": values})


BAD_TABLES = {
    "nothing": (None, "Expected 2D array|NoneType"),
    "a number": (3.0, "Expected 2D array, got scalar array"),
    "text": ("table.csv", "X must hold rows, however: it is the text 'table.csv'. Read the file first"),
    "one dimension": (GOOD[:, 0], "Expected 2D array, got 1D array instead.*Reshape your data"),
    "three dimensions": (GOOD[:, :, None], "Found array with dim 3"),
    "a series": (pd.Series(GOOD[:, 0]), "2-dimensional container"),
    "no rows": (GOOD[:0], r"Found array with 0 sample\(s\)"),
    "no rows in a frame": (column(GOOD[:, 1])[:0], r"Found array with 0 sample\(s\)"),
    "no columns": (np.empty((N, 0)), r"0 feature\(s\)"),
    "too few rows": (GOOD[:59], r"inconsistent numbers of samples: \[59, 60\]"),
    "infinity": (np.where(GOOD > 1, np.inf, GOOD), "Input X contains infinity"),
    "infinity in a frame": (column(np.inf), "Input X contains infinity in column 'odd'"),
    "complex": (GOOD.astype(complex), "Complex data not supported"),
    "complex in a frame": (column(GOOD[:, 0] * 1j), "column 'odd' has dtype complex128"),
    "text in an array": (np.array([["a", "b"]] * N), "Pass a data frame: its text columns are encoded"),
    "text in a list": ([["a", 1.0]] * N, "Pass a data frame: its text columns are encoded"),
    "ragged": ([[1.0, 2.0], [1.0]] * 30, "inhomogeneous"),
    "dates": (column(DAYS), "column 'odd' has dtype datetime64.*Turn it into one of them, or leave it out"),
    "dates with a zone": (column(DAYS.tz_localize("UTC")), "column 'odd' has dtype datetime64"),
    "dates in an array": (np.column_stack([DAYS, DAYS]), "datetime"),
    "dates as objects": (column([dt.date(2020, 1, 1)] * N), "column 'odd' holds date objects"),
    "durations": (column(DAYS - DAYS[0]), "column 'odd' has dtype timedelta64"),
    "periods": (column(DAYS.to_period("D")), "column 'odd' has dtype period"),
    "dates of arrow": (pa.table({"odd": pa.array(DAYS)}), "column 'odd' has dtype datetime64"),
    "lists": (column([[1, 2]] * N), "column 'odd' holds a list"),
    "dicts": (column([{"a": 1}] * N), "column 'odd' holds a dict"),
    "arrays": (column([np.zeros(2)] * N), "column 'odd' holds a ndarray"),
    "objects without a name": (column([object()] * N), "column 'odd' holds a object"),
    "integers beyond floats": (column([10**400] * N), "Input X contains infinity in column 'odd'"),
    "a dictionary": ({"a": GOOD[:, 0]}, r"it is a dict. Pass pandas.DataFrame\(X\)"),
    "a generator": ((row for row in GOOD), "it is a generator"),
    "names twice": (pd.DataFrame(GOOD, columns=["a", "a"]), "'a' comes more than once"),
    "records": (np.zeros(N, dtype=[("a", "f8")]), "Expected 2D array|dtype"),
}

BAD_TARGETS = {
    "no labels": (GalaClassifier, None, "requires y to be passed, but the target y is None"),
    "continuous labels": (GalaClassifier, GOOD[:, 0], "Unknown label type: continuous"),
    "missing labels": (GalaClassifier, ["a", None] * 30, "Input y contains NaN"),
    "missing integers": (GalaClassifier, pd.array([1, None] * 30, dtype="Int64"), "Input y contains NaN"),
    "labels of two types": (GalaClassifier, pd.Series(["a", 1] * 30), "y holds int and str"),
    "booleans and integers": (GalaClassifier, pd.Series([True, 0] * 30, dtype=object), "holds bool and int"),
    "decimals as labels": (GalaClassifier, [Decimal(0), Decimal(1)] * 30, "however: y holds Decimal"),
    "complex labels": (GalaClassifier, LABELS * 1j, "Complex data not supported"),
    "several targets": (GalaClassifier, np.arange(120).reshape(N, 2) % 3, "MultiOutputClassifier"),
    "too few labels": (GalaClassifier, LABELS[:10], "inconsistent numbers of samples"),
    "missing numbers": (GalaRegressor, np.r_[np.nan, LABELS[1:]], "Input y contains NaN"),
    "infinite numbers": (GalaRegressor, np.r_[np.inf, LABELS[1:]], "Input y contains infinity"),
    "text to predict": (GalaRegressor, ["low", "high"] * 30, "y must hold numbers, however: could not"),
    "dates to predict": (GalaRegressor, DAYS, "y must hold numbers, however: 'y' holds dates"),
    "complex to predict": (GalaRegressor, LABELS * 1j, "Complex data not supported"),
    "integers beyond floats": (GalaRegressor, [10**400] * N, "too large for dtype"),
    "text as a whole": (GalaRegressor, "target.csv", "y must hold rows, however: it is the text"),
    "three dimensions to predict": (GalaRegressor, np.zeros((N, 2, 2)), "Found array with dim 3"),
}

BAD_WEIGHTS = {
    "all zero": (np.zeros(N), "must be positive|at least one non-zero"),
    "negative": (-np.ones(N), "Negative values"),
    "missing": (np.full(N, np.nan), "Input sample_weight contains NaN"),
    "two columns": (np.ones((N, 2)), "must be 1D"),
    "text": (["heavy"] * N, "sample_weight must hold numbers, however: could not convert .*'heavy'"),
    "a dictionary": ({0: 1.0}, "sample_weight must hold numbers, however: "),
    "too few": (np.ones(3), r"sample_weight.shape == \(3,\)"),
}


def refusal(model: Any, *arguments: Any, **named: Any) -> str:
    """What fit says, which has to be one line of reasonable length."""
    with pytest.raises((ValueError, TypeError)) as caught:
        model.fit(*arguments, **named)
    message = str(caught.value).strip()
    assert "\n" not in message
    assert 10 < len(message) < 400
    return message


@pytest.mark.parametrize("what", BAD_TABLES)
def test_a_bad_table_is_refused_in_one_line(what: str) -> None:
    table, says = BAD_TABLES[what]
    assert re.search(says, refusal(GalaClassifier(**QUICK), table, LABELS))


@pytest.mark.parametrize("what", BAD_TARGETS)
def test_a_bad_target_is_refused_in_one_line(what: str) -> None:
    estimator, target, says = BAD_TARGETS[what]
    assert re.search(says, refusal(estimator(**QUICK), GOOD, target))


@pytest.mark.parametrize("what", BAD_WEIGHTS)
def test_a_bad_weight_is_refused_in_one_line(what: str) -> None:
    weight, says = BAD_WEIGHTS[what]
    assert re.search(says, refusal(GalaClassifier(**QUICK), GOOD, LABELS, weight))


@pytest.mark.parametrize(
    ("weight", "says"),
    [
        ("fair", "class_weight"),
        ({0: 1.0, 7: 1.0}, r"class_weight must name classes of y \[0, 1\], however: 7 is none"),
        ({0: -1.0, 1: 1.0}, "class_weight must hold finite numbers of at least 0, however: 0 has -1.0"),
        ({0: "much", 1: 1.0}, "0 has 'much'"),
    ],
)
def test_a_bad_class_weight_is_refused_in_one_line(weight: Any, says: str) -> None:
    message = refusal(GalaClassifier(class_weight=weight, **QUICK), GOOD, LABELS)
    assert re.search(says, message)


@pytest.mark.parametrize(
    ("estimator", "scoring", "labels", "says"),
    [
        (GalaClassifier, "roc_auc", np.arange(N) % 3, "scoring='roc_auc' must score the rows held out"),
        (GalaClassifier, "f1", ["a", "b"] * 30, "scoring='f1' must score .*pos_label=1 is not a valid label"),
        (
            GalaRegressor,
            "accuracy",
            GOOD[:, 0],
            "scoring='accuracy' must score .*continuous is not supported",
        ),
        (GalaRegressor, lambda model, X, y: None, GOOD[:, 0], "must score .*not 'NoneType'"),
    ],
)
def test_a_scorer_of_other_targets_is_named(estimator: Any, scoring: Any, labels: Any, says: str) -> None:
    model = estimator(**{**QUICK, "early_stopping": True, "scoring": scoring})
    assert re.search(says, refusal(model, GOOD, labels))


def test_class_weights_of_several_labels_are_refused() -> None:
    both = np.column_stack([LABELS, 1 - LABELS])
    message = refusal(GalaClassifier(class_weight="balanced", **QUICK), GOOD, both)
    assert "Use sample_weight" in message


@pytest.mark.parametrize(
    ("validation", "says"),
    [
        ({"X_val": GOOD}, "y_val is missing"),
        ({"y_val": LABELS}, "X_val is missing"),
        ({"X_val": GOOD, "y_val": LABELS, "eval_set": (GOOD, LABELS)}, "both are given"),
        ({"eval_set": 3}, "however: eval_set=3"),
        ({"eval_set": [(GOOD, LABELS), (GOOD, LABELS)]}, "it has 2 parts"),
        ({"X_val": GOOD, "y_val": LABELS + 5}, "60 of 60 rows have others, such as 5"),
        ({"X_val": GOOD[:, :1], "y_val": LABELS}, "X has 1 features, but GalaClassifier is expecting 2"),
    ],
)
def test_bad_validation_rows_are_refused_in_one_line(validation: dict[str, Any], says: str) -> None:
    assert says in refusal(GalaClassifier(**QUICK), GOOD, LABELS, **validation)


@pytest.mark.parametrize(
    ("later", "says"),
    [
        ([["a"]] * N, "column 'odd' holds a list"),
        ([np.zeros(2)] * N, "column 'odd' holds a ndarray"),
        ([{"a": 1}] * N, "column 'odd' holds a dict"),
        ([7, 8] * 30, "such as 'a', however: it holds none of them, but '7' and others like it"),
    ],
)
def test_what_a_column_of_text_cannot_hold_later_is_refused_in_one_line(later: Any, says: str) -> None:
    model = GalaRegressor(**QUICK).fit(column(["a", "b"] * 30), GOOD[:, 0])
    with pytest.raises(ValueError, match=says) as caught:
        model.predict(column(later))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("later", "says"),
    [
        (column([["a"]] * N), "column 'odd' holds a list"),
        (column(["a"] * N), "Column 'odd' must hold numbers, as it did in fit, however: 'a' is none"),
        (column(DAYS), "column 'odd' has dtype datetime64"),
        (column(np.inf), "infinity in column 'odd'"),
        (sparse.random(N, 3, random_state=0), "X has 3 features, but GalaRegressor is expecting 2"),
    ],
)
def test_what_changed_since_fit_is_refused_in_one_line(later: Any, says: str) -> None:
    table = column(GOOD[:, 1])
    model = GalaRegressor(**QUICK).fit(table if isinstance(later, pd.DataFrame) else GOOD, GOOD[:, 0])
    with pytest.raises(ValueError, match=says) as caught:
        model.predict(later)
    assert "\n" not in str(caught.value)
