"""The choice of a pilot on simulated pairs whose truth is known, and what that is worth."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from galatune.statistics import interval_of_mean, smallest_detectable
from galatune.study.ledger.pilot_choice import LEAVE, Choice, PairValues, Terms, choose, confidence_at
from galatune.study.ledger.pilot_regret import regret_of_pilot, replayed

COSTS = {"controlled": 130.0, "fixed": 100.0}
MARGIN = 0.5


def drawn(generator: np.random.Generator, truth: float, count: int, spread: float = 1.0) -> list[PairValues]:
    """Pairs whose differences have this mean and spread; what they have in common cancels."""
    common = generator.normal(10.0, 5.0, count)
    differences = generator.normal(truth, spread, count)
    return [PairValues(c + d, c) for c, d in zip(common, differences, strict=True)]


def found(truth: float, *, most: int = 5, rounds: int = 400, spread: float = 1.0) -> list[Choice]:
    """Pilots over simulated pairs, each with new ones."""
    generator = np.random.default_rng(0)
    return [
        replayed(drawn(generator, truth, most, spread), Terms(most, MARGIN), COSTS)[0] for _ in range(rounds)
    ]


@pytest.mark.parametrize("most", [2, 3, 5])
@pytest.mark.parametrize("truth", [-2.0, 0.0, 2.0])
def test_the_interval_holds_the_truth_whatever_ended_the_pilot(truth: float, most: int) -> None:
    choices = found(truth, most=most)
    covered = sum(low <= truth <= high for low, high in (c.interval for c in choices if c.interval))
    assert covered / len(choices) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / len(choices))


@pytest.mark.parametrize("truth", [-6.0, -3.0, 3.0, 6.0])
def test_what_is_decided_is_right(truth: float) -> None:
    decided = [choice for choice in found(truth) if choice.decided]
    right = "controlled" if truth < 0 else "fixed"
    assert len(decided) >= 100
    assert sum(choice.way == right for choice in decided) >= 0.97 * len(decided)
    verdict = "go" if truth < 0 else "no-go"
    assert all((choice.verdict == verdict) == (choice.way == right) for choice in decided)


def test_no_difference_is_seldom_taken_for_one_that_matters() -> None:
    choices = found(0.0)
    beyond = [c for c in choices if c.interval and (c.interval[0] > 0 or c.interval[1] < 0)]
    assert len(beyond) <= 0.05 * len(choices) + 3 * math.sqrt(0.05 * len(choices))


@pytest.mark.parametrize(
    ("costs", "way"),
    [
        (COSTS, "fixed"),
        ({"controlled": 90.0, "fixed": 100.0}, "controlled"),
        ({"controlled": 100.0, "fixed": 100.0}, "fixed"),
        ({"controlled": 90.0, "fixed": None}, "fixed"),
        ({}, "fixed"),
    ],
)
def test_undecided_takes_the_cheaper_way_and_says_so(costs: dict, way: str) -> None:
    pairs = [PairValues(1.0, 0.0), PairValues(0.0, 1.2)]
    choice = choose(pairs, Terms(2, 0.1), costs)
    assert (choice.verdict, choice.way, choice.decided) == ("undecided", way, False)
    assert f"{way} is the cheaper way" in choice.why


def test_ways_that_are_equal_within_the_margin_are_decided_by_cost() -> None:
    pairs = [PairValues(1.0 + 0.01 * i, 1.0) for i in range(3)]
    assert choose(pairs, Terms(3, 1.0), COSTS).way == "fixed"
    choice = choose(pairs, Terms(3, 1.0), {"controlled": 50.0, "fixed": 100.0})
    assert (choice.way, choice.verdict, choice.decided) == ("controlled", "go", True)


def test_the_looks_share_one_error_probability() -> None:
    for most in range(2, 30):
        errors = [1 - confidence_at(look, most) for look in range(2, most + 1)]
        assert sum(errors) == pytest.approx(0.05)


def test_a_way_that_fails_alone_in_two_pairs_is_out() -> None:
    terms = Terms(5, 0.1)
    fails = [PairValues(None, 1.0), PairValues(None, 1.0)]
    assert choose(fails[:1], terms, COSTS).decided is False
    choice = choose(fails, terms, COSTS)
    assert (choice.way, choice.verdict, choice.decided, choice.interval) == ("fixed", "no-go", True, None)
    other = choose([PairValues(1.0, None), PairValues(1.0, None)], terms, COSTS)
    assert (other.way, other.verdict) == ("controlled", "go")
    mixed = choose([*fails, PairValues(1.0, None), PairValues(1.0, None)], terms, COSTS)
    assert not mixed.decided, "none of them fails more often"
    assert choose([PairValues(None, None)] * 2, terms, COSTS).way == LEAVE


def test_the_search_is_left_if_both_ways_lose_to_the_old_rates() -> None:
    lost = [PairValues(5.0 + 0.01 * i, 5.1 - 0.01 * i, own=1.0) for i in range(3)]
    choice = choose(lost, Terms(3, 0.2), COSTS)
    assert (choice.way, choice.verdict) == (LEAVE, "no-go")
    assert "lose to the old rates" in choice.why
    assert choose(lost, Terms(3, 0.2, own_error=5.0), COSTS).way != LEAVE, (
        "the old rates are not known so well"
    )
    assert choose(lost[:2], Terms(3, 0.2), COSTS).way != LEAVE, "the pilot is not over"
    one = [PairValues(pair.controlled, 1.0 + 0.01 * i, 1.0) for i, pair in enumerate(lost)]
    assert choose(one, Terms(3, 0.2), COSTS).way == "fixed"
    unknown = [PairValues(pair.controlled, pair.fixed) for pair in lost]
    assert choose(unknown, Terms(3, 0.2), COSTS).way != LEAVE


def test_a_rate_that_is_fixed_at_itself_says_nothing_of_what_fixing_loses() -> None:
    best = PairValues(5.0, 1.0, own=1.0, fixed_is_own=True)
    others = [PairValues(5.0 + 0.01 * i, 5.1 - 0.01 * i, own=1.0) for i in range(2)]
    assert choose([best, *others], Terms(3, 0.2), COSTS).way == LEAVE


def test_intervals_and_the_smallest_detectable_difference_are_those_of_student() -> None:
    values = [1.0, 2.0, 4.0]
    error = statistics.stdev(values) / math.sqrt(3)
    assert interval_of_mean(values, 0.95) == pytest.approx(
        (7 / 3 - 4.302653 * error, 7 / 3 + 4.302653 * error)
    )
    assert smallest_detectable(values) == pytest.approx((4.302653 + 1.060660) * error)
    assert interval_of_mean([1.0]) is None
    assert smallest_detectable([1.0]) is None


def test_as_many_pairs_as_said_tell_the_detectable_difference_in_most_pilots() -> None:
    """With a spread that is known to be 1 on average."""
    generator = np.random.default_rng(1)
    samples = generator.normal(0.0, 1.0, (400, 5))
    size = statistics.median(smallest_detectable(list(sample)) or 0.0 for sample in samples)
    intervals = [interval_of_mean(list(sample + size)) for sample in samples]
    told = sum(interval is not None and interval[0] > 0 for interval in intervals)
    assert 0.65 <= told / len(samples) <= 0.95


def curves(best: float, other: float) -> dict:
    """Searches that get better for 60 trainings."""
    falling = [1.0 / (1 + i) for i in range(60)]
    return {"controlled": [best + f for f in falling], "fixed": [other + f for f in falling]}


@pytest.mark.parametrize(("truth", "worst"), [(-6.0, "always_fixed"), (6.0, "always_controlled")])
def test_the_pilot_regrets_little_where_one_way_is_far_worse(truth: float, worst: str) -> None:
    generator = np.random.default_rng(2)
    ends = curves(max(truth, 0.0), max(-truth, 0.0))
    regrets = [
        regret_of_pilot(drawn(generator, truth, 5), Terms(5, MARGIN), COSTS, ends, 40 * COSTS["controlled"])
        for _ in range(100)
    ]
    mean = statistics.fmean(regret.pilot for regret in regrets)
    assert 0 < mean < 0.5 * statistics.fmean(getattr(regret, worst) for regret in regrets)
    assert all(min(regret.always_fixed, regret.always_controlled) == 0 for regret in regrets)


def test_the_cost_of_a_pilot_is_part_of_its_regret() -> None:
    pairs = [PairValues(1.0 + 0.001 * i, 2.0) for i in range(5)]
    one = {"controlled": 1.0, "fixed": 1.0}
    ends = {"controlled": [4.0, 3.0, 2.0, 1.0, 0.5, 0.0], "fixed": [9.0] * 6}
    found = regret_of_pilot(pairs, Terms(5, 0.1), one, ends, 6)
    assert (found.trainings, found.choice.way) == (4, "controlled")
    assert (found.pilot, found.always_controlled, found.always_fixed) == (3.0, 0.0, 9.0)
    with pytest.raises(ValueError, match="at least one training"):
        regret_of_pilot(pairs, Terms(5, 0.1), one, ends, 4)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        replayed(pairs[:1], Terms(5, 0.1), one)


def test_fewer_recorded_pairs_than_planned_are_all_that_there_are() -> None:
    choice, used = replayed([PairValues(1.0, 0.0), PairValues(0.0, 1.0)], Terms(5, 0.1), COSTS)
    assert (used, choice.confidence, choice.verdict) == (2, 0.95, "undecided")


def test_the_reason_says_what_the_interval_shows() -> None:
    terms = Terms(3, 0.1)
    better = choose([PairValues(1.0 + 0.01 * i, 0.0) for i in range(3)], terms, COSTS)
    assert better.interval is not None
    assert better.why == f"the fixed rate is at least {better.interval[0]:.4g} better than control"
    wide = choose([PairValues(d, 0.0) for d in (-0.02, 1.0, 1.5)], Terms(3, 1.5), COSTS)
    assert wide.why == "the fixed rate is at most the margin of 1.5 worse than control"
    other = choose([PairValues(-d, 0.0) for d in (-0.02, 1.0, 1.5)], Terms(3, 1.5), COSTS)
    assert other.why == "control is at most the margin of 1.5 worse than the fixed rate"
