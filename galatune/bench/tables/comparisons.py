"""Comparisons of fits: means, ranks, and paired differences with their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from galatune.bench.tables.datasets import DataSet
from galatune.bench.tables.fit import Cell, Fit
from galatune.bench.tables.methods import BY_VALIDATION, FIXED_RATES, GROUPS, METHODS, ORACLE, OURS
from galatune.bench.tables.scores import SCORES, Score, Scores
from galatune.statistics import resampled_interval, side

__all__ = ["Comparison", "Difference", "Verdict"]

Verdict = Literal["ours better", "peer better", "undecided", "not tested"]

VERDICTS: dict[str, Verdict] = {"below": "ours better", "above": "peer better"}


@dataclass(frozen=True)
class Difference:
    """Ours minus a peer on one set, over the splits that both have.

    Attributes:
        dataset: Name.
        peer: Name of the method.
        mean: Mean difference of the score; below 0 ours is better.
        interval: 95 % interval; None with one split.
        splits: How many.
    """

    dataset: str
    peer: str
    mean: float
    interval: tuple[float, float] | None
    splits: int

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if self.interval is None:
            return "not tested"
        return VERDICTS.get(side(self.interval), "undecided")


class Comparison:
    """Fits of several sets, methods and splits.

    Args:
        sets: Data sets.
        fits: Results, failed ones too.
    """

    def __init__(self, sets: Sequence[DataSet], fits: Sequence[Fit]) -> None:
        self.sets = sets
        self.failed = [fit for fit in fits if fit.failure is not None]
        tried = {fit.cell: fit for fit in fits}
        self._fits = {cell: fit for cell, fit in tried.items() if fit.failure is None}
        self._fits.update((fit.cell, fit) for fit in _chosen_rates(tried))

    def methods(self, score: Score | None = None) -> list[str]:
        """Names of the methods with a result, ours first; of a score, those that aim at it."""
        there = {cell.method for cell in self._fits}
        order = [
            name for name in (*METHODS, BY_VALIDATION, ORACLE) if name in there - set(GROUPS[FIXED_RATES])
        ]
        return [
            name for name in order if score is None or name not in METHODS or score in METHODS[name].judged
        ]

    def values(self, dataset: str, method: str, score: Score) -> dict[int, float]:
        """Score of each split."""
        if score not in (METHODS[method].judged if method in METHODS else SCORES):
            return {}
        found = ((cell.seed, fit.scores.get(score)) for cell, fit in self._of(dataset, method))
        return {seed: value for seed, value in found if value is not None}

    def mean(self, dataset: str, method: str, score: Score) -> float | None:
        """Mean over the splits that ours and this method have; None without any."""
        ours, values = (self.values(dataset, one, score) for one in (OURS, method))
        common = [value for seed, value in values.items() if seed in ours]
        return statistics.fmean(common) if common else None

    def cost(self, dataset: str, method: str, name: Literal["seconds", "memory"]) -> float | None:
        """Mean processor seconds per fit, or largest memory in MB; None without any."""
        found = [getattr(fit, name) for _, fit in self._of(dataset, method)]
        known = [value for value in found if value is not None]
        if not known:
            return None
        return statistics.fmean(known) if name == "seconds" else max(known)

    def mean_ranks(self, score: Score, sets: Sequence[DataSet]) -> tuple[dict[str, float], int]:
        """Mean rank of each method over the sets of which all have splits in common; those splits count.

        Ties share their mean rank. Not ranked are the rate chosen in hindsight and methods that are fitted on
        a few splits only.

        Args:
            score: By which they are ranked on each set.
            sets: The sets.

        Returns:
            The mean ranks, and over how many sets.
        """
        ranked = [name for name in self.methods(score) if name != ORACLE and not _is_dear(name)]
        rows = []
        for one in sets:
            values = [self.values(one.name, name, score) for name in ranked]
            if seeds := set.intersection(*(set(value) for value in values)) if values else set():
                means = [statistics.fmean(value[seed] for seed in sorted(seeds)) for value in values]
                rows.append([_rank(mean, means) for mean in means])
        if not rows:
            return {}, 0
        return dict(zip(ranked, map(statistics.fmean, zip(*rows, strict=True)), strict=True)), len(rows)

    def differences(self, score: Score) -> list[Difference]:
        """Ours minus each peer on each set; the rate chosen in hindsight is left out."""
        found = []
        for one in self.sets:
            ours = self.values(one.name, OURS, score)
            for peer in self.methods(score):
                theirs = self.values(one.name, peer, score)
                pairs = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
                if pairs and peer not in (OURS, ORACLE):
                    interval = resampled_interval(pairs, one.test_share)
                    found.append(Difference(one.name, peer, statistics.fmean(pairs), interval, len(pairs)))
        return found

    def _of(self, dataset: str, method: str) -> Iterator[tuple[Cell, Fit]]:
        return (
            (cell, fit)
            for cell, fit in self._fits.items()
            if cell.dataset == dataset and cell.method == method
        )


def _is_dear(method: str) -> bool:
    return method in METHODS and METHODS[method].most_splits is not None


def _rank(value: float, values: Sequence[float]) -> float:
    """1 + how many are lower, and half of those that are equal."""
    return 1 + sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2


def _chosen_rates(tried: dict[Cell, Fit]) -> Iterator[Fit]:
    """The fit of the rate that validation chose, and that of hindsight, where all rates were tried."""
    rates = GROUPS[FIXED_RATES]
    for dataset, seed in dict.fromkeys((cell.dataset, cell.seed) for cell in tried):
        cells = [Cell(dataset, rate, seed) for rate in rates]
        done = [tried[cell] for cell in cells if cell in tried]
        fits = [fit for fit in done if fit.failure is None]
        if len(done) < len(rates) or not fits:
            continue
        known = [fit for fit in fits if fit.validation is not None and math.isfinite(fit.validation)]
        if known:
            best = max(known, key=lambda fit: fit.validation or 0.0)
            seconds = math.fsum(fit.seconds or 0.0 for fit in fits)
            memory = max((fit.memory for fit in fits if fit.memory is not None), default=None)
            yield Fit(Cell(dataset, BY_VALIDATION, seed), best.scores, seconds, memory, best.validation)
        yield Fit(Cell(dataset, ORACLE, seed), _best_of_each([fit.scores for fit in fits]))


def _best_of_each(scores: Sequence[Scores]) -> Scores:
    lowest = {}
    for name in SCORES:
        values = [value for one in scores if (value := one.get(name)) is not None]
        lowest[name] = min(values) if values else None
    return Scores(**lowest)
