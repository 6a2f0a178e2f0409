"""What the old study knows of good learning rates: their level, what it depends on, and how surely.

A Bayesian linear regression of ln(rate) on the parameters that stay, in which good trials count most.

.. code-block:: text

    w_i = exp(-(y_i - y_best) / (y_k - y_best))     k: the best fifth of the trials, three at least
    r_i = b0 + sum_j b_j z_ij + noise of variance 0.6^2 / w_i;  b_j ~ Normal(0, 0.25^2), of choices 0.5^2
    rate = exp(mean of b0 + sum_j b_j z_j)          spread^2 = its variance + 0.4^2, of one configuration
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from galatune.formatting import printable
from galatune.formatting import rate as in_words
from galatune.study.scan.dimensions import RateDimension
from galatune.study.scan.distributions import as_number, as_rate

__all__ = ["Feature", "RatePrior", "prior_text", "rate_priors"]

Floats = npt.NDArray[np.float64]

LEAST_WEIGHT = 1e-6
"""Of a trial, beside 1 for the best."""

FEWEST = 3
"""Trials with a rate and a value; fewer say nothing."""

MOST_TRIALS = 300
"""The best so many are read."""

OF_A_TRIAL = 0.6
"""Standard deviation of ln(rate) of a good trial around the best one: good rates span a factor of 3."""

OF_A_CONFIGURATION = 0.4
"""What no parameter explains."""

OF_A_NUMBER, OF_A_CHOICE, OF_THE_LEVEL = 0.25, 0.5, 5.0
"""Standard deviations of coefficients beforehand: of a number per standard deviation, of a choice, of b0."""

OTHER_UNITS = frozenset(("sgd", "asgd", "momentum", "nesterov", "adadelta", "lion", "muon"))
"""Optimizers whose rates have another unit than those of Adam and its kin."""

OF_OTHER_UNITS = 2.0
"""Standard deviation of the coefficient of such a choice: SGD wants 10 to 1,000 times the rates of Adam."""


@dataclass(frozen=True)
class Feature:
    """One column of the regression.

    Attributes:
        name: Of the parameter.
        choice: The choice whose presence is 1; None for a number.
        log: Whether the number enters as its logarithm.
        center: Weighted mean of the column.
        scale: Its weighted standard deviation; 1 for a choice.
    """

    name: str
    choice: str | None
    log: bool
    center: float
    scale: float

    def of(self, params: Mapping[str, Any]) -> float:
        """The centred column of a configuration; 0 if it has no such parameter."""
        if self.name not in params:
            return 0.0
        value = _column(params[self.name], self.choice, self.log)
        return 0.0 if value is None else (value - self.center) / self.scale


@dataclass(frozen=True)
class RatePrior:
    """Good rates of one dropped dimension.

    Attributes:
        name: Of the dimension.
        rate: At the old best configuration.
        spread: Standard deviation of its natural logarithm.
        trials: Number of old trials that it was learned from.
        features: What it depends on.
        mean: Coefficients: of the constant, then of each feature.
        covariance: Theirs.
    """

    name: str
    rate: float
    spread: float
    trials: int
    features: tuple[Feature, ...] = ()
    mean: tuple[float, ...] = ()
    covariance: tuple[tuple[float, ...], ...] = ()

    def at(self, params: Mapping[str, Any]) -> tuple[float, float]:
        """Rate and spread of a configuration.

        Args:
            params: Its other parameters.
        """
        row = np.array([1.0, *(feature.of(params) for feature in self.features)])
        variance = float(row @ np.array(self.covariance) @ row) + OF_A_CONFIGURATION**2
        return math.exp(float(row @ np.array(self.mean))), math.sqrt(variance)

    def to_json(self) -> dict[str, Any]:
        """For the plan."""
        lists = {"mean": list(self.mean), "covariance": [list(row) for row in self.covariance]}
        return {**asdict(self), "features": [asdict(feature) for feature in self.features], **lists}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> RatePrior:
        """From `to_json`."""
        rest = {key: value for key, value in body.items() if key not in ("features", "mean", "covariance")}
        return cls(
            **rest,
            features=tuple(Feature(**feature) for feature in body["features"]),
            mean=tuple(body["mean"]),
            covariance=tuple(tuple(row) for row in body["covariance"]),
        )


def rate_priors(
    dimensions: Sequence[RateDimension], best_first: Sequence[FrozenTrial], *, minimize: bool | None
) -> tuple[RatePrior, ...]:
    """What the old study knows of each dropped rate; nothing of one that it does not tell.

    Args:
        dimensions: Of the scan.
        best_first: COMPLETE trials of the old study, the best first; one may be there twice.
        minimize: Whether small values are good; None if there are several objectives, and all trials count
            alike.
    """
    dropped = {one.name for one in dimensions if one.dropped}
    rates = (one for one in dimensions if one.dropped and one.role == "rate")
    trials = list({trial.number: trial for trial in best_first}.values())[:MOST_TRIALS]
    found = (_prior_of(one, trials, dropped, minimize) for one in rates)
    return tuple(one for one in found if one is not None)


def prior_text(priors: Sequence[RatePrior]) -> list[str]:
    """What scan says of them: a sentence each."""
    return [
        f"Good values of {printable(one.name)}: about {in_words(one.rate)}, within a factor of "
        f"{math.exp(one.spread):.1f} ({one.trials} trials). Control starts there; --no-prior: from nothing."
        for one in priors
    ]


def _prior_of(
    dimension: RateDimension, trials: Sequence[FrozenTrial], dropped: set[str], minimize: bool | None
) -> RatePrior | None:
    known = [(trial, as_rate(trial.params.get(dimension.name), dimension.scale)) for trial in trials]
    good = [(trial, rate) for trial, rate in known if rate is not None and 0 < rate < math.inf]
    good = [(trial, rate) for trial, rate in good if minimize is None or math.isfinite(trial.values[0])]
    if len(good) < FEWEST:
        return None
    chosen = [trial for trial, _ in good]
    weights = _weights(chosen, minimize)
    features = _features(chosen, weights, dropped)
    columns = np.array([[1.0, *(one.of(trial.params) for one in features)] for trial in chosen])
    target = np.log([rate for _, rate in good])
    before = [OF_THE_LEVEL**-2, *(_deviation(one) ** -2 for one in features)]
    level = np.array([float(np.average(target, weights=weights)), *(0.0 for _ in features)])
    precision = np.diag(before) + (columns.T * weights / OF_A_TRIAL**2) @ columns
    covariance = np.linalg.inv(precision)
    mean = level + covariance @ (columns.T @ (weights / OF_A_TRIAL**2 * (target - columns @ level)))
    rows = tuple(map(tuple, covariance.tolist()))
    fitted = RatePrior(dimension.name, 1.0, 1.0, len(good), features, tuple(mean.tolist()), rows)
    rate, spread = fitted.at(chosen[0].params)
    return replace(fitted, rate=rate, spread=spread)


def _deviation(feature: Feature) -> float:
    """Standard deviation of a coefficient beforehand."""
    if feature.choice is None:
        return OF_A_NUMBER
    return OF_OTHER_UNITS if feature.choice.lower() in OTHER_UNITS else OF_A_CHOICE


def _weights(trials: Sequence[FrozenTrial], minimize: bool | None) -> Floats:
    if minimize is None:
        return np.ones(len(trials))
    sign = 1.0 if minimize else -1.0
    values = sign * np.array([trial.values[0] for trial in trials])
    behind = values - values.min()
    kept = sorted(behind)[min(max(FEWEST, math.ceil(len(trials) / 5)), len(trials)) - 1]
    if kept <= 0:
        return np.where(behind <= 0, 1.0, LEAST_WEIGHT)
    weights: Floats = np.maximum(np.exp(-behind / kept), LEAST_WEIGHT)
    return weights


def _features(trials: Sequence[FrozenTrial], weights: Floats, dropped: set[str]) -> tuple[Feature, ...]:
    """A column for each number that differs between trials, one for each choice that is no number."""
    distributions = {name: d for trial in trials for name, d in trial.distributions.items()}
    found = []
    for name, distribution in sorted(distributions.items()):
        if name in dropped:
            continue
        given = [(t.params[name], w) for t, w in zip(trials, weights, strict=True) if name in t.params]
        for choice, log in _columns(distribution, [value for value, _ in given]):
            columns = ((_column(value, choice, log), weight) for value, weight in given)
            pairs = [(value, weight) for value, weight in columns if value is not None]
            values = [value for value, _ in pairs]
            if len(set(values)) < 2:
                continue
            center = float(np.average(values, weights=[weight for _, weight in pairs]))
            scale = 1.0 if choice else statistics.pstdev(values)
            found.append(Feature(name, choice, log, center, scale))
    return tuple(found)


def _columns(distribution: BaseDistribution, values: Sequence[Any]) -> list[tuple[str | None, bool]]:
    """(choice, log) of each column that a parameter with these values becomes."""
    numbers = [as_number(value) for value in values]
    if all(number is not None for number in numbers):
        positive = all(number is not None and number > 0 for number in numbers)
        spaced = isinstance(distribution, CategoricalDistribution) or getattr(distribution, "log", False)
        return [(None, positive and (spaced or _spans(numbers)))]
    return [(str(choice), False) for choice in sorted(set(map(str, values)))]


def _spans(numbers: Sequence[float | None]) -> bool:
    known = [number for number in numbers if number]
    return max(known) / min(known) > 4


def _column(value: Any, choice: str | None, log: bool) -> float | None:
    if choice is not None:
        return float(str(value) == choice)
    number = as_number(value)
    if number is None or (log and number <= 0):
        return None
    return math.log(number) if log else number
