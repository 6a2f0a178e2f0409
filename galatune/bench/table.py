"""From results to the published table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from galatune.bench.methods import FIXED_RATES, FLOAT32_SCALE, SETUPS, Result

__all__ = ["Invariance", "Row", "Standing", "standings"]


@dataclass(frozen=True)
class Row:
    """One line: a method, its mean validation loss over seeds, and its ratio to the best fixed rate."""

    method: str
    loss: float
    ratio: float
    gradient_evaluations: float


@dataclass(frozen=True)
class Invariance:
    """What the result may not depend on.

    Attributes:
        initial_rates: Rate the optimizer was built with to the final loss, first seed.
        float32: Final loss for (loss as it is, loss times 1e-6), first seed, float32.
        float64: The same in float64, where rounding is not amplified by the training.
    """

    initial_rates: dict[float, float]
    float32: tuple[float, float]
    float64: tuple[float, float]

    @property
    def same_to_the_last_digit(self) -> bool:
        """Whether the initial rate made no difference at all."""
        return len(set(self.initial_rates.values())) == 1

    @staticmethod
    def digits(pair: tuple[float, float]) -> int:
        """Significant digits to which two losses agree."""
        one, other = pair
        if one == other:
            return 15
        return max(0, math.floor(-math.log10(abs(one - other) / abs(one))))


@dataclass(frozen=True)
class Standing:
    """One task with one setup.

    Attributes:
        task: Name.
        setup: Name.
        seeds: Number of seeds behind the means.
        rows: The fixed rates in ascending order, then ours.
        best_rate: Of the fixed ones, chosen on the same mean.
        at_the_edge: Whether the best fixed rate is the grid's smallest or largest: then a better one may
            lie outside, and the ratios flatter us.
        invariance: See there.
    """

    task: str
    setup: str
    seeds: int
    rows: tuple[Row, ...]
    best_rate: float
    at_the_edge: bool
    invariance: Invariance


def standings(results: Sequence[Result]) -> list[Standing]:
    """Group results into tables, one a task and setup."""
    tasks = dict.fromkeys(result.run.task for result in results)
    return [_standing(task, setup, results) for task in tasks for setup in SETUPS]


def _standing(task: str, setup: str, results: Sequence[Result]) -> Standing:
    own = [r for r in results if (r.run.task, r.run.setup) == (task, setup)]
    plain = [r for r in own if r.run.scale == 1 and r.run.dtype == "float32"]
    fixed = {
        rate: [r for r in plain if r.run.method == "fixed" and r.run.rate == rate] for rate in FIXED_RATES
    }
    means = {rate: _mean(found) for rate, found in fixed.items()}
    best = min(means, key=lambda rate: means[rate])
    rows = [_row(f"fixed {rate:g}", found, means[best]) for rate, found in fixed.items()]
    for probe in ("graph", "closure"):
        ours = [r for r in plain if r.run.method == probe and r.run.rate == 1e-3]
        rows.append(_row(f"recipe R, {probe} probe", ours, means[best]))
    return Standing(
        task=task,
        setup=setup,
        seeds=len(fixed[best]),
        rows=tuple(rows),
        best_rate=best,
        at_the_edge=best in (min(FIXED_RATES), max(FIXED_RATES)),
        invariance=_invariance(own),
    )


def _invariance(own: Sequence[Result]) -> Invariance:
    def loss(dtype: str, scale: float) -> float:
        return next(
            r.loss
            for r in own
            if (r.run.method, r.run.rate, r.run.seed, r.run.dtype, r.run.scale)
            == ("graph", 1e-3, 0, dtype, scale)
        )

    same = [
        r for r in own if (r.run.method, r.run.seed, r.run.dtype, r.run.scale) == ("graph", 0, "float32", 1.0)
    ]
    return Invariance(
        initial_rates={r.run.rate: r.loss for r in sorted(same, key=lambda r: r.run.rate)},
        float32=(loss("float32", 1.0), loss("float32", FLOAT32_SCALE)),
        float64=(loss("float64", 1.0), loss("float64", FLOAT32_SCALE)),
    )


def _row(method: str, results: Sequence[Result], best: float) -> Row:
    evaluations = statistics.fmean(r.gradient_evaluations for r in results)
    return Row(method, _mean(results), _mean(results) / best, evaluations)


def _mean(results: Sequence[Result]) -> float:
    return statistics.fmean(r.loss for r in results)
