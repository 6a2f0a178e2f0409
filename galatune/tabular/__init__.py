"""Estimators for tables: fit and predict, no learning rate."""

from __future__ import annotations

from galatune.tabular.classifier import GalaClassifier
from galatune.tabular.regressor import GalaRegressor

__all__ = ["GalaClassifier", "GalaRegressor"]
