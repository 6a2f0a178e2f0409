from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from galatune.statistics import difference_of_minima, log_ratio, log_ratio_interval, side


@pytest.mark.parametrize(
    ("interval", "margin", "where"),
    [
        ((-3.0, -1.1), 1.0, "below"),
        ((1.1, 3.0), 1.0, "above"),
        ((-1.0, 1.0), 1.0, "within"),
        ((-1.1, 0.0), 1.0, "across"),
        ((0.0, 1.1), 1.0, "across"),
        ((-2.0, 2.0), 1.0, "across"),
        ((0.0, 0.0), 0.0, "within"),
        ((-0.1, 0.0), 0.0, "across"),
    ],
)
def test_side_is_decided_by_both_ends_and_the_margin(
    interval: tuple[float, float], margin: float, where: str
) -> None:
    assert side(interval, margin) == where


def test_minima_of_paired_values_cancel_what_both_share() -> None:
    old = np.random.default_rng(0).normal(size=30)
    assert difference_of_minima(old, old + 0.5, paired=True) == pytest.approx((0.5, 0.5))
    low, high = difference_of_minima(old, old + 0.5, paired=False)
    assert low < 0.5 < high


@pytest.mark.parametrize(("many", "others", "paired"), [(5, 5, True), (20, 12, False), (200, 200, True)])
def test_interval_of_minima_is_that_of_many_resamples(many: int, others: int, paired: bool) -> None:
    draw = np.random.default_rng(many)
    old, new = draw.integers(50, size=many).astype(float), draw.integers(50, size=others).astype(float)
    sampled = stats.bootstrap(
        (old, new),
        lambda old, new, axis: new.min(axis=axis) - old.min(axis=axis),
        paired=paired,
        vectorized=True,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    found = difference_of_minima(old, new, paired=paired)
    assert found == (sampled.low, sampled.high)
    assert found[0] <= new.min() - old.min() <= found[1]


def test_interval_of_minima_of_many_values_is_that_of_the_lowest() -> None:
    old, new = np.arange(1e5), np.arange(1e5) + 0.5
    assert difference_of_minima(old, new, paired=False) == (-2.5, 3.5)
    assert difference_of_minima(old, new, paired=True) == (0.5, 0.5)


def test_interval_of_minima_may_be_beyond_the_largest_number() -> None:
    values = np.linspace(1.6e308, 1.7e308, 5)
    assert difference_of_minima(values, -values, paired=False) == (-math.inf, -math.inf)


def test_interval_of_minima_has_the_unit_of_its_values_however_large() -> None:
    old = np.random.default_rng(0).uniform(1, 2, size=20)
    small = difference_of_minima(old, old + 0.5, paired=False)
    large = difference_of_minima(1e300 * old, 1e300 * (old + 0.5), paired=False)
    assert large == pytest.approx([1e300 * end for end in small])


def test_log_ratio_is_that_of_the_means_averaged_over_groups() -> None:
    groups = [([2.0, 6.0], [1.0, 1.0]), ([1.0], [4.0])]
    assert log_ratio(groups) == pytest.approx(0.0)
    assert log_ratio(groups[:1]) == pytest.approx(math.log(4))


def test_paired_repetitions_cancel_what_both_share() -> None:
    groups = [([1.0, 10.0], [2.0, 20.0]), ([5.0, 1.0], [10.0, 2.0])]
    assert log_ratio_interval(groups, paired=True) == pytest.approx((-math.log(2), -math.log(2)))
    low, high = log_ratio_interval(groups, paired=False)
    assert low < -math.log(2) < high


def test_log_ratio_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        pairs = [(np.exp(generator.normal(0.3, 0.5, 1)), np.ones(1)) for _ in range(20)]
        low, high = log_ratio_interval(pairs, paired=True, seed=seed)
        covered += low <= 0.3 <= high
    assert 85 <= covered <= 99
