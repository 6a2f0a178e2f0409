"""How early a random order of the old trials reaches the old best, and how early real second searches do."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from galatune.bench.studies.meter import TrialCost
from galatune.bench.studies.unit import AGAIN, OLD, Outcome, Unit
from galatune.bench.studies.ways import NULL
from galatune.report.random_order import probability_within
from galatune.study.ledger.match import goal_of, trials_to_reach
from galatune.study.ledger.rows import Ledger, TrialRow

__all__ = ["SecondSearches", "second_searches"]

TOLERANCE = 0.01
"""Fraction of |median - best| of the old values that counts as no difference, as in `galatune run`."""

FIRST = (5, 10, 15, 20)
"""Numbers of trials that are looked at."""


@dataclass(frozen=True)
class SecondSearches:
    """How many second searches had reached the old best after so many trials.

    Attributes:
        first: Number of trials.
        random_order: Mean probability that a random order of the old trials reaches it, see
            `galatune.report.random_order`.
        found: Share of the second searches that reached it.
        pairs: Number of pairs of an old study and the same search with another seed on fresh rows.
    """

    first: int
    random_order: float
    found: float
    pairs: int


def second_searches(outcomes: Iterable[Outcome]) -> list[SecondSearches]:
    """Compare the two over all pairs; an empty list if there is none.

    Args:
        outcomes: Of a testbed; the old studies and the null in the setting "again" are used.
    """
    found = {outcome.unit: outcome for outcome in outcomes if outcome.error is None}
    pairs = [
        (found[old].trials, outcome.trials)
        for unit, outcome in found.items()
        if unit.way == NULL.name and unit.setting == AGAIN
        if (old := Unit(unit.objective, AGAIN, OLD, unit.seed)) in found
    ]
    return [_at(first, pairs) for first in FIRST] if pairs else []


def _at(first: int, pairs: list[tuple[tuple[TrialCost, ...], tuple[TrialCost, ...]]]) -> SecondSearches:
    expected, reached = [], []
    for old_trials, new_trials in pairs:
        old, new = _ledger(old_trials), _ledger(new_trials)
        goal = goal_of(old, TOLERANCE)
        assert goal is not None
        good = sum(goal.reached(row.value) for row in old.complete)
        expected.append(probability_within(len(old.finished), good, first))
        needed = trials_to_reach(new, goal)
        reached.append(float(needed is not None and needed <= first))
    return SecondSearches(first, statistics.fmean(expected), statistics.fmean(reached), len(pairs))


def _ledger(trials: tuple[TrialCost, ...]) -> Ledger:
    rows = [
        TrialRow(i, trial.state, None if trial.value is None else (trial.value,))
        for i, trial in enumerate(trials)
    ]
    return Ledger("study", ("minimize",), tuple(rows))
