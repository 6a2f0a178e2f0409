"""Which comparisons count, named before the first full run, and what the results say of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from galatune.bench.studies.unit import AGAIN, OLD, SHARES, Axis, Outcome, Unit
from galatune.bench.studies.ways import NULL, WAYS
from galatune.statistics import Mean, holm, mean_over_groups

__all__ = ["NAMED", "Judged", "Named", "Regime", "Testbed", "judge"]

Regime = Literal["again", "moved"]

OURS = ("galatune", "galatune-prior")
"""The ways that the named comparisons are about: from nothing, and with the good rates of the old study."""

RIVALS: Mapping[Regime, tuple[str, ...]] = {"again": ("null", "fixed"), "moved": ("fixed", "hyperband")}

PARTIAL = (0, 1)
"""Places in `SHARES` at which they are compared: a third and two thirds of the old search's cost."""

LAST = len(SHARES) - 1

FARTHEST = math.log(10.0)
"""Largest |ln ratio| of a unit: a training that diverged is ten times as bad, not infinitely."""

MATCH = math.log(1.01)
"""So close to what the null has in the end counts as reached."""

SMALLEST_LOSS = 1e-12


@dataclass(frozen=True)
class Named:
    """One comparison that counts.

    Attributes:
        regime: "again" or "moved".
        ours: A way.
        rival: Another one.
        share: Place in `SHARES`.
    """

    regime: Regime
    ours: str
    rival: str
    share: int


NAMED = tuple(
    Named(regime, ours, rival, share)
    for ours in OURS
    for regime, rivals in RIVALS.items()
    for rival in rivals
    for share in PARTIAL
)
"""All comparisons that count; everything else in the tables is description."""


@dataclass(frozen=True)
class Judged:
    """What the results say of a named comparison.

    Attributes:
        named: Which.
        difference: Mean ln(test loss of ours / test loss of the rival) over objectives: above 0 is worse.
        adjusted: Its probability by chance alone, adjusted with Holm's method for the comparisons of the same
            way of ours; None with one objective.
    """

    named: Named
    difference: Mean
    adjusted: float | None


class Testbed:
    """Outcomes, looked up and compared.

    Args:
        outcomes: Of `galatune.bench.studies.testbed.run_testbed`; failed ones are set apart.
    """

    __test__ = False  # no class of tests

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self.outcomes = outcomes = list(outcomes)
        self._found = {outcome.unit: outcome for outcome in outcomes if outcome.error is None}
        self.failed = [outcome for outcome in outcomes if outcome.error is not None]
        settings = {unit.setting for unit in self._found if unit.way == NULL.name}
        self.settings = sorted(settings, key=lambda setting: (setting != AGAIN, setting))
        self.ways = [name for name in WAYS if any(unit.way == name for unit in self._found)]
        self.objectives = sorted({unit.objective for unit in self._found})
        self.seeds = sorted({unit.seed for unit in self._found})

    def regime(self, name: Regime) -> list[str]:
        """Settings of a regime."""
        return [setting for setting in self.settings if (setting == AGAIN) == (name == "again")]

    def count(self, settings: Sequence[str], way: str) -> int:
        """Number of units that a way has a result for."""
        return sum(1 for _ in self.of(settings, way))

    def log_ratio(
        self,
        settings: Sequence[str],
        way: str,
        rival: str,
        share: int,
        rival_share: int,
        axis: Axis = "seconds",
    ) -> Mean | None:
        """Mean over objectives of ln(test loss of a way / that of a rival), each at a share of the cost.

        Args:
            settings: Over which; within an objective its settings and seeds are averaged.
            way: Name of a way.
            rival: Name of another.
            share: Place in `SHARES`, for the way.
            rival_share: The same for the rival.
            axis: In what the cost is counted.

        Returns:
            None if no unit has both.
        """
        groups: dict[str, list[float]] = {}
        for outcome in self.of(settings, way):
            unit = outcome.unit
            other = self._found.get(Unit(unit.objective, unit.setting, rival, unit.seed))
            if other is not None:
                ratio = _log_ratio(outcome.losses(axis, share), other.losses(axis, rival_share))
                groups.setdefault(unit.objective, []).append(ratio)
        return mean_over_groups(list(groups.values())) if groups else None

    def regret(
        self,
        settings: Sequence[str],
        way: str,
        rivals: Sequence[str],
        share: int,
        axis: Axis = "seconds",
        *,
        beside: Sequence[str] = (),
    ) -> Mean | None:
        """Mean over objectives of ln(test loss of a way / that of the best rival in the same unit).

        The best rival is picked on the same test losses, so a regret holds the luck of that pick as well:
        compare regrets of several ways with one another.

        Args:
            settings: See `log_ratio`, like the following.
            way: Name of a way.
            rivals: Names of others.
            share: Place in `SHARES`, for all of them.
            axis: In what the cost is counted.
            beside: Ways that a unit needs a result of as well, so that several regrets are of the same units.

        Returns:
            None if no unit has them all.
        """
        groups: dict[str, list[float]] = {}
        for outcome in self.of(settings, way):
            unit = outcome.unit
            found = {one: self._found.get(replace(unit, way=one)) for one in (*rivals, *beside)}
            if any(one is None for one in found.values()):
                continue
            losses = outcome.losses(axis, share)
            ratios = [_log_ratio(losses, found[one].losses(axis, share)) for one in rivals]  # type: ignore[union-attr]
            groups.setdefault(unit.objective, []).append(max(ratios))
        return mean_over_groups(list(groups.values())) if groups else None

    def per_trial(self, settings: Sequence[str], way: str, axis: Axis) -> float | None:
        """Cost of a trial in relation to one of the null, geometric mean over units; None without trials."""
        ratios = []
        for outcome in self.of(settings, way) if WAYS[way].searches else ():
            null, mine = self.null(outcome.unit).spent, outcome.spent
            ratios.append(math.log(mine.at(axis) / mine.trials) - math.log(null.at(axis) / null.trials))
        return math.exp(statistics.fmean(ratios)) if ratios else None

    def reached(self, settings: Sequence[str], way: str, axis: Axis = "seconds") -> list[tuple[float, float]]:
        """What it cost to come within 1 % of the null's end, per unit, in costs of the null.

        Returns:
            The new cost alone, and old and new together; infinity if it was not reached.
        """
        return [self._reached(outcome, axis) for outcome in self.of(settings, way)]

    def _reached(self, outcome: Outcome, axis: Axis) -> tuple[float, float]:
        unit, way = outcome.unit, WAYS[outcome.unit.way]
        null = self.null(unit)
        goal = null.losses(axis, LAST)
        near = [i for i in range(len(SHARES)) if _log_ratio(outcome.losses(axis, i), goal) <= MATCH]
        if not near:
            return math.inf, math.inf
        new = SHARES[near[0]] if way.searches else 0.0
        old = self._found[Unit(unit.objective, AGAIN, OLD, unit.seed)].spent.at(axis)
        return new, new + (old / null.spent.at(axis) if way.knows else 0.0)

    def of(self, settings: Sequence[str], way: str) -> Iterable[Outcome]:
        """Outcomes of a way in these settings, without those that failed."""
        return (one for unit, one in self._found.items() if unit.way == way and unit.setting in settings)

    def null(self, unit: Unit) -> Outcome:
        """The old search run again, in the same objective, setting and seed."""
        return self._found[Unit(unit.objective, unit.setting, NULL.name, unit.seed)]


def judge(testbed: Testbed) -> list[Judged]:
    """All named comparisons that the results can tell of, adjusted for being so many."""
    return [judged for ours in OURS for judged in _judge(testbed, ours)]


def _judge(testbed: Testbed, ours: str) -> list[Judged]:
    found = []
    for named in (named for named in NAMED if named.ours == ours):
        settings = testbed.regime(named.regime)
        difference = testbed.log_ratio(settings, named.ours, named.rival, named.share, named.share)
        if difference is not None:
            found.append((named, difference))
    adjusted: list[float | None] = [*holm([d.p for _, d in found if d.p is not None])]
    adjusted += [None] * (len(found) - len(adjusted))
    return [Judged(named, d, p) for (named, d), p in zip(found, adjusted, strict=True)]


def _log_ratio(losses: Sequence[float], others: Sequence[float]) -> float:
    """Ln of the ratio of two means, at most `FARTHEST` from 0; a loss that is not finite is the worst."""
    mine, other = statistics.fmean(losses), statistics.fmean(others)
    if not math.isfinite(mine) or not math.isfinite(other):
        return FARTHEST * (math.isfinite(other) - math.isfinite(mine))
    ratio = math.log(max(mine, SMALLEST_LOSS) / max(other, SMALLEST_LOSS))
    return max(-FARTHEST, min(FARTHEST, ratio))
