"""How good the smaller study's best is compared with the old one's, and how much of that may be luck."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from galatune.statistics import Side, difference_of_means, difference_of_minima, side
from galatune.study.ledger.confirmation import confirmations
from galatune.study.ledger.match import Goal, best_so_far, oriented
from galatune.study.ledger.rows import Ledger, TrialRow

__all__ = ["Quality", "quality_of"]

Verdict = Literal["better", "equal", "worse", "undecided"]
Floats = NDArray[np.float64]

FEWEST = 5
"""With fewer values per study, or fewer pairs, resampling says nothing."""

VERDICTS: dict[Side, Verdict] = {
    "below": "better",
    "within": "equal",
    "above": "worse",
    "across": "undecided",
}
"""What it means for the smaller study's best that the interval lies there; positive is worse."""


@dataclass(frozen=True)
class Quality:
    """The smaller study's best minus the old one's, in the units of the objective.

    Attributes:
        difference: Positive is worse, in both directions. None if one study has no COMPLETE trial. If both
            the old best and the match were repeated, of the means of these repeats.
        volumes: The hypervolumes of the old study and of the smaller one, None with one objective.
        interval: 95 % interval of the same difference: of the means of repeats Student's, with the spread
            pooled over both; else if trials are drawn again from those that ran. None if there are too few,
            or several objectives.
        verdict: "better" or "worse" if the interval lies beyond `margin`, "equal" if it lies within,
            else "undecided".
        margin: Differences up to this size count as none: the larger of tolerance x |median - best| of the
            old values and one standard error of the mean of the old best's repeats.
        pairs: Number of configurations that ran in both studies and were resampled together; 0 if each
            study was resampled on its own.
        method: How the interval was computed, in words.
        measured: Whether the difference is known.
        reached: Mean of the repeats that confirmed the match, else the smaller study's best, which was
            selected for being the best. None if no trial is COMPLETE, or with several objectives.
        repeats: How many repeats `reached` is the mean of; 0 if it was seen once.
        of_repeats: Whether `difference` is that of the means of repeats.
    """

    difference: float | None
    interval: tuple[float, float] | None
    verdict: Verdict
    margin: float | None
    pairs: int
    method: str
    measured: bool
    volumes: tuple[float, float] | None = None
    reached: float | None = None
    repeats: int = 0
    of_repeats: bool = False


def quality_of(baseline: Ledger, shrunk: Ledger, goal: Goal | None) -> Quality:
    """Compare best values.

    The best of a search is its most extreme value, and there is one per search: resampling cannot show
    what a second search would find. The interval answers a smaller question, how much the difference
    depends on single trials. If the same configurations ran in both studies they are resampled together,
    so that the luck that both share cancels.

    Args:
        baseline: The old study.
        shrunk: The smaller one.
        goal: Gives the margin; None if the old study has no COMPLETE trial.

    Returns:
        Difference, interval and verdict.
    """
    if goal is None or not shrunk.complete:
        margin = goal.margin if goal else None
        return Quality(None, None, "undecided", margin, 0, "not measured", False, reached=_best(shrunk))
    if goal.reference_point is not None:
        return _of_volumes(baseline, shrunk, goal)
    matched = next((one.values for one in confirmations(shrunk, goal) if one.confirmed), ())
    found = _of_trials(baseline, shrunk, goal)
    if not matched:
        return found
    found = replace(found, reached=statistics.fmean(matched), repeats=len(matched))
    return _of_repeats(found, goal, matched)


def _of_trials(baseline: Ledger, shrunk: Ledger, goal: Goal) -> Quality:
    """Compare best trials, each seen once."""
    old, new = _scores(baseline), _scores(shrunk)
    difference = float(new.min()) - float(old.min())
    reached = _best(shrunk)
    pairs = _pairs(baseline, shrunk)
    if pairs is not None:
        old, new = pairs
    if min(len(old), len(new)) < FEWEST:
        method = f"none: fewer than {FEWEST} complete trials on a side"
        return Quality(difference, None, "undecided", goal.margin, 0, method, True, reached=reached)
    way = "unpaired" if pairs is None else "paired"
    interval = difference_of_minima(old, new, paired=pairs is not None)
    return Quality(
        difference=difference,
        interval=interval,
        verdict=VERDICTS[side(interval, goal.margin)],
        margin=goal.margin,
        pairs=len(old) if pairs is not None else 0,
        method=f"{way} percentile bootstrap of the difference of bests",
        measured=True,
        reached=reached,
    )


def _of_repeats(found: Quality, goal: Goal, matched: tuple[float, ...]) -> Quality:
    """Compare the means of repeats, if both sides have them: none of these values was selected."""
    values = goal.repeats.values if goal.repeats is not None else ()
    if not values:
        return found
    sign = -1.0 if goal.bigger_is_better else 1.0
    difference = sign * (statistics.fmean(matched) - statistics.fmean(values))
    interval = difference_of_means(values, matched)
    if interval is None:
        method = "none: no configuration was repeated twice"
        return replace(
            found, difference=difference, interval=None, verdict="undecided", pairs=0, method=method,
            of_repeats=True,
        )  # fmt: skip
    low, high = sorted(sign * end for end in interval)
    return replace(
        found,
        difference=difference,
        interval=(low, high),
        verdict=VERDICTS[side((low, high), goal.margin)],
        pairs=0,
        method="Student's interval of the difference of means of repeats, spread pooled over both",
        of_repeats=True,
    )


def _of_volumes(baseline: Ledger, shrunk: Ledger, goal: Goal) -> Quality:
    """Compare hypervolumes: each belongs to a whole front, so there is no interval and no verdict."""
    new = best_so_far(shrunk, goal)[-1]
    difference = None if new is None else goal.best - new
    method = "none: several objectives make one hypervolume a study, with nothing to draw again"
    volumes = None if new is None else (goal.best, new)
    return Quality(difference, None, "undecided", goal.margin, 0, method, difference is not None, volumes)


def _best(study: Ledger) -> float | None:
    """Best value of a study with one objective, None if no trial is COMPLETE."""
    if not study.complete or len(study.directions) > 1:
        return None
    best = float(_scores(study).min())
    return -best if study.directions[0] == "maximize" else best


def _pairs(baseline: Ledger, shrunk: Ledger) -> tuple[Floats, Floats] | None:
    """Best of each configuration that ran in both studies; None if one of the two bests is not among them."""
    common = _names(baseline) & _names(shrunk)
    old, new = _best_by_configuration(baseline, common), _best_by_configuration(shrunk, common)
    both = [configuration for configuration in new if configuration in old]
    if not common or len(both) < FEWEST:
        return None
    left, right = np.array([old[c] for c in both]), np.array([new[c] for c in both])
    if left.min() > min(old.values()) or right.min() > min(new.values()):
        return None
    return left, right


def _best_by_configuration(study: Ledger, names: set[str]) -> dict[frozenset[tuple[str, str]], float]:
    best: dict[frozenset[tuple[str, str]], float] = {}
    for row in study.complete:
        key = _configuration(row.params, names)
        best[key] = min(best.get(key, np.inf), oriented(row, study.directions)[0])
    return best


def _configuration(params: Mapping[str, Any], names: set[str]) -> frozenset[tuple[str, str]]:
    return frozenset((name, repr(value)) for name, value in params.items() if name in names)


def _names(study: Ledger) -> set[str]:
    return {name for row in study.rows for name in row.params}


def _scores(study: Ledger) -> Floats:
    def score(row: TrialRow) -> float:
        return oriented(row, study.directions)[0]

    return np.array([score(row) for row in study.complete])
