"""Tables become numbers: what a column is, missing values, weights."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from galatune.tabular.columns import MAX_LEVELS, LevelColumn, NumberColumn
from galatune.tabular.encode import TableEncoder, one_hot


def encode(table: object, weight: object = None) -> np.ndarray:
    weight = np.ones(len(table)) if weight is None else np.asarray(weight, dtype=float)
    return TableEncoder.fit(table, weight).encode(table).numbers


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.Series([1, 2, 3]), NumberColumn),
        (pd.Series([1.5, np.nan, 2.0]), NumberColumn),
        (pd.Series([1, None, 3], dtype="Int64"), NumberColumn),
        (pd.Series([1, None, 2.5], dtype=object), NumberColumn),
        (pd.Series([True, False, True]), LevelColumn),
        (pd.Series([True, None, True], dtype="boolean"), LevelColumn),
        (pd.Series(["a", None, "b"]), LevelColumn),
        (pd.Series(["a", 1, None], dtype=object), LevelColumn),
        (pd.Series([1, 2, 2], dtype="category"), LevelColumn),
    ],
)
def test_a_column_is_what_its_dtype_says(values: pd.Series, kind: type) -> None:
    encoder = TableEncoder.fit(values.to_frame("column"), np.ones(3))
    assert isinstance(encoder.columns[0], kind)
    assert np.isfinite(encoder.encode(values.to_frame("column")).numbers).all()


def test_numbers_are_centred_scaled_and_saturate() -> None:
    column = np.r_[np.arange(101.0), 1e9][:, None]
    encoded = encode(column)
    assert abs(np.median(encoded)) < 0.05
    assert encoded[75, 0] - encoded[25, 0] == pytest.approx(1, abs=0.05)
    assert encoded[-1, 0] == pytest.approx(3, abs=0.01)


def test_a_scale_does_not_depend_on_units() -> None:
    column = np.random.default_rng(0).lognormal(size=(50, 1))
    np.testing.assert_allclose(encode(column), encode(1e6 * column + 3), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan, 1e-320])
def test_a_column_without_information_is_zeros(value: float) -> None:
    assert (encode(np.full((4, 1), value))[:, 0] == 0).all()


def test_missing_numbers_count_as_the_median_and_are_marked() -> None:
    encoded = encode(np.array([[1.0], [2.0], [np.nan], [3.0]]))
    np.testing.assert_array_equal(encoded[:, 1], [0, 0, 1, 0])
    assert encoded[2, 0] == 0 == encoded[1, 0]


def test_unseen_levels_and_unseen_gaps_are_zeros() -> None:
    encoder = TableEncoder.fit(pd.DataFrame({"c": ["a", "b", "a"]}), np.ones(3))
    np.testing.assert_array_equal(
        encoder.encode(pd.DataFrame({"c": ["b", "z", None]})).numbers, [[0, 1], [0, 0], [0, 0]]
    )


def test_levels_survive_a_change_of_dtype() -> None:
    encoder = TableEncoder.fit(pd.DataFrame({"c": pd.Categorical([3, 1, 3])}), np.ones(3))
    for later in (pd.Series([1, 3]), pd.Series([1.0, 3.0]), pd.Series([1, 3], dtype=object)):
        np.testing.assert_array_equal(encoder.encode(later.to_frame("c")).numbers, [[0, 1], [1, 0]])


def test_many_levels_are_codes_and_the_rarest_have_code_0() -> None:
    values = [f"often{i}" for i in range(MAX_LEVELS)] * 2 + ["rare", None]
    table = pd.DataFrame({"n": range(len(values)), "c": values})
    encoder = TableEncoder.fit(table, np.ones(len(table)))
    encoded = encoder.encode(table)
    assert encoder.cardinalities == (MAX_LEVELS + 1,)
    assert encoded.numbers.shape == (len(table), 1)
    assert encoded.codes[-2:].tolist() == [[0], [0]]
    assert sorted(encoded.codes[:MAX_LEVELS, 0]) == list(range(1, MAX_LEVELS + 1))
    assert one_hot(encoded, encoder.cardinalities)[:, 1:].sum(axis=1).tolist() == [1.0] * 256 + [0.0] * 2


@pytest.mark.parametrize("seed", range(5))
def test_a_row_of_weight_two_is_two_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"n": rng.normal(size=30), "c": rng.choice(list("abc"), size=30)})
    table.loc[3, "n"] = np.nan
    weight = rng.integers(1, 4, size=30)
    repeated = table.loc[np.repeat(np.arange(30), weight)]
    weighted = TableEncoder.fit(table, weight.astype(float))
    assert weighted == TableEncoder.fit(repeated, np.ones(len(repeated)))


def test_an_encoder_is_frozen_and_survives_pickling() -> None:
    table = pd.DataFrame({"n": [1.0, 2.0, np.nan], "c": ["a", None, "b"]})
    encoder = TableEncoder.fit(table, np.ones(3))
    with pytest.raises(AttributeError):
        encoder.columns = ()  # type: ignore[misc]
    copy = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(copy.encode(table).numbers, encoder.encode(table).numbers)


@pytest.mark.parametrize(
    ("later", "says"),
    [
        (pd.DataFrame({"n": ["x"], "c": ["a"]}), "Column 'n' must hold numbers, as it did in fit"),
        (pd.DataFrame({"n": [np.inf], "c": ["a"]}), "infinity in column 'n'"),
        (np.zeros((1, 2)), "needs a data frame with the same columns"),
    ],
)
def test_what_fit_did_not_see_is_refused_in_one_line(later: object, says: str) -> None:
    encoder = TableEncoder.fit(pd.DataFrame({"n": [1.0, 2.0], "c": ["a", "b"]}), np.ones(2))
    with pytest.raises(ValueError, match=says) as caught:
        encoder.encode(later)
    assert "\n" not in str(caught.value)


def test_a_column_of_dates_is_refused_by_name() -> None:
    table = pd.DataFrame({"when": pd.date_range("2020-01-01", periods=3)})
    with pytest.raises(ValueError, match="column 'when' has dtype datetime64"):
        TableEncoder.fit(table, np.ones(3))
