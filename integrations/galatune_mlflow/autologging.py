"""Log every fit of `GalaClassifier` and `GalaRegressor` in MLflow, without a line in the code that fits."""

from __future__ import annotations

import logging
import math
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galatune.formatting import first_line, printable, shortened
from galatune.study.storage.secrets import hide_secrets
from galatune_mlflow.connection import limits
from galatune_mlflow.payload import LONGEST_PARAM, chunks, key

if TYPE_CHECKING:
    from galatune.tabular.listeners import FinishedFit

__all__ = ["autolog"]

NAME = "mlflow"
"""Under which it listens."""

MARK = "galatune.estimator"
"""Tag of a run that a fit was logged in."""

OTHERS_MARK = "mlflow.autologging"
"""Tag of a run that MLflow's own autologging made, such as of a grid search around the estimators."""

MODEL = "model"
MOST_POINTS = 200
"""Of a curve; the last is always among them."""

EXAMPLE_ROWS = 5
LOG = logging.getLogger("galatune_mlflow")


def autolog(
    *,
    log_models: bool = True,
    log_model_signatures: bool = True,
    log_input_examples: bool = False,
    registered_model_name: str | None = None,
    extra_tags: Mapping[str, str] | None = None,
    disable: bool = False,
    silent: bool = False,
) -> None:
    """Log each later `fit` of the estimators in this process; arguments are those of MLflow's own autologs.

    A fit is logged in the active run. It gets a run of its own if there is none, and a nested one if
    something was logged automatically in the active run before. Logged are the parameters, the learning rate,
    loss and validation score by step, scores, and the model. Nothing is patched, `partial_fit` is not logged,
    and a failure of MLflow never fails a fit: it is warned of once, on the logger "galatune_mlflow".

    Args:
        log_models: Whether to log the model, as "model", without pickle; `mlflow.pyfunc.load_model` loads it.
        log_model_signatures: Whether the model says which columns it reads and what it returns.
        log_input_examples: Whether the first rows of X are logged with the model.
        registered_model_name: Name under which each model is registered; None for none.
        extra_tags: Tags for each run.
        disable: Whether to log nothing from now on.
        silent: Whether to warn of nothing.

    Example:
        >>> autolog()
        >>> autolog(disable=True)
    """
    from galatune.tabular.listeners import listen, stop_listening  # loads torch

    if disable:
        stop_listening(NAME)
        return
    options = _Options(
        log_models,
        log_model_signatures,
        log_input_examples,
        registered_model_name,
        dict(extra_tags or {}),
        silent,
    )
    listen(NAME, _Autologger(options))


@dataclass(frozen=True)
class _Options:
    """As `autolog` describes them."""

    models: bool
    signatures: bool
    examples: bool
    registered_name: str | None
    tags: Mapping[str, str]
    silent: bool


@dataclass
class _Autologger:
    """Listens to fits and logs each."""

    options: _Options
    warned: set[str] = field(default_factory=set)

    def __call__(self, fit: FinishedFit) -> None:
        with self._failing("the fit"), limits(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of categories not seen, and of MLflow's hints
            with _run_for_fit() as run_id:
                _log_numbers(run_id, fit, self.options.tags)
                if self.options.models:
                    with self._failing("the model"):
                        self._log_model(fit)

    def _log_model(self, fit: FinishedFit) -> None:
        import mlflow

        from galatune import __version__
        from galatune.tabular.frames import as_table

        X = as_table(fit.X)
        example = X[:EXAMPLE_ROWS]
        signature = None
        if self.options.signatures:
            with self._failing("the signature of the model"):
                signature = _signature(fit.estimator, X, example)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.safetensors")
            fit.estimator.save(file)
            mlflow.pyfunc.log_model(
                name=MODEL,
                loader_module="galatune_mlflow.model",
                data_path=str(file),
                signature=signature,
                input_example=example if self.options.examples else None,
                registered_model_name=self.options.registered_name,
                pip_requirements=[f"galatune=={__version__}"],
            )

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        """Warn once of what goes wrong in the block, instead of raising it."""
        try:
            yield
        except Exception as error:  # stores and servers have exceptions of their own
            if what not in self.warned and not self.options.silent:
                reason = shortened(hide_secrets(first_line(error)), 300)
                LOG.warning("MLflow did not take %s: %s. The estimator is fitted all the same.", what, reason)
            self.warned.add(what)


@contextmanager
def _run_for_fit() -> Iterator[str]:
    """The active run, or one that lasts as long as the block."""
    import mlflow

    active = mlflow.active_run()
    with ExitStack() as stack:
        if active is not None:
            tags = mlflow.MlflowClient().get_run(active.info.run_id).data.tags
            if MARK not in tags and OTHERS_MARK not in tags:
                yield active.info.run_id
                return
        run = stack.enter_context(mlflow.start_run(nested=active is not None))
        yield run.info.run_id


def _log_numbers(run_id: str, fit: FinishedFit, tags: Mapping[str, str]) -> None:
    """Log parameters, tags, curves and scores."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    points = [*_curves(fit), *((name, 0, value) for name, value in _scores(fit).items())]
    metrics = [Metric(name, value, now, step) for name, step, value in points if math.isfinite(value)]
    params = [
        Param(key(name), printable(str(value))[:LONGEST_PARAM])
        for name, value in fit.estimator.get_params(deep=False).items()
    ]
    marks = {MARK: type(fit.estimator).__name__, "estimator_name": type(fit.estimator).__name__, **tags}
    client = MlflowClient()
    client.log_batch(run_id, params=params, tags=[RunTag(name, str(value)) for name, value in marks.items()])
    for part in chunks(metrics, 1000):
        client.log_batch(run_id, metrics=part)


def _curves(fit: FinishedFit) -> Iterator[tuple[str, int, float]]:
    """Name, step and value of learning rate, loss and validation score."""
    history = fit.estimator.history_
    for name in ("learning_rate", "loss", "validation_score"):
        known = history[["step", name]].dropna()
        every = max(1, -(-len(known) // MOST_POINTS))
        for step, value in known.iloc[::-every].itertuples(index=False):  # from the last one
            yield name, int(step), float(value)


def _scores(fit: FinishedFit) -> dict[str, float]:
    model: Any = fit.estimator
    scores = {
        "training_score": float(model.score(fit.X, fit.y, sample_weight=fit.sample_weight)),
        "n_iter": float(model.n_iter_),
        "best_iteration": float(model.best_iteration_),
        "fit_seconds": fit.seconds,
    }
    if len(model.validation_scores_):
        scores["best_iteration_validation_score"] = float(model.validation_scores_[model.best_iteration_ - 1])
    return scores


def _signature(model: Any, X: Any, example: Any) -> Any:
    """Return columns and types that the model reads and returns."""
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ParamSchema, ParamSpec, Schema

    outputs = infer_signature(None, model.predict(example)).outputs
    params: Any = None
    if hasattr(model, "predict_proba"):
        params = ParamSchema([ParamSpec("predict_method", "string", "predict")])
    if not hasattr(X, "columns"):
        return ModelSignature(infer_signature(X).inputs, outputs, params)
    return ModelSignature(Schema([_column(X, name) for name in X]), outputs, params)


def _column(X: Any, name: str) -> Any:
    """Return the type of a column; any type if MLflow would refuse the very values that it describes.

    Its types know neither categories nor missing integers and booleans, which the estimators understand.
    """
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from mlflow.types.schema import AnyType, ColSpec

    unknown: Any = AnyType
    if not isinstance(X[name].dtype, np.dtype | pd.StringDtype):
        return ColSpec(unknown(), name, required=False)
    try:
        return infer_signature(X[[name]]).inputs.inputs[0]
    except Exception:  # a mixture of types
        return ColSpec(unknown(), name, required=False)
