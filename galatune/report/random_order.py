"""How early a random order of the old trials would have reached what the smaller search reached.

A search that is repeated with another seed comes near its old best sooner or later by chance. If m of the n
old trials are within the margin of the goal, and the old trials are put into a random order, then

    P(at least one of the m is among the first k) = 1 - C(n - m, k) / C(n, k)

A saving is claimed only if this probability is small at the number k of configurations that the smaller
search tried. docs/accounting.md states the rule.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from galatune.study.ledger.match import Goal
from galatune.study.ledger.rows import Ledger

__all__ = ["CHANCE", "RandomOrder", "median_first", "probability_within", "random_order"]

CHANCE = 0.1
"""A saving that a random order reaches with a greater probability is not claimed."""

DIGITS = 12
"""To which a probability is rounded, so that 4 of 40 trials are 0.1 and not a little more."""

NO_SEARCH = ("repeat", "pilot", "confirm")
"""Stages whose trials run a configuration that is known already: no draw, so no chance of a lucky one."""


@dataclass(frozen=True)
class RandomOrder:
    """A random order of the old trials.

    Attributes:
        old_trials: Finished trials of the old study, n.
        within_margin: How many of them are within the margin of the goal, m; at least the one that set it.
        trials: Configurations that the smaller search tried up to its match, k: repeats of the old best,
            pilot and confirmations are left out. None if it did not match.
        probability: Chance that a random order of the old trials reaches the goal within k trials.
        median_trials: Number of trials within which it does so with a probability of one half.
        measured: Whether these numbers are known; not so with several objectives.
    """

    old_trials: int
    within_margin: int | None
    trials: int | None
    probability: float | None
    median_trials: int | None
    measured: bool

    @property
    def explains(self) -> bool:
        """Whether chance explains the match, or nobody can say."""
        return self.probability is None or self.probability > CHANCE


def random_order(
    baseline: Ledger, shrunk: Ledger, goal: Goal | None, shrunk_trials: int | None
) -> RandomOrder:
    """Ask how early a random order of the old trials reaches the goal.

    Args:
        baseline: The old study.
        shrunk: The smaller one.
        goal: What has to be reached; None if the old study sets none.
        shrunk_trials: Finished trials of the smaller study up to its match, None if it did not match.
    """
    count = len(baseline.finished)
    if goal is None or goal.reference_point is not None or not baseline.complete:
        return RandomOrder(count, None, None, None, None, False)
    within = max(1, sum(goal.reached(row.value) for row in baseline.complete))
    tried = None
    if shrunk_trials is not None:
        tried = sum(row.stage not in NO_SEARCH for row in shrunk.finished[:shrunk_trials])
    chance = None if tried is None else probability_within(count, within, tried)
    return RandomOrder(count, within, tried, chance, median_first(count, within), True)


def probability_within(trials: int, good: int, first: int) -> float:
    """Chance that at least one of the good trials is among the first of a random order.

    Args:
        trials: Number of all trials, n.
        good: Number of good ones among them, m.
        first: Number of trials looked at, k; more than n count as n.

    Examples:
        >>> probability_within(40, 1, 4), probability_within(40, 37, 4)
        (0.1, 1.0)
    """
    fewer, more = sorted((min(first, trials), good))  # the two change places in the formula
    none = math.prod((trials - more - i) / (trials - i) for i in range(fewer))
    return round(1.0 - max(none, 0.0), DIGITS)


def median_first(trials: int, good: int) -> int | None:
    """Fewest trials within which a random order finds a good one with a probability of one half.

    Examples:
        >>> median_first(40, 1), median_first(40, 4), median_first(40, 0)
        (20, 7, None)
    """
    if good < 1:
        return None
    enough = range(1, trials + 1)
    return 1 + bisect_left(enough, 0.5, key=lambda first: probability_within(trials, good, first))
