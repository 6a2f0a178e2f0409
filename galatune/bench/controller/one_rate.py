"""The plainest rival: one fixed rate for all tasks, chosen without the task that it is judged on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from galatune.bench.controller.groups import length
from galatune.bench.controller.methods import METHODS, ONE_RATE
from galatune.bench.controller.runs import Result
from galatune.bench.controller.score import is_plain
from galatune.bench.controller.tasks import TASKS

__all__ = ["left_out", "one_rate"]

Grid = dict[float, list[Result]]
"""Rate to its results, one per seed."""

NAMES = {method.base: method.name for method in ONE_RATE}


def one_rate(results: Sequence[Result]) -> list[Result]:
    """Results at one fixed rate for all tasks, under the name of a method of their own.

    For each task it is the rate with the lowest mean ln(loss / loss at the best rate) over the *other*
    scored tasks, by optimizer, schedule and length of the training. It is chosen among the rates that all of
    them were trained at, and takes no training of its own.

    Args:
        results: Of the fixed rates; others are ignored.

    Returns:
        One result per task and seed, as far as there are other tasks to choose on; see `left_out`.

    References:
        Kasimbeg, Roulet, Agarwal, Medapati, Pedregosa, Agarwala, Dahl, "How far away are truly
        hyperparameter-free learning algorithms?", 2025 (arXiv 2505.24005), where the best
        learning-rate-free methods lag behind one configuration for all workloads.
    """
    found = []
    for (base, _, _), grids in _grids(results).items():
        for task, grid in grids.items():
            rate = _chosen(task, grids)
            if rate is not None:
                found += [replace(r, run=replace(r.run, method=NAMES[base])) for r in grid[rate]]
    return found


def left_out(results: Sequence[Result]) -> Iterable[str]:
    """One line per optimizer, schedule and length for which there is no such rate, with the reason."""
    for (base, schedule, steps), grids in _grids(results).items():
        without = [task for task in grids if _chosen(task, grids) is None]
        if without:
            what = ", ".join(part for part in (base, schedule, steps) if part)
            yield (
                f"One rate for all tasks ({what}) is left out on {', '.join(without)}: it is chosen on the "
                "other scored tasks, and there is none."
            )


def _grids(results: Sequence[Result]) -> dict[tuple[str, str, str], dict[str, Grid]]:
    found: dict[tuple[str, str, str], dict[str, Grid]] = {}
    for r in results:
        method = METHODS[r.run.method]
        if method.tuned and is_plain(r):
            tasks = found.setdefault((method.base, r.run.schedule, length(r.run.task)), {})
            tasks.setdefault(r.run.task, {}).setdefault(r.run.rate, []).append(r)
    return found


def _chosen(task: str, grids: dict[str, Grid]) -> float | None:
    others = [grid for name, grid in grids.items() if name != task and TASKS[name].scored]
    rates = set(grids[task]).intersection(*others)
    if not others or not rates:
        return None

    def mean_log_loss(rate: float) -> float:  # the losses at the best rates differ from it by a constant
        return statistics.fmean(math.log(statistics.fmean(r.clipped for r in grid[rate])) for grid in others)

    return min(sorted(rates), key=mean_log_loss)
