"""What the smaller search might cost, from the old study alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from galatune.formatting import duration
from galatune.study.ledger.trial_counts import TrialCounts

__all__ = ["MOST_ALIKE", "Projection", "project"]

MOST_ALIKE = 3
"""Trials if nothing but rates was searched, so that they differ in their seed alone."""


@dataclass(frozen=True)
class Projection:
    """What the smaller search might cost: never a measured number.

    Attributes:
        way: "replay" or "until-match".
        trials: Projected number of trials.
        hours: Projected hours, None if the old study recorded no durations.
        assumption: In words.
    """

    way: str
    trials: int
    hours: float | None
    assumption: str


def project(
    counts: TrialCounts, unique: int, mean: float | None, objectives: int, kept: Collection[str]
) -> tuple[Projection, ...]:
    """Project the cost of the smaller search.

    Args:
        counts: Trials of the old study.
        unique: Distinct configurations without the dropped dimensions.
        mean: Hours per trial in the old study, None if unknown.
        objectives: Number of objectives: several cannot be matched by one trial.
        kept: Parameters that are still searched.
    """
    each = (
        "its durations were not recorded"
        if mean is None
        else f"{duration(mean)} each as in the old study on average; control costs extra"
    )
    ways = [("replay", unique, f"every remaining configuration once; {each}")]
    if objectives == 1 and counts.complete:
        bound = "as many trials as the old study finished" if kept else "the same configuration, other seeds"
        most = counts.finished if kept else min(counts.finished, MOST_ALIKE)
        ways.append(("until-match", most, f"at most, {bound}; {each}"))
    return tuple(Projection(way, n, None if mean is None else n * mean, words) for way, n, words in ways)
