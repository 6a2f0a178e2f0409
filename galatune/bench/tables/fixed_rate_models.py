"""The estimators with a fixed learning rate in the controller's place."""

from __future__ import annotations

from dataclasses import replace

from galatune.tabular import GalaClassifier, GalaRegressor
from galatune.tabular.train import TrainingOptions

__all__ = ["FixedRateClassifier", "FixedRateRegressor"]


class FixedRateClassifier(GalaClassifier):
    """A classifier whose rate is fixed."""

    rate: float

    def _options(self, n_rows: int, max_iter: int, deadline: float) -> TrainingOptions:
        return replace(super()._options(n_rows, max_iter, deadline), rate=self.rate)


class FixedRateRegressor(GalaRegressor):
    """A regressor whose rate is fixed."""

    rate: float

    def _options(self, n_rows: int, max_iter: int, deadline: float) -> TrainingOptions:
        return replace(super()._options(n_rows, max_iter, deadline), rate=self.rate)
