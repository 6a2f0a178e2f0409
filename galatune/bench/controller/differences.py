"""Ours against each peer, task by task and seed by seed: what an interval of either score cannot say."""

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
    """One of our methods against one peer; below 0 ours ends lower.

    Attributes:
        method: Ours.
        peer: The other.
        schedule: "cosine" or "constant".
        equal_gradients: Whether our probes were paid for with steps.
        difference: Mean over tasks of ``ln(mean loss of ours / mean loss of the peer)``, which is the
            difference of their scores where both have every task.
        interval: 95 %, bootstrap over tasks and, within them, seeds, the same ones for both.
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
    """Every method of ours against every peer of the same base and schedule; only tasks that count."""
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
