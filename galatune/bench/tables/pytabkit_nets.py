"""RealMLP and TabM as pytabkit has them, with their defaults; on one thread of the processor."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

__all__ = ["realmlp", "realmlp_log_loss", "tabm"]

OPTIONS = {"device": "cpu", "n_threads": 1}


def realmlp(classifies: bool, seed: int) -> Any:
    """RealMLP-TD as it comes: labels are smoothed, and the epoch is chosen by error or RMSE."""
    kit = _pytabkit()
    made = kit.RealMLP_TD_Classifier if classifies else kit.RealMLP_TD_Regressor
    return _prepared(made(random_state=seed, **OPTIONS))


def realmlp_log_loss(classifies: bool, seed: int) -> Any:
    """RealMLP-TD as its authors set it for log loss and AUC: no smoothing, the epoch chosen by log loss.

    Raises:
        ValueError: It is asked for a regression.
    """
    if not classifies:
        raise ValueError("RealMLP for log loss is a classifier")
    return _prepared(
        _pytabkit().RealMLP_TD_Classifier(
            use_ls=False, val_metric_name="cross_entropy", random_state=seed, **OPTIONS
        )
    )


def tabm(classifies: bool, seed: int) -> Any:
    """TabM as it comes."""
    kit = _pytabkit()
    made = kit.TabM_D_Classifier if classifies else kit.TabM_D_Regressor
    return _prepared(made(random_state=seed, **OPTIONS))


def _pytabkit() -> Any:
    import pytabkit

    return pytabkit


def _prepared(model: Any) -> Any:
    """The model behind medians for missing numbers, which it refuses, and a level for missing categories."""
    medians = make_column_transformer(
        (
            SimpleImputer(strategy="median", keep_empty_features=True),
            make_column_selector(dtype_include="number"),
        ),
        remainder="passthrough",
        verbose_feature_names_out=False,
    )
    return make_pipeline(FunctionTransformer(_levels), medians.set_output(transform="pandas"), model)


def _levels(X: pd.DataFrame) -> pd.DataFrame:
    """Rows whose missing categories are a level of their own."""
    filled: dict[str, Any] = {
        str(name): column.cat.add_categories("missing").fillna("missing")
        for name, column in X.select_dtypes("category").items()
    }
    return X.assign(**filled)
