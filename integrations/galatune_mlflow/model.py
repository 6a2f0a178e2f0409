"""How MLflow loads an estimator that was logged: from the file that `save` writes, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["LoadedEstimator"]

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


class LoadedEstimator:
    """What `mlflow.pyfunc` predicts with.

    Args:
        estimator: A fitted `GalaClassifier` or `GalaRegressor`.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Return what the estimator predicts.

        Args:
            model_input: Rows, as in `fit`.
            params: "predict_method" may name another method, such as "predict_proba".

        Raises:
            ValueError: The estimator has no such method.
        """
        method = (params or {}).get("predict_method", "predict")
        if method not in METHODS or not hasattr(self.estimator, method):
            known = ", ".join(name for name in METHODS if hasattr(self.estimator, name))
            raise ValueError(f"predict_method must be one of {known}, however: {method!r}.")
        return getattr(self.estimator, method)(model_input)

    def get_raw_model(self) -> Any:
        """Return the estimator: `mlflow.pyfunc.load_model(...).get_raw_model()` asks for it."""
        return self.estimator


def _load_pyfunc(data_path: str) -> LoadedEstimator:
    """Load the file that was logged; `mlflow.pyfunc` asks for a function of this name."""
    from galatune.tabular.files.folder import load_model

    return LoadedEstimator(load_model(Path(data_path)))
