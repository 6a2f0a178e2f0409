"""Whether a search has reached what the old study reached, and after how many trials.

Inside this file every score is "smaller is better": an objective value, negated if it is maximized,
or a negated hypervolume if there are several objectives.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from galatune.study.ledger.confirmation import confirmations
from galatune.study.ledger.rows import Ledger, TrialRow

__all__ = [
    "Goal",
    "Repeats",
    "best_so_far",
    "goal_of",
    "hypervolume",
    "oriented",
    "trials_since_best",
    "trials_to_reach",
]

Point = tuple[float, ...]


@dataclass(frozen=True)
class Repeats:
    """The old study's best configuration, run again at its own rates, without control and with other seeds.

    Attributes:
        asked: How many repeats were run.
        values: Values of those that are COMPLETE, in the units and sign of the objective.
        old_best: The value that the old study saw, which was selected for being the best.
        spread: Standard deviation of one repeat; None with fewer than two values.
    """

    asked: int
    values: tuple[float, ...]
    old_best: float
    spread: float | None

    @property
    def mean(self) -> float | None:
        """Mean of `values`, None if there is none; `old_best` is no part of it."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def standard_error(self) -> float | None:
        """Of the mean, in the units of the objective; None if the spread is unknown."""
        return None if self.spread is None or not self.values else self.spread / math.sqrt(len(self.values))


@dataclass(frozen=True)
class Goal:
    """What counts as "the same value as the old study's best".

    Attributes:
        directions: "minimize" or "maximize", one per objective.
        tolerance: Fraction of `scale` that counts as no difference.
        best: Mean of the repeats of the old study's best configuration, in its own units and sign; without
            them the old best itself, which is one lucky value; the old hypervolume if there are several
            objectives.
        scale: Distance from the old median to the old best, in the units of the objective; the old
            hypervolume if there are several.
        threshold: A trial at least this good matches, in the units and sign of `best`.
        reference_point: Of the hypervolume, in the objectives' own signs; None with one objective.
        repeats: What the old best configuration reached when it was run again; None if it was not.
    """

    directions: tuple[str, ...]
    tolerance: float
    best: float
    scale: float
    threshold: float
    reference_point: Point | None = None
    repeats: Repeats | None = None

    @property
    def margin(self) -> float:
        """Differences up to this size count as none, in the units of the objective.

        The larger of tolerance x scale and one standard error of the mean of the repeats.
        """
        error = None if self.repeats is None else self.repeats.standard_error
        return max(self.tolerance * self.scale, error or 0.0)

    @property
    def bigger_is_better(self) -> bool:
        """Whether a bigger `best` is a better one; always so for a hypervolume."""
        return self.reference_point is not None or self.directions[0] == "maximize"

    def reached(self, score: float | None) -> bool:
        """Whether a value in the sign of `best` matches."""
        if score is None:
            return False
        return score >= self.threshold if self.bigger_is_better else score <= self.threshold


def goal_of(old: Ledger, tolerance: float) -> Goal | None:
    """The goal that an old study sets.

    Args:
        old: The old study; only COMPLETE trials with finite values count.
        tolerance: Fraction of |median - best| (of the hypervolume, with several objectives).

    Returns:
        None if no trial is COMPLETE: there is nothing to match.

    Examples:
        >>> rows = [TrialRow(i, "COMPLETE", (v,)) for i, v in enumerate([5.0, 2.0, 1.0])]
        >>> goal_of(Ledger("s", ("minimize",), tuple(rows)), tolerance=0.1).threshold
        1.1
    """
    points = [oriented(row, old.directions) for row in old.complete]
    if not points:
        return None
    if len(old.directions) == 1:
        sign = -1.0 if old.directions[0] == "maximize" else 1.0
        values = [point[0] for point in points]
        best = min(values)
        scale = min(abs(statistics.median(values) - best), sys.float_info.max)
        return Goal(old.directions, tolerance, sign * best, scale, sign * (best + tolerance * scale))
    reference = tuple(_beyond_worst(column) for column in zip(*points, strict=True))
    volume = hypervolume(points, reference)
    own_signs = _flip(reference, old.directions)
    return Goal(old.directions, tolerance, volume, volume, volume * (1 - tolerance), own_signs)


def best_so_far(search: Ledger, goal: Goal) -> tuple[float | None, ...]:
    """Best value (hypervolume with several objectives) after each finished trial, in trial order.

    Args:
        search: Either study.
        goal: Number of objectives, and the reference point of their hypervolume.

    Returns:
        One entry a finished trial, None before the first COMPLETE one.
    """
    history: list[float | None] = []
    front: list[Point] = []
    for row in search.finished:
        latest = history[-1] if history else None
        if row.scored:
            point = oriented(row, goal.directions)
            if not any(_covers(other, point) for other in front):
                front = [p for p in front if not _covers(point, p)] + [point]
                latest = _score(front, goal)
        history.append(latest)
    return tuple(history)


def trials_since_best(search: Ledger, goal: Goal) -> int:
    """Finished trials since the best value was last improved; the arguments are those of `best_so_far`."""
    history = best_so_far(search, goal)
    return len(history) - 1 - history.index(history[-1])


def trials_to_reach(search: Ledger, goal: Goal, *, confirmed: bool = False) -> int | None:
    """Number of finished trials up to and including the first one that matches, by trial number.

    Every finished trial before it counts, failed, pruned and repeated ones too. A pruned trial never
    matches.

    Args:
        search: Either study.
        goal: What has to be reached.
        confirmed: If the study holds trials of the stage "confirm", only the mean of such repeats of one
            configuration can match: the trials up to the last of them are counted.

    Returns:
        None if it was not reached.
    """
    if goal.reference_point is not None:
        reached = [goal.best > 0 and goal.reached(volume) for volume in best_so_far(search, goal)]
    else:
        found = confirmations(search, goal) if confirmed else ()
        ends = {one.rows[-1].number for one in found if one.confirmed}
        reached = [
            row.number in ends if found else row.scored and goal.reached(row.value) for row in search.finished
        ]
    return reached.index(True) + 1 if True in reached else None


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Volume between a set of points and a reference point, every objective minimized.

    Optuna's own is private. This one slices along the last objective: exact, and quick enough for the
    fronts of a study.

    Args:
        points: Objective values.
        reference: Points that are not better than it in every objective add nothing.

    Returns:
        The volume, 0 if no point is better than the reference.

    Examples:
        >>> hypervolume([(0.0, 1.0), (1.0, 0.0)], (2.0, 2.0))
        3.0
    """
    inside = [p for p in points if all(x < r for x, r in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(p[0] for p in inside)
    ordered = sorted(inside, key=lambda p: p[-1])
    tops = [p[-1] for p in ordered[1:]] + [reference[-1]]
    slices = (
        (top - p[-1]) * hypervolume([q[:-1] for q in ordered[: i + 1]], reference[:-1])
        for i, (p, top) in enumerate(zip(ordered, tops, strict=True))
        if top > p[-1]
    )
    return sum(slices)


def oriented(row: TrialRow, directions: tuple[str, ...]) -> Point:
    """Values of a COMPLETE trial, signs turned so that smaller is better."""
    return _flip(row.values or (), directions)


def _flip(values: Sequence[float], directions: tuple[str, ...]) -> Point:
    signed = zip(values, directions, strict=True)
    return tuple(-value if direction == "maximize" else value for value, direction in signed)


def _beyond_worst(column: Sequence[float]) -> float:
    """The worst value and a tenth of the range more, so that the ends of a front count too."""
    return max(column) + 0.1 * (max(column) - min(column))


def _covers(one: Point, other: Point) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))


def _score(front: Sequence[Point], goal: Goal) -> float:
    if goal.reference_point is not None:
        return hypervolume(front, _flip(goal.reference_point, goal.directions))
    return -front[0][0] if goal.directions[0] == "maximize" else front[0][0]
