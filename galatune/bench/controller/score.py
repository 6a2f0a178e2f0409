"""From results to the numbers that are published: ratios to the best tuned rate, and one score."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from galatune.bench.controller.methods import METHODS
from galatune.bench.controller.runs import Result
from galatune.bench.controller.tasks import TASKS
from galatune.statistics import log_ratio_interval

__all__ = ["Cell", "Score", "Tuned", "cells", "is_plain", "scores", "tuned"]


@dataclass(frozen=True)
class Tuned:
    """The best fixed rate of one task, base and schedule, chosen on the mean over seeds.

    Attributes:
        rate: That rate.
        losses: Its losses, one per seed.
        at_the_edge: Whether it is the smallest or largest of the grid, so that a better one may lie outside.
        grid: Every rate with its mean loss, ascending.
        seconds: Median processor time of one training, over all rates and seeds.
    """

    rate: float
    losses: tuple[float, ...]
    at_the_edge: bool
    grid: tuple[tuple[float, float], ...]
    seconds: float


@dataclass(frozen=True)
class Cell:
    """One method on one task.

    Attributes:
        task: Name.
        method: Name.
        schedule: Of the method.
        equal_gradients: Whether it took fewer steps, to make up for its probes.
        rate: What the optimizer was built with.
        losses: One per seed, at worst the loss at the start.
        ratio: Mean loss over that of the best tuned rate.
        diverged: Number of seeds whose loss ended above that at the start.
        gradient_evaluations: Mean.
        time_ratio: Median processor time of one training over that of the fixed rates; ``galatune bench
            cost`` measures a ratio of wall times.
        state_bytes: Most bytes of state per parameter between two steps, the optimizer's own included.
        regret: Mean regret per probe over the seeds that have one; None if none has.
    """

    task: str
    method: str
    schedule: str
    equal_gradients: bool
    rate: float
    losses: tuple[float, ...]
    ratio: float
    diverged: int
    gradient_evaluations: float
    time_ratio: float
    state_bytes: float
    regret: float | None = None


@dataclass(frozen=True)
class Score:
    """One method over tasks: the mean logarithm of its ratios; 0 is as good as tuning.

    Attributes:
        method: Name.
        schedule: Of the method.
        equal_gradients: Whether it took fewer steps, to make up for its probes.
        score: Mean of ``ln(mean loss / mean loss of the best tuned rate)`` over tasks.
        interval: 95 % bootstrap interval; tasks are drawn, and seeds within them.
        worst: Largest ratio, and its task.
        diverged: Number of trainings whose loss ended above that at the start.
        tasks: Number of tasks.
        time_ratio: Geometric mean over tasks.
        state_bytes: Largest over tasks.
    """

    method: str
    schedule: str
    equal_gradients: bool
    score: float
    interval: tuple[float, float]
    worst: tuple[float, str]
    diverged: int
    tasks: int
    time_ratio: float
    state_bytes: float


def tuned(results: Sequence[Result], task: str, base: str, schedule: str) -> Tuned | None:
    """Return the best fixed rate, None if the grid was not run.

    A schedule without a grid of its own (a warmup) is compared with that of the cosine.
    """
    wanted = "cosine" if schedule == "warmup-cosine" else schedule
    by_rate: dict[float, list[Result]] = {}
    for r in results:
        if (r.run.task, r.run.method, r.run.schedule) == (task, base, wanted) and is_plain(r):
            by_rate.setdefault(r.run.rate, []).append(r)
    if not by_rate:
        return None
    means = {rate: statistics.fmean(r.clipped for r in by_rate[rate]) for rate in sorted(by_rate)}
    best = min(means, key=lambda rate: means[rate])
    losses = tuple(r.clipped for r in sorted(by_rate[best], key=lambda r: r.run.seed))
    seconds = statistics.median(r.seconds for rs in by_rate.values() for r in rs)
    return Tuned(best, losses, best in (min(means), max(means)), tuple(means.items()), seconds)


def cells(results: Sequence[Result]) -> list[Cell]:
    """Summarize every method on every task; the fixed rates themselves are left out."""
    groups: dict[tuple[str, str, str, bool], list[Result]] = {}
    for r in results:
        if is_plain(r) and not METHODS[r.run.method].tuned:
            key = (r.run.task, r.run.method, r.run.schedule, r.run.equal_gradients)
            groups.setdefault(key, []).append(r)
    found = []
    for (task, method, schedule, equal), own in groups.items():
        best = tuned(results, task, METHODS[method].base, schedule)
        if best is None:
            continue
        losses = tuple(r.clipped for r in sorted(own, key=lambda r: r.run.seed))
        regrets = [r.regret for r in own if r.regret is not None]
        found.append(
            Cell(
                task,
                method,
                schedule,
                equal,
                own[0].run.rate,
                losses,
                statistics.fmean(losses) / statistics.fmean(best.losses),
                sum(r.diverged for r in own),
                statistics.fmean(r.gradient_evaluations for r in own),
                statistics.median(r.seconds for r in own) / best.seconds,
                max(r.state_bytes for r in own),
                statistics.fmean(regrets) if regrets else None,
            )
        )
    return found


def scores(results: Sequence[Result], seed: int = 0) -> list[Score]:
    """Return one score per method and schedule, best first, over the tasks that count."""
    groups: dict[tuple[str, str, bool], list[Cell]] = {}
    for cell in cells(results):
        if TASKS[cell.task].scored:
            groups.setdefault((cell.method, cell.schedule, cell.equal_gradients), []).append(cell)
    found = [
        Score(
            method,
            schedule,
            equal,
            statistics.fmean(math.log(cell.ratio) for cell in own),
            _interval(results, own, seed),
            max((cell.ratio, cell.task) for cell in own),
            sum(cell.diverged for cell in own),
            len(own),
            math.exp(statistics.fmean(math.log(cell.time_ratio) for cell in own)),
            max(cell.state_bytes for cell in own),
        )
        for (method, schedule, equal), own in groups.items()
    ]
    return sorted(found, key=lambda score: (score.schedule, score.score))


def _interval(results: Sequence[Result], own: Sequence[Cell], seed: int) -> tuple[float, float]:
    pairs = []
    for cell in own:
        best = tuned(results, cell.task, METHODS[cell.method].base, cell.schedule)
        assert best is not None
        pairs.append((cell.losses, best.losses))
    return log_ratio_interval(pairs, paired=False, seed=seed)


def is_plain(result: Result) -> bool:
    """Whether a run changed nothing but method, schedule, rate and seed."""
    return result.run.scale == 1 and result.run.dtype == "float32"
