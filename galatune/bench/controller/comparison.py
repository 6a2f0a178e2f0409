"""Train what a comparison needs, and widen grids until no best rate lies at an edge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from galatune.bench.controller.groups import by_group
from galatune.bench.controller.methods import Method, Schedule
from galatune.bench.controller.one_rate import one_rate
from galatune.bench.controller.results import Collection
from galatune.bench.controller.runs import INITIAL_RATES, LOSS_SCALE, Result, Run, plan
from galatune.bench.controller.score import tuned
from galatune.bench.controller.tasks import Task

__all__ = ["Invariance", "compare", "invariance"]

SMALLEST, LARGEST = 1e-7, 1e2
Progress = Callable[[int, int], None]


def compare(
    tasks: Sequence[Task],
    methods: Sequence[Method],
    schedules: Sequence[Schedule],
    seeds: Sequence[int],
    folder: Path,
    jobs: int,
    progress: Progress,
) -> list[Result]:
    """Train what a comparison needs and is not in the folder yet.

    Args:
        tasks: Tasks to train.
        methods: Methods, the fixed rates of their bases among them.
        schedules: "cosine", "constant" or both.
        seeds: Seeds of torch.
        folder: Folder of results.csv.
        jobs: Number of processes side by side.
        progress: Called with (runs done, runs in all).

    Returns:
        One result per run, and those at one rate for all tasks. A grid whose best rate lies at its edge is
        widened until it does not, or until it reaches 1e-7 or 100.
    """
    collection = Collection(folder)
    runs = plan(tasks, methods, schedules, seeds)
    collection.complete(runs, jobs, progress)
    while True:
        wider = _wider(collection.get(runs), tasks, methods, schedules, seeds)
        if not wider:
            found = collection.get(dict.fromkeys(runs))
            return [*found, *one_rate(found)]
        runs += wider
        collection.complete(runs, jobs, progress)


def _wider(
    results: Sequence[Result],
    tasks: Sequence[Task],
    methods: Sequence[Method],
    schedules: Sequence[Schedule],
    seeds: Sequence[int],
) -> list[Run]:
    groups, runs = by_group(results).values(), []
    for task in tasks:
        for method in methods:
            for schedule in method.schedules if method.tuned else ():
                rates = [_beyond(own, task, method, schedule) for own in groups if schedule in schedules]
                for rate in rates:
                    if rate is not None and SMALLEST <= rate <= LARGEST:
                        runs += [Run(task.name, method.name, schedule, rate, seed) for seed in seeds]
    return runs


def _beyond(results: Sequence[Result], task: Task, method: Method, schedule: Schedule) -> float | None:
    """Return the rate beyond the edge at which the best one lies, None if it lies inside."""
    best = tuned(results, task.name, method.name, schedule)
    if best is None or not best.at_the_edge:
        return None
    return _next(best.rate, up=best.rate == best.grid[-1][0])


def _next(rate: float, up: bool) -> float:
    """The neighbour on the grid 1, 3, 10, 30, ..."""
    leading = f"{rate:.0e}"[0]
    factor = (3.0 if leading == "1" else 10 / 3) if up else (1 / 3 if leading == "3" else 0.3)
    return float(f"{rate * factor:.0e}")


@dataclass(frozen=True)
class Invariance:
    """What the result must not depend on: initial rate and scale of the loss. One method, task and seed.

    Attributes:
        task: Name.
        method: Name.
        initial_rates: Rate that the optimizer was built with to the final loss.
        scaled: Dtype to (final loss, final loss if the loss is multiplied by 1e-6). In float32 that factor
            changes the rounding, which a training at a high rate amplifies.
    """

    task: str
    method: str
    initial_rates: dict[float, float]
    scaled: dict[str, tuple[float, float]]

    @property
    def same_to_the_last_digit(self) -> bool:
        """Whether the initial rate made no difference at all."""
        return len(set(self.initial_rates.values())) == 1

    def digits(self, dtype: str) -> int:
        """Significant digits to which the final losses with and without the factor agree."""
        one, other = self.scaled[dtype]
        return 15 if one == other else max(0, math.floor(-math.log10(abs(one - other) / abs(one))))


def invariance(tasks: Sequence[Task], folder: Path, jobs: int, progress: Progress) -> list[Invariance]:
    """Train with other initial rates and with a scaled loss, under the graph probe and a cosine."""
    collection = Collection(folder)
    pairs = [(task.name, method) for task in tasks for method in ("gala-graph", "gala-sgd-graph")]
    collection.complete(
        [run for pair in pairs for run in (*_other_rates(*pair), *_other_scales(*pair))], jobs, progress
    )
    return [_invariance(collection, *pair) for pair in pairs]


def _other_rates(task: str, method: str) -> list[Run]:
    return [Run(task, method, "cosine", rate) for rate in INITIAL_RATES]


def _other_scales(task: str, method: str) -> list[Run]:
    return [
        Run(task, method, "cosine", 1e-3, scale=scale, dtype=dtype)
        for dtype in ("float32", "float64")
        for scale in (1.0, LOSS_SCALE)
    ]


def _invariance(collection: Collection, task: str, method: str) -> Invariance:
    rates = collection.get(_other_rates(task, method))
    scales = [result.loss for result in collection.get(_other_scales(task, method))]
    return Invariance(
        task,
        method,
        {result.run.rate: result.loss for result in rates},
        {"float32": (scales[0], scales[1]), "float64": (scales[2], scales[3])},
    )
