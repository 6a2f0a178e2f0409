"""Estimators for tables: fit and predict, no learning rate."""

from __future__ import annotations

from galatune.tabular.estimator import GalaClassifier, GalaRegressor

__all__ = ["GalaClassifier", "GalaRegressor"]
