"""Gradient boosting, and the net of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

__all__ = ["hist_gradient_boosting", "sklearn_mlp", "xgboost"]


def hist_gradient_boosting(classifies: bool, seed: int) -> Any:
    """scikit-learn's, which splits columns of dtype category by level and knows missing values."""
    return (HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor)(
        categorical_features="from_dtype", random_state=seed
    )


def xgboost(classifies: bool, seed: int) -> Any:
    """XGBoost with one thread, which knows categories and missing values too."""
    from xgboost import XGBClassifier, XGBRegressor

    return (XGBClassifier if classifies else XGBRegressor)(
        enable_categorical=True, n_jobs=1, random_state=seed
    )


def sklearn_mlp(classifies: bool, seed: int) -> Any:
    """scikit-learn's, behind medians for missing values, standardized columns and one column per level."""
    prepare = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()),
            make_column_selector(dtype_include=np.number),
        ),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
        sparse_threshold=0,
    )
    if classifies:
        return make_pipeline(prepare, MLPClassifier(random_state=seed))
    net = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    return make_pipeline(prepare, net)
