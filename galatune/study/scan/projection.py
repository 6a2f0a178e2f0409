"""What the smaller search might cost, from the old study alone."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from galatune.formatting import duration
from galatune.study.ledger.trial_counts import TrialCounts, hours_of
from galatune.study.scan.grid import Grid

__all__ = ["MOST_ALIKE", "Projection", "hours_per_trial", "project"]

MOST_ALIKE = 3
"""Trials if nothing but rates was searched, so that they differ in their seed alone."""

COST_OF_CONTROL = "control adds 1 to 18 % on a CPU, 5 to 47 % on a GPU (galatune bench cost)"
"""Measured: docs/benchmarks.md, What a probe costs. A test compares the numbers."""


@dataclass(frozen=True)
class Projection:
    """What the smaller search might cost: never a measured number.

    Attributes:
        way: "until-match" or "trials", as `run` is told to go.
        trials: Projected number of trials.
        hours: Projected hours, None if the old study recorded no durations.
        assumption: In words.
    """

    way: str
    trials: int
    hours: float | None
    assumption: str


def hours_per_trial(trials: Sequence[FrozenTrial]) -> float | None:
    """Mean of the COMPLETE trials, None if none has a duration: the others ended early, and cost less."""
    complete = [hours_of(trial) for trial in trials if trial.state == TrialState.COMPLETE]
    known = [hours for hours in complete if hours is not None]
    return statistics.fmean(known) if known else None


def project(
    counts: TrialCounts, each: float | None, kept: Collection[str], grid: Grid | None = None
) -> tuple[Projection, ...]:
    """Project the cost of the smaller search, by the ways that `run` can go.

    Args:
        counts: Trials of the old study.
        each: Hours per complete trial in the old study, None if unknown.
        kept: Parameters that are still searched.
        grid: What is left of a grid: each cell is tried once.
    """
    if not counts.finished:
        return ()
    if each is None:
        price = "the old study recorded no durations of complete trials"
    else:
        price = f"{duration(each)} each, as its complete trials took on average; {COST_OF_CONTROL}"
    most = counts.finished if kept else min(counts.finished, MOST_ALIKE)
    bound = "as many trials as the old study finished" if kept else "the same configuration, other seeds"
    if kept and grid is not None and grid.cells < most:
        most, bound = grid.cells, "each cell of the grid once"
    half = (most + 1) // 2
    ways = [("trials", half, f"--trials {half}, for example; {price}")]
    if counts.complete:
        ways.insert(0, ("until-match", most, f"at most, {bound}; {price}"))
    return tuple(Projection(way, n, None if each is None else n * each, words) for way, n, words in ways)
