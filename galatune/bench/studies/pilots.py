"""What pilots chose in the testbed, what they cost, and the regret of their choice beside two fixed rules."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from galatune.bench.studies.comparisons import Testbed
from galatune.bench.studies.piloted_search import GOES_ON
from galatune.bench.studies.unit import SHARES, Axis, Outcome, PilotNote
from galatune.statistics import Mean

__all__ = ["ALWAYS", "PILOT", "Chosen", "RuleRegret", "chosen", "regrets"]

PILOT = "galatune-pilot"

ALWAYS = (GOES_ON["fixed"], GOES_ON["controlled"])
"""The two rules without a pilot."""


@dataclass(frozen=True)
class Chosen:
    """How often pilots chose a way.

    Attributes:
        way: Name of the way in which the search went on; None for all of them together.
        units: How often.
        undecided: How many of these were undecided.
        pairs: Mean complete pairs.
        repeats_cost: Mean cost of the repeats before the pairs, in costs of the whole old search.
        pairs_cost: Mean cost of the pairs.
    """

    way: str | None
    units: int
    undecided: int
    pairs: float
    repeats_cost: float
    pairs_cost: float


@dataclass(frozen=True)
class RuleRegret:
    """Regret of a rule at each of `SHARES` of the old search's cost.

    Attributes:
        way: Name of the way that stands for the rule.
        means: Mean ln(test loss / that of the better of `ALWAYS`), the pilot's cost included; None if no unit
            has all three.
    """

    way: str
    means: tuple[Mean | None, ...]


def chosen(testbed: Testbed, settings: Sequence[str], axis: Axis = "gradients") -> list[Chosen]:
    """What pilots chose; an empty list if there was none.

    Args:
        testbed: The outcomes.
        settings: Over which.
        axis: In what the cost is counted.
    """
    found = [
        (outcome, outcome.pilot, testbed.null(outcome.unit).spent.at(axis))
        for outcome in testbed.of(settings, PILOT)
        if outcome.pilot is not None
    ]
    if not found:
        return []
    ways = [way for way in GOES_ON.values() if any(note.way == way for _, note, _ in found)]
    groups = [(way, [one for one in found if one[1].way == way]) for way in ways]
    return [_chosen(way, group, axis) for way, group in [*groups, (None, found)]]


def _chosen(way: str | None, found: Sequence[tuple[Outcome, PilotNote, float]], axis: Axis) -> Chosen:
    costs = [
        (_spent(one, note.repeats, axis) / whole, _spent(one, note.trainings, axis) / whole)
        for one, note, whole in found
    ]
    return Chosen(
        way=way,
        units=len(found),
        undecided=sum(note.verdict == "undecided" for _, note, _ in found),
        pairs=statistics.fmean(note.pairs for _, note, _ in found),
        repeats_cost=statistics.fmean(repeats for repeats, _ in costs),
        pairs_cost=statistics.fmean(both - repeats for repeats, both in costs),
    )


def _spent(outcome: Outcome, trials: int, axis: Axis) -> float:
    """By the first trials of an outcome."""
    if axis == "trials" or not trials:
        return float(trials)
    return float(getattr(outcome.trials[trials - 1], axis))


def regrets(testbed: Testbed, settings: Sequence[str], axis: Axis) -> list[RuleRegret]:
    """Regret of the pilot's choice, of always fixing the rate, and of always controlling it.

    Args:
        testbed: The outcomes.
        settings: Over which.
        axis: In what the cost is counted.
    """
    rules = (PILOT, *ALWAYS)
    return [
        RuleRegret(
            way,
            tuple(
                testbed.regret(settings, way, ALWAYS, share, axis, beside=rules)
                for share in range(len(SHARES))
            ),
        )
        for way in rules
    ]
