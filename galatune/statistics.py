"""Differences with their intervals: what a comparison says beyond chance.

Plain numbers in, plain numbers out; nothing here knows of trials, tasks or studies.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Groups",
    "Mean",
    "Side",
    "difference_of_means",
    "difference_of_minima",
    "holm",
    "interval_of_mean",
    "log_ratio",
    "log_ratio_interval",
    "mean_over_groups",
    "resampled_interval",
    "side",
    "smallest_detectable",
]

Floats = NDArray[np.float64]

Groups = Sequence[tuple[Sequence[float], Sequence[float]]]
"""Per group the values of the one and of the other, one per repetition and in the same order."""

Side = Literal["below", "within", "above", "across"]
"""Where an interval lies: beyond the margin on one side, inside it, or across one of its ends."""

ENDS = (0.025, 0.975)
"""Quantiles that are the ends of a 95 % interval."""

MOST_MINIMA = 64
"""A resample without any of so many lowest values has a chance below 1e-27."""

GROUP_RESAMPLES = 2_000
"""Draws behind the interval of a mean over groups."""


def side(interval: tuple[float, float], margin: float = 0.0) -> Side:
    """On which side of the margin around 0 an interval lies.

    Args:
        interval: Lower and upper end.
        margin: Differences up to this size count as none; at least 0.

    Returns:
        "below" or "above" if the whole interval lies beyond the margin, "within" if it lies inside,
        else "across".

    Example:
        >>> side((-3.0, -2.0), 1.0), side((-0.5, 0.5), 1.0), side((-0.5, 2.0), 1.0)
        ('below', 'within', 'across')
    """
    low, high = interval
    if high < -margin:
        return "below"
    if low > margin:
        return "above"
    return "within" if -margin <= low and high <= margin else "across"


def difference_of_minima(old: Floats, new: Floats, *, paired: bool) -> tuple[float, float]:
    """95 % percentile bootstrap interval of ``min(new) - min(old)``, exact.

    Nothing is drawn: the minimum of n values that are drawn again from n is at least x with probability
    (share of values of at least x) ** n, so that all resamples are counted at once.

    Args:
        old: Values of the one side, shape (n_old,).
        new: Values of the other side, shape (n_new,).
        paired: Whether both hold the same items in the same order, which are then drawn together, so
            that what an item does to both sides cancels.

    Example:
        >>> values = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
        >>> difference_of_minima(values, values + 1, paired=True)
        (1.0, 1.0)

    References:
        Efron, Tibshirani, An Introduction to the Bootstrap, 1993, section 6.2: the ideal bootstrap.
    """
    lowest_old, lowest_new = (np.unique(values)[:MOST_MINIMA] for values in (old, new))
    above_old, above_new = _at_least(old, lowest_old), _at_least(new, lowest_new)
    if paired:
        both = (above_old @ above_new.T / len(old)) ** len(old)
    else:
        both = np.outer(above_old.mean(axis=1) ** len(old), above_new.mean(axis=1) ** len(new))
    beyond = np.pad(both, (0, 1))
    chances = beyond[:-1, :-1] - beyond[1:, :-1] - beyond[:-1, 1:] + beyond[1:, 1:]
    with np.errstate(over="ignore"):  # values near the largest of all: infinity is the answer
        differences = (lowest_new - lowest_old[:, None]).ravel()
    order = np.argsort(differences, kind="stable")
    low, high = np.searchsorted(np.cumsum(chances.ravel()[order]), ENDS)
    return float(differences[order[low]]), float(differences[order[high]])


def difference_of_means(old: Sequence[float], new: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of ``mean(new) - mean(old)``: Student's, with one spread pooled over both sides.

    Args:
        old: Values of the one side, at least one.
        new: Values of the other side, at least one.

    Returns:
        None if neither side has two values: nothing shows their spread.

    Example:
        >>> low, high = difference_of_means([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
        >>> round(low, 3), round(high, 3)
        (-1.267, 3.267)
        >>> difference_of_means([1.0], [2.0]) is None
        True
    """
    from scipy.special import stdtrit

    free = len(old) + len(new) - 2
    if free < 1:
        return None
    sides = [(side, statistics.fmean(side)) for side in (old, new)]
    squares = math.fsum((value - mean) ** 2 for side, mean in sides for value in side)
    error = math.sqrt(squares / free * (1 / len(old) + 1 / len(new)))
    reach = float(stdtrit(free, ENDS[1])) * error
    difference = sides[1][1] - sides[0][1]
    return difference - reach, difference + reach


def interval_of_mean(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of a mean, of paired differences for example.

    Args:
        values: Independent values of one kind.
        confidence: Share of such intervals that hold the true mean, in (0, 1).

    Returns:
        None with fewer than two values: nothing shows their spread.

    Example:
        >>> low, high = interval_of_mean([1.0, 2.0, 3.0])
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    reach = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * _standard_error(values)
    mean = statistics.fmean(values)
    return mean - reach, mean + reach


def resampled_interval(differences: Sequence[float], test_share: float) -> tuple[float, float] | None:
    """95 % interval of a mean difference over random splits of one data set: the corrected resampled t.

    Splits share most of their training rows, so that their differences are not independent: the variance
    of the mean is ``(1 / n + test_share) s^2`` instead of ``s^2 / n``.

    Args:
        differences: Paired differences, one per split.
        test_share: Number of test rows / number of training rows of a split.

    Returns:
        None with fewer than two splits: nothing shows their spread.

    Example:
        >>> low, high = resampled_interval([1.0, 2.0, 3.0], 1 / 3)
        >>> round(low, 3), round(high, 3)
        (-1.513, 5.513)

    References:
        Nadeau, Bengio, Inference for the generalization error, Machine Learning 52, 2003, section 3.
    """
    if len(differences) < 2:
        return None
    from scipy.special import stdtrit

    count = len(differences)
    error = statistics.stdev(differences) * math.sqrt(1 / count + test_share)
    reach = float(stdtrit(count - 1, ENDS[1])) * error
    mean = statistics.fmean(differences)
    return mean - reach, mean + reach


def smallest_detectable(
    values: Sequence[float], confidence: float = 0.95, power: float = 0.8
) -> float | None:
    """The true mean that as many values of this spread tell from 0 with this probability, about.

    Args:
        values: Independent values of one kind.
        confidence: Of the interval that has to leave out 0.
        power: Probability that it does.

    Returns:
        ``(t(confidence) + t(power)) s / sqrt(n)``, at least 0; None with fewer than two values.

    Example:
        >>> round(smallest_detectable([1.0, 2.0, 3.0]), 3)
        3.097

    References:
        Bloom, Minimum detectable effects, Evaluation Review 19, 1995.
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    free = len(values) - 1
    beyond = float(stdtrit(free, (1 + confidence) / 2)) + float(stdtrit(free, power))
    return beyond * _standard_error(values)


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def _at_least(values: Floats, bounds: Floats) -> Floats:
    """1 where a value is at least a bound, else 0; shape (bounds, values)."""
    return (values >= bounds[:, None]).astype(np.float64)


def log_ratio(groups: Groups) -> float:
    """Mean over groups of ``ln(mean of the one / mean of the other)``.

    Example:
        >>> round(log_ratio([([2.0, 4.0], [1.0, 2.0]), ([1.0], [2.0])]), 6)
        0.0
    """
    return statistics.fmean(math.log(statistics.fmean(a) / statistics.fmean(b)) for a, b in groups)


def log_ratio_interval(groups: Groups, *, paired: bool, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of `log_ratio`: groups are drawn, and repetitions within them.

    Args:
        groups: Values of both sides per group, positive.
        paired: Whether the same repetitions are drawn on both sides, so that what a repetition (a seed)
            does to both cancels. Both sides then have equally many.
        seed: Of the draws.

    Returns:
        Lower and upper end.

    Example:
        >>> low, high = log_ratio_interval([([2.0, 4.0], [1.0, 2.0]), ([2.0], [1.0])], paired=True)
        >>> round(low, 6), round(high, 6)  # always twice as much
        (0.693147, 0.693147)
    """
    generator = np.random.default_rng(seed)
    shape = (GROUP_RESAMPLES, len(groups))
    drawn = np.stack([_drawn_log_ratios(generator, group, shape, paired) for group in groups])
    chosen = generator.integers(len(groups), size=shape)
    replicates, places = np.indices(shape)
    means = drawn[chosen, replicates, places].mean(axis=1)
    low, high = np.quantile(means, ENDS)
    return float(low), float(high)


def _drawn_log_ratios(
    generator: np.random.Generator,
    group: tuple[Sequence[float], Sequence[float]],
    shape: tuple[int, int],
    paired: bool,
) -> Floats:
    one, other = np.array(group[0]), np.array(group[1])
    drawn = generator.integers(len(one), size=(*shape, len(one)))
    others = drawn if paired else generator.integers(len(other), size=(*shape, len(other)))
    ratios: Floats = np.log(one[drawn].mean(axis=-1) / other[others].mean(axis=-1))
    return ratios


@dataclass(frozen=True)
class Mean:
    """A mean over groups, with what is known of it.

    Attributes:
        value: Mean of the groups' means.
        interval: 95 % interval of Student's t over the groups' means; None with one group.
        p: Two-sided probability of a mean at least this far from 0 if the true one is 0; None with one
            group.
        groups: Number of groups.
    """

    value: float
    interval: tuple[float, float] | None
    p: float | None
    groups: int


def mean_over_groups(groups: Sequence[Sequence[float]]) -> Mean:
    """Mean over groups that stand for others which might have been drawn.

    What is repeated within a group says nothing of other groups, so that the groups' means alone are
    compared. Their spread holds both the difference between groups and what is left of the spread within.

    Args:
        groups: Values of each group, at least one.

    Example:
        >>> found = mean_over_groups([[1.0, 3.0], [2.0], [3.0]])
        >>> round(found.value, 3), [round(end, 3) for end in found.interval], round(found.p, 3)
        (2.333, [0.899, 3.768], 0.02)

    References:
        Student, The probable error of a mean, Biometrika 6, 1908.
    """
    means = [statistics.fmean(group) for group in groups]
    mean = statistics.fmean(means)
    if len(means) < 2:
        return Mean(mean, None, None, len(means))
    from scipy.stats import t

    error = statistics.stdev(means) / math.sqrt(len(means))
    free = len(means) - 1
    if not error:
        return Mean(mean, (mean, mean), float(mean == 0), len(means))
    reach = float(t.ppf(ENDS[1], free)) * error
    return Mean(mean, (mean - reach, mean + reach), float(2 * t.sf(abs(mean) / error, free)), len(means))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Probabilities adjusted for being several, in the order given.

    Args:
        probabilities: Of tests that were named before, each in [0, 1].

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6,
        1979.
    """
    order = sorted(range(len(probabilities)), key=lambda i: probabilities[i])
    adjusted, least = [0.0] * len(order), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * probabilities[i]))
        adjusted[i] = least
    return adjusted
