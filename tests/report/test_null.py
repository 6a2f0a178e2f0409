"""A search that is repeated with another seed is no saving, however early it matched."""

from __future__ import annotations

import optuna
import pytest
from searches import Pair, search_pair

from galatune.report.savings import account

PAIRS = 20
MOST = 2


def pairs(noise: float, *, rate_is_set: bool = False) -> list[Pair]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return [search_pair(seed, noise=noise, rate_is_set=rate_is_set, trials=30) for seed in range(PAIRS)]


def claims(found: list[Pair]) -> int:
    """How many of the pairs the headline calls a saving; the sentences agree with the numbers."""
    reports = [account(pair.old, pair.shrunk) for pair in found]
    for report in reports:
        begins = report.verdict.saved.startswith(("nothing", "no "))
        assert begins != report.saved.claimed
    return sum(report.saved.claimed for report in reports)


def first_touches(found: list[Pair]) -> int:
    """How many a report calls a saving that only asks which search touched the old best sooner."""
    return sum((account(pair.old, pair.plain).saved.trials or 0) > 0 for pair in found)


@pytest.fixture(scope="module")
def again() -> list[Pair]:
    """The old search once more, with another seed."""
    return pairs(0.005)


def test_the_old_search_again_is_called_no_saving(again: list[Pair]) -> None:
    assert claims(again) <= MOST


def test_the_first_touch_would_have_called_it_one(again: list[Pair]) -> None:
    assert first_touches(again) > MOST


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.001, 0.02, 0.05])
def test_the_null_holds_whatever_the_noise(noise: float) -> None:
    found = pairs(noise)
    assert claims(found) <= MOST
    assert first_touches(found) > MOST


@pytest.mark.slow
def test_a_search_whose_rate_is_set_well_is_called_a_saving() -> None:
    assert claims(pairs(0.0, rate_is_set=True)) > 2 * MOST
