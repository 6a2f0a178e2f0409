from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from galatune import GalaClassifier, GalaRegressor
from galatune.tabular import listeners
from galatune_mlflow import autolog

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Hint. Inferred schema contains integer:UserWarning"),
]


@pytest.fixture(autouse=True)
def _off() -> Iterator[None]:
    yield
    autolog(disable=True)


@pytest.fixture
def client(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """The store that fits are logged in, its artifacts beside it."""
    import mlflow

    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    mlflow.set_experiment(
        experiment_id=client.create_experiment("fits", artifact_location=(tmp_path / "files").as_uri())
    )
    yield client
    mlflow.set_tracking_uri(before)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, Any]:
    """Columns of every kind that the estimators understand, and labels."""
    random = np.random.default_rng(0)
    number = random.normal(size=60)
    X = pd.DataFrame(
        {
            "number": np.where(np.arange(60) % 7 == 0, np.nan, number),
            "integer": random.integers(0, 9, 60),
            "small": random.integers(0, 9, 60).astype("uint8"),
            "nullable": pd.array([1, None] * 30, dtype="Int64"),
            "truth": number > 1,
            "text": np.where(number > 0, "yes", None),
            "category": pd.Categorical(random.choice([1, 2], 60)),
        }
    )
    return X, np.where(number > 0, "good", "bad")


def classifier(**options: Any) -> GalaClassifier:
    return GalaClassifier(hidden_layer_sizes=(4,), max_iter=3, random_state=0, **options)


def runs(client: MlflowClient) -> list[Run]:
    experiment = client.get_experiment_by_name("fits")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_a_fit_is_logged_and_its_model_loads_back(client: MlflowClient, table: tuple[Any, Any]) -> None:
    import mlflow

    X, y = table
    autolog(extra_tags={"team": "a"})
    model = classifier(class_weight={"good": 2.0}).fit(X, y)
    (run,) = runs(client)
    assert run.info.status == "FINISHED"
    assert run.data.params["max_iter"] == "3"
    assert run.data.params["class_weight"] == "{'good': 2.0}"
    assert (run.data.tags["estimator_name"], run.data.tags["team"]) == ("GalaClassifier", "a")
    assert run.data.metrics["training_score"] == model.score(X, y)
    kept = model.validation_scores_[model.best_iteration_ - 1]
    assert run.data.metrics["best_iteration_validation_score"] == kept
    curve = client.get_metric_history(run.info.run_id, "learning_rate")
    logged = sorted((point.step, point.value) for point in curve)
    assert logged == list(map(tuple, model.learning_rate_curve_.tolist()))
    loaded = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    assert loaded.predict(X).tolist() == model.predict(X).tolist()
    shares = loaded.predict(X, params={"predict_method": "predict_proba"})
    assert (shares == model.predict_proba(X)).all()
    assert loaded.metadata.get_input_schema().input_names() == list(X)
    with pytest.raises(ValueError, match="predict_method must be one of predict, predict_proba"):
        loaded.predict(X, params={"predict_method": "fit"})


def test_an_array_is_logged_with_an_example(client: MlflowClient, table: tuple[Any, Any]) -> None:
    import mlflow

    X = table[0][["number", "integer"]].to_numpy()
    autolog(log_input_examples=True)
    model = GalaRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(X, X[:, 1])
    loaded = mlflow.pyfunc.load_model(f"runs:/{runs(client)[0].info.run_id}/model")
    assert (loaded.predict(X) == model.predict(X)).all()
    assert np.array_equal(loaded.input_example, X[:5], equal_nan=True)


def test_long_curves_are_thinned_and_end_at_the_last_step(
    client: MlflowClient, table: tuple[Any, Any]
) -> None:
    autolog(log_models=False)
    model = GalaClassifier(hidden_layer_sizes=(), batch_size=2, max_iter=12, random_state=0).fit(*table)
    (run,) = runs(client)
    steps = sorted(point.step for point in client.get_metric_history(run.info.run_id, "loss"))
    assert len(model.history_) > 200
    assert 100 <= len(steps) <= 200
    assert steps[-1] == len(model.history_)
    assert client.search_logged_models([run.info.experiment_id]) == []


def test_fits_of_one_run_do_not_overwrite_each_other(client: MlflowClient, table: tuple[Any, Any]) -> None:
    import mlflow

    autolog(log_models=False)
    with mlflow.start_run() as outer:
        for dropout in (0.1, 0.2, 0.3):
            classifier(dropout=dropout).fit(*table)
    inner = [run for run in runs(client) if run.info.run_id != outer.info.run_id]
    assert client.get_run(outer.info.run_id).data.params["dropout"] == "0.1"
    assert sorted(run.data.params["dropout"] for run in inner) == ["0.2", "0.3"]
    assert {run.data.tags["mlflow.parentRunId"] for run in inner} == {outer.info.run_id}


def test_it_can_be_undone(client: MlflowClient, table: tuple[Any, Any]) -> None:
    before = dict(listeners._LISTENERS)
    autolog()
    autolog(disable=True)
    assert before == listeners._LISTENERS
    classifier().fit(*table)
    assert runs(client) == []


def test_a_fit_that_fails_leaves_no_run(client: MlflowClient, table: tuple[Any, Any]) -> None:
    autolog()
    with pytest.raises(ValueError, match="dropout"):
        classifier(dropout=2.0).fit(*table)
    assert runs(client) == []


@pytest.mark.parametrize("silent", [False, True])
def test_a_server_that_is_away_fails_no_fit(
    client: MlflowClient, table: tuple[Any, Any], port: int, caplog: pytest.LogCaptureFixture, silent: bool
) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"http://ada:secret@127.0.0.1:{port}")
    autolog(silent=silent)
    environment = dict(os.environ)
    with caplog.at_level(logging.WARNING, "galatune_mlflow"):
        models = [classifier().fit(*table) for _ in range(2)]
    said = [one.getMessage() for one in caplog.records if one.name == "galatune_mlflow"]
    assert len(said) == (0 if silent else 1)
    assert not any("secret" in line or "\n" in line for line in said)
    assert (models[0].predict(table[0]) == models[1].predict(table[0])).all()
    assert dict(os.environ) == environment


def test_a_model_that_cannot_be_saved_leaves_the_rest(
    client: MlflowClient, table: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    autolog()

    def scorer(model: Any, X: Any, y: Any) -> float:
        return float(model.score(X, y))

    classifier(scoring=scorer).fit(*table)
    (run,) = runs(client)
    assert run.info.status == "FINISHED"
    assert "n_iter" in run.data.metrics
    assert "did not take the model" in caplog.text
