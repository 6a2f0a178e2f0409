from __future__ import annotations

import numpy as np
import pytest
from fake_studies import fake_study

from galatune.report.savings import savings

RNG = np.random.default_rng(0)
VALUES = [float(v) for v in RNG.uniform(1.0, 2.0, size=40)]


def test_positive_is_worse_in_both_directions() -> None:
    low = savings(fake_study(VALUES), fake_study([v + 0.5 for v in VALUES], controlled=True)).quality
    high = savings(
        fake_study(VALUES, directions=("maximize",)),
        fake_study([v - 0.5 for v in VALUES], directions=("maximize",), controlled=True),
    ).quality
    assert low.difference == pytest.approx(0.5)
    assert high.difference == pytest.approx(0.5)
    assert low.verdict == high.verdict == "worse"


def test_clearly_smaller_values_are_better() -> None:
    quality = savings(fake_study(VALUES), fake_study([v - 2 for v in VALUES], controlled=True)).quality
    assert quality.verdict == "better"
    assert quality.interval is not None
    assert quality.interval[1] < 0


def test_identical_values_of_the_same_configurations_are_equal() -> None:
    quality = savings(fake_study(VALUES), fake_study(VALUES, controlled=True)).quality
    assert quality.pairs == len(VALUES)
    assert quality.interval == (0.0, 0.0)
    assert quality.verdict == "equal"


def test_configurations_that_differ_are_resampled_on_their_own() -> None:
    params = [{"width": 1000.0 + i} for i in range(len(VALUES))]
    quality = savings(fake_study(VALUES), fake_study(VALUES, controlled=True, params=params)).quality
    assert quality.pairs == 0
    assert quality.method.startswith("unpaired")
    assert quality.verdict == "undecided"


def test_pairs_that_miss_a_best_are_not_used() -> None:
    params = [{"width": float(i)} for i in range(len(VALUES))]
    params[int(np.argmin(VALUES))] = {"width": 999.0}
    assert savings(fake_study(VALUES), fake_study(VALUES, controlled=True, params=params)).quality.pairs == 0


def test_interval_holds_the_difference_and_repeats() -> None:
    new = [v + 0.01 * float(d) for v, d in zip(VALUES, RNG.normal(size=40), strict=True)]
    first, again = (savings(fake_study(VALUES), fake_study(new, controlled=True)).quality for _ in range(2))
    assert first == again
    assert first.interval is not None
    assert first.difference is not None
    assert first.interval[0] <= first.difference <= first.interval[1]


def test_few_trials_give_no_interval_and_no_verdict() -> None:
    quality = savings(fake_study(VALUES), fake_study(VALUES[:4], controlled=True)).quality
    assert quality.interval is None
    assert quality.verdict == "undecided"
    assert quality.measured


@pytest.mark.parametrize("size", [1e120, 1e300])
def test_an_interval_has_the_size_of_its_values_however_large(size: float) -> None:
    new = [v + 0.5 for v in VALUES]
    small = savings(fake_study(VALUES), fake_study(new, controlled=True)).quality
    quality = savings(
        fake_study([size * v for v in VALUES]), fake_study([size * v for v in new], controlled=True)
    ).quality
    assert small.interval is not None
    assert quality.interval == pytest.approx([size * bound for bound in small.interval], rel=1e-12)
    assert quality.verdict == small.verdict == "worse"
