"""What results say: planted differences are found, and none is found where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from galatune.bench.studies.comparisons import NAMED, Testbed, judge
from galatune.bench.studies.meter import TrialCost
from galatune.bench.studies.search import best_at
from galatune.bench.studies.second_searches import second_searches
from galatune.bench.studies.suites import choose
from galatune.bench.studies.text import studies_tables, studies_words
from galatune.bench.studies.unit import AXES, OLD, Budget, Outcome, Unit
from galatune.errors import GalatuneError

WAYS = ("null", "no-search", "fixed", "hyperband", "galatune")
OBJECTIVES = tuple("abcdef")


def outcomes(factors: dict[str, float], noise: float = 0.02, seeds: int = 5) -> list[Outcome]:
    """Made-up results: each way's test loss is that of the null times its factor, with noise."""
    generator = np.random.default_rng(0)
    trial = TrialCost(1.0, "COMPLETE", {"lr": 0.1}, 2.0, 100)
    found = []
    for objective in OBJECTIVES:
        for seed in range(seeds):
            found.append(Outcome(Unit(objective, "again", OLD, seed), (trial,)))
            for setting in ("again", "epochs x 4"):
                for way in WAYS:
                    loss = factors.get(way, 1.0) * math.exp(noise * generator.standard_normal())
                    places = dict.fromkeys(AXES, (0, 0, 0))
                    found.append(Outcome(Unit(objective, setting, way, seed), (trial,), places, {0: (loss,)}))
    return found


def verdicts(factors: dict[str, float]) -> dict[tuple[str, str], float]:
    judged = judge(Testbed(outcomes(factors)))
    assert [one.named for one in judged] == [one for one in NAMED if one.ours in WAYS]
    return {(one.named.regime, one.named.rival): one.adjusted or 0.0 for one in judged}


def test_a_way_that_is_five_percent_worse_is_found() -> None:
    found = verdicts({"galatune": 1.05})
    assert all(p < 0.05 for p in found.values())


def test_ways_that_are_alike_are_undecided() -> None:
    found = verdicts({})
    assert all(p > 0.05 for p in found.values())


def test_a_training_that_diverged_counts_as_ten_times_as_bad() -> None:
    testbed = Testbed(outcomes({"galatune": math.inf}, noise=0.0))
    mean = testbed.log_ratio(["again"], "galatune", "null", 2, 2)
    assert mean is not None
    assert mean.value == pytest.approx(math.log(10))


def test_the_ledger_of_old_and_new_adds_the_old_study_to_ways_that_know_it() -> None:
    testbed = Testbed(outcomes({}, noise=0.0))
    assert set(testbed.reached(["again"], "fixed")) == {(1 / 3, 4 / 3)}
    assert set(testbed.reached(["again"], "galatune")) == {(1 / 3, 1 / 3)}
    assert set(testbed.reached(["again"], "no-search")) == {(0.0, 1.0)}


def test_what_is_never_reached_costs_infinitely() -> None:
    testbed = Testbed(outcomes({"fixed": 1.1}, noise=0.0))
    assert set(testbed.reached(["again"], "fixed")) == {(math.inf, math.inf)}


def test_the_best_so_far_is_looked_up_by_what_was_spent() -> None:
    trials = [
        TrialCost(None, "PRUNED", {}, 1.0, 10),
        TrialCost(3.0, "COMPLETE", {}, 2.0, 30),
        TrialCost(2.0, "COMPLETE", {}, 6.0, 40),
        TrialCost(1.0, "COMPLETE", {}, 9.0, 90),
    ]
    budget = Budget(9.0, 90.0, 4.0)
    assert best_at(trials, "seconds", budget) == (1, 2, 3)
    assert best_at(trials, "gradients", budget) == (1, 2, 3)
    assert best_at(trials, "trials", budget) == (1, 1, 3)


def test_tables_and_words_name_the_best_way_and_a_bench_that_is_too_small() -> None:
    small = Testbed(outcomes({"hyperband": 0.8}, seeds=1))
    words = list(studies_words(small))
    assert "Hyperband, from nothing (0.8" in words[0]
    assert any("Too small to claim anything: 6 objectives and 1 seed" in line for line in words)
    assert not any("Too small" in line for line in studies_words(Testbed(outcomes({}))))
    titles = [str(table.title) for table in studies_tables(small)]
    assert sum(title.startswith("Named before the first run") for title in titles) == 1
    assert sum(title.startswith("again: test loss") for title in titles) == len(AXES)


def test_a_random_order_stands_beside_second_searches() -> None:
    def searched(values: list[float], way: str) -> Outcome:
        trials = tuple(TrialCost(value, "COMPLETE", {}, i + 1.0, i + 1) for i, value in enumerate(values))
        return Outcome(Unit("a", "again", way, 0), trials)

    old = searched([9.0, 8.0, 7.0, 6.0, 5.0, 1.0, 9.0, 9.0, 9.0, 9.0], OLD)
    new = searched([9.0] * 7 + [1.0, 9.0, 9.0], "null")
    five, ten, *_ = second_searches([old, new])
    assert (five.first, five.random_order, five.found) == (5, 0.5, 0.0)
    assert (ten.first, ten.random_order, ten.found) == (10, 1.0, 1.0)
    assert second_searches([old]) == []


def test_seeds_that_are_held_out_need_a_frozen_method() -> None:
    with pytest.raises(GalatuneError, match="at most 5, however: 6"):
        choose("full", None, None, None, 6, None)
    assert choose("full", None, None, None, None, "abc123").seeds == (5, 6, 7, 8, 9)
    assert choose("full", None, None, None, None, None).seeds == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("option", ["objectives", "settings", "ways"])
def test_an_unknown_name_lists_those_that_there_are(option: str) -> None:
    given = {"objectives": None, "settings": None, "ways": None} | {option: "nothing"}
    with pytest.raises(GalatuneError, match=r"'nothing'.*separated by commas"):
        choose("quick", **given, seeds=None, frozen=None)
