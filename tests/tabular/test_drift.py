"""Types that change between fit and predict, and categories that fit did not see."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning

from galatune import GalaClassifier
from galatune.tabular.columns import LevelColumn, NumberColumn
from galatune.tabular.encode import TableEncoder

QUICK = {"hidden_layer_sizes": (8,), "n_members": 2, "max_iter": 2, "early_stopping": False}


def encoded(fitted: Any, later: Any) -> tuple[np.ndarray, np.ndarray]:
    """How fitted is encoded, and how later is, by an encoder that saw fitted."""
    first, second = (pd.DataFrame({"c": values}) for values in (fitted, later))
    encoder = TableEncoder.fit(first, np.ones(len(first)))
    tables = [encoder.encode(table) for table in (first, second)]
    assert not encoder.read(second).unknown
    return tuple(np.hstack([table.numbers, table.codes]) for table in tables)  # type: ignore[return-value]


TWELVE = list(range(12)) * 2


@pytest.mark.parametrize(
    ("fitted", "later"),
    [
        (pd.Categorical([3, 1, 2]), ["3", "1", "2"]),
        (pd.Categorical([3, 1, 2]), pd.Categorical(["3", "1", "2"])),
        (pd.Categorical([3, 1, 2]), [3.0, 1.0, 2.0]),
        (pd.Categorical([3, 1, 2]), ["3.0", "1.0", "2.0"]),
        (pd.Categorical([3, 1, 2]), np.array([3, 1, 2], dtype=np.float32)),
        (pd.Categorical([3, 1, 2]), [Decimal("3.0"), 1, 2]),
        (pd.Categorical(["3", "1", "2"]), [3, 1, 2]),
        (["03", "01", "02"], [3, 1, 2]),
        (pd.Categorical([0.1, 0.5, 0.1]), ["0.1", "0.50", "1e-1"]),
        (pd.Categorical([0.1, 0.5, 0.1]), np.array([0.1, 0.5, 0.1], dtype=np.float32)),
        ([True, False, True], ["True", "False", "True"]),
        ([True, False, True], ["TRUE", "false", "true"]),
        ([True, False, True], [1, 0, 1]),
        ([True, False, True], [1.0, 0.0, 1.0]),
        ([True, False, True], pd.array([True, False, True], dtype="boolean")),
        (["true", "false", "true"], [True, False, True]),
        (pd.Categorical([0, 1, 0]), [False, True, False]),
        (["a", "b", "a"], pd.Categorical(["a", "b", "a"])),
        (["a", "b", "a"], [b"a", b"b", b"a"]),
        ([1, 2, 4], ["1", "2", "4.0"]),
        ([1, 2, 4], pd.Categorical([1, 2, 4])),
        ([1, 2, 4], pd.array([1, 2, 4], dtype="Int8")),
        ([0, 1, 1], [False, True, True]),
        ([1.5, 2.5, np.nan], ["1.5", " 2.5", "NA"]),
        ([1.5, 2.5, np.nan], pd.array(["1.5", "2.5", None], dtype="string")),
        (pd.Categorical(TWELVE), [str(float(value)) for value in TWELVE]),
        (pd.cut(pd.Series([1, 5, 9]), [0, 4, 6, 10]), ["(0, 4]", "(4, 6]", "(6, 10]"]),
    ],
)
def test_the_same_values_in_other_types_are_the_same(fitted: Any, later: Any) -> None:
    np.testing.assert_array_equal(*encoded(fitted, later))


def test_a_category_of_integers_that_comes_back_as_text_predicts_the_same() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"c": pd.Categorical(rng.integers(0, 20, 200)), "x": rng.normal(size=200)})
    model = GalaClassifier(**QUICK).fit(X, X["c"].astype(int) % 2)
    wanted = model.predict_proba(X)
    for later in (X["c"].astype(str), X["c"].astype(float), X["c"].astype(object)):
        np.testing.assert_array_equal(model.predict_proba(X.assign(c=later)), wanted)


def test_names_that_are_one_number_stay_apart() -> None:
    column = LevelColumn.fit(pd.Series(["1", "01", "2"]), np.ones(3))
    codes = column.codes(pd.Series(["1", "01", "1.0", 2.0]))
    assert codes[0] != codes[1]
    assert codes[2] == -1
    assert column.levels[codes[3] - 1] == "2"


def test_unknown_categories_are_counted_and_warned_of() -> None:
    X = pd.DataFrame({"city": ["Bern", "Oslo"] * 20, "plan": list("ab") * 20})
    model = GalaClassifier(**QUICK).fit(X, np.arange(40) % 2)
    later = X.assign(city=["Rome", None] + ["Oslo"] * 38, plan=["z"] * 3 + ["a"] * 37)
    with pytest.warns(UserWarning, match="Found categories that fit did not see") as caught:
        model.predict(later)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "'Rome' and others like it in 1 of 40 rows of column 'city'" in message
    assert "'z' and others like it in 3 of 40 rows of column 'plan'" in message
    assert caught[0].filename == __file__


@pytest.mark.parametrize("method", ["predict_proba", "predict_log_proba", "decision_function", "score"])
def test_every_prediction_warns_where_it_was_asked_for(method: str) -> None:
    X, y = pd.DataFrame({"city": ["Bern", "Oslo"] * 20}), np.arange(40) % 2
    model = GalaClassifier(**QUICK).fit(X, y)
    arguments = (y[:1],) if method == "score" else ()
    with pytest.warns(UserWarning, match="in 1 of 1 rows of column 'city'"):
        getattr(model, method)(pd.DataFrame({"city": ["Rome"]}), *arguments)


def test_many_rows_are_predicted_as_their_parts_are_and_warned_of_once() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"city": rng.choice(["Bern", "Oslo"], 9000), "x": rng.normal(size=9000)})
    X["user"] = rng.choice([f"user{value}" for value in range(20)], 9000)
    X.loc[::4, ["city", "x"]] = None
    model = GalaClassifier(**QUICK).fit(X[:300], np.arange(300) % 2)
    later = X.assign(city=X["city"].mask(np.arange(9000) % 3 == 0, "Rome"))
    with pytest.warns(UserWarning, match="'Rome' and others like it in 3000 of 9000 rows") as caught:
        whole = model.predict_proba(later)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="in 1000 of 3000 rows"):
        parts = [model.predict_proba(later[start : start + 3000]) for start in range(0, 9000, 3000)]
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-12)


def test_a_column_whose_categories_are_all_others_is_refused() -> None:
    X, y = pd.DataFrame({"member": [True, False] * 20}), np.arange(40) % 2
    model = GalaClassifier(**QUICK).fit(X, y)
    later, says = pd.DataFrame({"member": ["yes", "no"]}), "Column 'member' must hold categories as it did in"
    with pytest.raises(ValueError, match=says):
        model.predict(later)
    with pytest.raises(ValueError, match=says):
        model.fit(X, y, X_val=later, y_val=[0, 1])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_categories_of_validation_rows_that_fit_did_not_see_are_warned_of() -> None:
    X, y = pd.DataFrame({"city": ["Bern", "Oslo"] * 20}), np.arange(40) % 2
    with pytest.warns(UserWarning, match="'Rome' and others like it in 1 of 2 rows of column 'city'"):
        GalaClassifier(**QUICK).fit(X, y, X_val=pd.DataFrame({"city": ["Rome", "Bern"]}), y_val=[0, 1])


def test_text_that_is_numbers_is_read_as_numbers_with_a_warning() -> None:
    values = [f"{value}.5" for value in range(20)]
    with pytest.warns(DataConversionWarning, match="Column 'n': its text is all numbers"):
        encoder = TableEncoder.fit(pd.DataFrame({"n": values}), np.ones(20))
    numbers = np.arange(20) + 0.5
    assert encoder == TableEncoder.fit(pd.DataFrame({"n": numbers}), np.ones(20))


@pytest.mark.parametrize(
    "values",
    [
        [f"{value:04d}" for value in range(20)] * 2,  # postal codes
        ["1", "2", "3"] * 7,
        [f"id{value}" for value in range(20)] * 2,
        pd.Categorical([str(value) for value in range(20)]),
    ],
)
def test_codes_grades_and_categories_stay_levels(values: Any) -> None:
    encoder = TableEncoder.fit(pd.DataFrame({"c": values}), np.ones(len(values)))
    assert isinstance(encoder.columns[0], LevelColumn)


def test_a_stray_word_among_numbers_is_named() -> None:
    values = [str(value / 7) for value in range(30)] * 2 + ["?"]
    with pytest.warns(DataConversionWarning, match=r"nearly all numbers, but '\?' is none"):
        encoder = TableEncoder.fit(pd.DataFrame({"n": values}), np.ones(61))
    assert isinstance(encoder.columns[0], LevelColumn)


def test_what_a_column_is_depends_on_the_rows_held_out_too() -> None:
    table = pd.DataFrame({"n": [*map(str, range(20)), "NA"]})
    weight = np.r_[np.ones(20), 0.0]
    with pytest.warns(DataConversionWarning):
        encoder = TableEncoder.fit(table, weight)
    assert encoder.columns == (NumberColumn(9.0, encoder.columns[0].scale, False),)


def test_levels_that_come_once_teach_what_is_unknown() -> None:
    names = [f"user{value}" for value in range(15)]
    table = pd.DataFrame({"user": names * 2 + ["guest1", "guest2"]})
    encoder = TableEncoder.fit(table, np.ones(32))
    assert encoder.cardinalities == (16,)
    assert encoder.encode(table).codes[-2:].tolist() == [[0], [0]]
    assert not encoder.read(table).unknown
    later = encoder.read(pd.DataFrame({"user": ["guest3", "guest1"]}))
    assert [unknown.count for unknown in later.unknown] == [1]


def test_categories_of_rows_held_out_are_no_surprise() -> None:
    table = pd.DataFrame({"city": ["Bern", "Oslo", "Rome"], "gap": ["a", "b", None]})
    encoder = TableEncoder.fit(table, np.array([1.0, 1.0, 0.0]))
    np.testing.assert_array_equal(encoder.encode(table).numbers, [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    assert not encoder.read(table).unknown


def test_a_table_of_nothing_but_unique_text_can_be_fitted() -> None:
    X = pd.DataFrame({"name": [f"user{value}" for value in range(40)]})
    with pytest.warns(UserWarning, match="Column 'name': its texts are all different, so that nothing is"):
        model = GalaClassifier(**QUICK).fit(X, np.arange(40) % 2)
    assert model.predict_proba(X).shape == (40, 2)


def test_text_in_a_column_that_was_empty_is_unknown() -> None:
    encoder = TableEncoder.fit(pd.DataFrame({"note": [None, None]}), np.ones(2))
    assert [found.count for found in encoder.read(pd.DataFrame({"note": ["a", "b", None]})).unknown] == [2]
