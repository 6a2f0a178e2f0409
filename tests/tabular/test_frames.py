"""Tables of other libraries, sparse and masked ones: the same model as from pandas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import sparse

from galatune import GalaClassifier, GalaRegressor
from galatune.tabular import frames
from galatune.tabular.frames import as_dense, as_table

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"hidden_layer_sizes": (8,), "n_members": 2, "max_iter": 2, "random_state": 0}
CITIES = ["Bern", "Oslo", None, "Rome"] * 15


def columns() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "city": CITIES,
        "size": rng.normal(size=60),
        "member": [True, False, None, True] * 15,
        "rooms": [1, None, 3, 4] * 15,
    }


def labels() -> list[str]:
    return ["yes", "no"] * 30


def pandas_backed_by_arrow() -> pd.DataFrame:
    return pa.table(columns()).to_pandas(types_mapper=pd.ArrowDtype)


def polars_frame() -> Any:
    return pytest.importorskip("polars").DataFrame(columns())


def polars_categories(kind: str) -> Any:
    pl = pytest.importorskip("polars")
    dtype = pl.Categorical if kind == "Categorical" else pl.Enum(["Rome", "Oslo", "Bern"])
    return pl.DataFrame(columns()).with_columns(pl.col("city").cast(dtype))


FRAMES = {
    "pandas, converted": lambda: pd.DataFrame(columns()).convert_dtypes(),
    "pandas on arrow": pandas_backed_by_arrow,
    "pandas category": lambda: pd.DataFrame(columns()).astype({"city": "category"}),
    "pyarrow table": lambda: pa.table(columns()),
    "pyarrow batch": lambda: pa.RecordBatch.from_pydict(columns()),
    "pyarrow dictionary": lambda: pa.table({**columns(), "city": pa.array(CITIES).dictionary_encode()}),
    "polars": polars_frame,
    "polars Categorical": lambda: polars_categories("Categorical"),
    "polars Enum": lambda: polars_categories("Enum"),
}


@pytest.fixture(scope="module")
def reference() -> GalaClassifier:
    return GalaClassifier(**QUICK).fit(pd.DataFrame(columns()), labels())


@pytest.mark.parametrize("name", FRAMES)
def test_every_frame_gives_the_model_that_pandas_gives(name: str, reference: GalaClassifier) -> None:
    table, wanted = FRAMES[name](), reference.predict_proba(pd.DataFrame(columns()))
    model = GalaClassifier(**QUICK).fit(table, labels())
    assert model.feature_names_in_.tolist() == list(columns())
    np.testing.assert_array_equal(model.predict_proba(table), wanted)
    np.testing.assert_array_equal(reference.predict_proba(table), wanted)


def test_what_only_offers_an_arrow_stream_is_a_table() -> None:
    class Stream:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return pa.table({"a": [1, 2]}).__arrow_c_stream__(requested_schema)

    assert as_table(Stream()).to_dict("list") == {"a": [1, 2]}


def test_a_query_is_asked_to_be_collected() -> None:
    pl = pytest.importorskip("polars")
    with pytest.raises(ValueError, match=r"it is a LazyFrame. Call collect\(\) first"):
        GalaClassifier().fit(pl.DataFrame(columns()).lazy(), labels())


@pytest.mark.parametrize(
    "make",
    [
        lambda: pa.array(labels()),
        lambda: pa.chunked_array([labels()]),
        lambda: pd.Series(labels(), dtype="category"),
        lambda: pd.Series(labels(), dtype="string"),
        lambda: pytest.importorskip("polars").Series(labels()),
        lambda: pytest.importorskip("polars").Series(
            labels(), dtype=pytest.importorskip("polars").Categorical
        ),
    ],
)
def test_labels_of_every_library_are_the_same(make: Any, reference: GalaClassifier) -> None:
    model = GalaClassifier(**QUICK).fit(pd.DataFrame(columns()), make())
    assert model.classes_.tolist() == ["no", "yes"]
    table = pd.DataFrame(columns())
    np.testing.assert_array_equal(model.predict_proba(table), reference.predict_proba(table))


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dia", "lil"])
def test_sparse_tables_are_the_tables_that_they_stand_for(layout: str) -> None:
    matrix = sparse.random(60, 4, 0.4, random_state=0)
    y = matrix.toarray().sum(axis=1)
    dense = GalaRegressor(**QUICK).fit(matrix.toarray(), y)
    model = GalaRegressor(**QUICK).fit(matrix.asformat(layout), y)
    np.testing.assert_array_equal(model.predict(matrix.tocsr()), dense.predict(matrix.toarray()))
    columns = pd.DataFrame.sparse.from_spmatrix(matrix)
    np.testing.assert_array_equal(model.predict(columns.to_numpy()), dense.predict(columns))


def test_a_sparse_table_too_large_to_be_dense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST_DENSE", 100)
    with pytest.raises(ValueError, match=r"X.shape=\(10, 10\). Reduce its columns"):
        as_dense(sparse.eye(10))


def test_what_is_masked_is_missing() -> None:
    values = np.random.default_rng(0).normal(size=(60, 2))
    masked, missing = np.ma.masked_greater(values, 1), np.where(values > 1, np.nan, values)
    y = values[:, 0]
    predictions = [GalaRegressor(**QUICK).fit(X, y).predict(X) for X in (masked, missing)]
    np.testing.assert_array_equal(*predictions)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.uint64, bool])
def test_numbers_of_every_width_are_numbers(dtype: type) -> None:
    X = np.arange(120).reshape(60, 2) % 7
    model = GalaRegressor(**QUICK).fit(X.astype(dtype), X[:, 0].astype(dtype))
    assert model.predict(X.astype(dtype)).dtype == np.float64
