"""Controlled methods against the others, task by task and seed by seed.

Intervals of two scores may overlap although the paired difference is clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galatune.bench.controller.methods import METHODS
from galatune.bench.controller.runs import Result
from galatune.bench.controller.score import Cell, cells
from galatune.bench.controller.tasks import TASKS
from galatune.statistics import log_ratio, log_ratio_interval

__all__ = ["Difference", "differences"]


@dataclass(frozen=True)
class Difference:
    """One controlled method against another optimizer; below 0 the controlled one ends lower.

    Attributes:
        method: The controlled one.
        peer: The other one.
        schedule: "cosine" or "constant".
        equal_gradients: Whether the controlled one took fewer steps, to make up for its probes.
        difference: Mean over tasks of ``ln(mean loss of method / mean loss of peer)``, which is the
            difference of their scores if both ran on every task.
        interval: 95 % bootstrap interval; tasks are drawn, and seeds within them, the same for both.
        tasks: Number of tasks that both were run on.
    """

    method: str
    peer: str
    schedule: str
    equal_gradients: bool
    difference: float
    interval: tuple[float, float]
    tasks: int


def differences(results: Sequence[Result], seed: int = 0) -> list[Difference]:
    """Compare every controlled method with every other of the same base and schedule, on tasks that count."""
    groups: dict[tuple[str, str, bool], dict[str, Cell]] = {}
    for cell in cells(results):
        if TASKS[cell.task].scored:
            key = (cell.schedule.removeprefix("warmup-"), cell.method, cell.equal_gradients)
            groups.setdefault(key, {})[cell.task] = cell
    found = []
    for (schedule, method, equal), ours in groups.items():
        for (other_schedule, peer, _), theirs in groups.items():
            if not METHODS[method].controlled or METHODS[peer].controlled or schedule != other_schedule:
                continue
            if METHODS[method].base != METHODS[peer].base:
                continue
            pairs = [(cell.losses, theirs[task].losses) for task, cell in ours.items() if task in theirs]
            if pairs:
                interval = log_ratio_interval(pairs, paired=True, seed=seed)
                one = Difference(method, peer, schedule, equal, log_ratio(pairs), interval, len(pairs))
                found.append(one)
    return sorted(found, key=lambda d: (d.schedule, d.method, d.equal_gradients, d.difference))
