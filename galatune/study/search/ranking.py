"""The best trials of a study, in order."""

from __future__ import annotations

import math
from collections.abc import Iterator

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.constraints import feasible

__all__ = ["best_first", "is_scored"]


def is_scored(trial: FrozenTrial) -> bool:
    """Whether a trial is COMPLETE with finite values and feasible."""
    complete = trial.state == TrialState.COMPLETE and trial.values is not None
    return complete and feasible(trial) and all(map(math.isfinite, trial.values))


def best_first(study: optuna.Study, trials: list[FrozenTrial]) -> Iterator[FrozenTrial]:
    """By value; with several objectives front by front, each of them from its ends to its middle."""
    signs = [-1 if d == StudyDirection.MAXIMIZE else 1 for d in study.directions]
    points = {t.number: tuple(s * v for s, v in zip(signs, t.values, strict=True)) for t in trials}
    left = sorted(trials, key=lambda trial: points[trial.number])
    if len(signs) == 1:
        yield from left
        return
    while left:
        front = [t for t in left if not any(_beats(points[o.number], points[t.number]) for o in left)]
        numbers = {trial.number for trial in front}
        left = [trial for trial in left if trial.number not in numbers]
        yield from (front[place] for place in _from_the_ends(len(front)))


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _from_the_ends(count: int) -> list[int]:
    """Places from 0, so that however many one takes, they lie far apart.

    >>> _from_the_ends(5)
    [0, 4, 2, 1, 3]
    """
    order, gaps = [0, count - 1][:count], [(0, count - 1)]
    for low, high in gaps:
        middle = (low + high) // 2
        if low < middle < high:
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return order
