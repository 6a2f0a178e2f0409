from __future__ import annotations

import math

import numpy as np
import pytest

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


def test_interval_of_minima_repeats_with_its_seed() -> None:
    draw = np.random.default_rng(0)
    old, new = draw.normal(size=20), draw.normal(size=12)
    found = [difference_of_minima(old, new, paired=False, seed=seed) for seed in (1, 1, 2)]
    assert found[0] == found[1]
    assert found[0][0] <= new.min() - old.min() <= found[0][1]


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
