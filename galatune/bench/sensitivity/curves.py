"""Final loss by initial rate, and one number for how much it varies."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from galatune.bench.controller.comparison import Progress
from galatune.bench.controller.methods import METHODS, Method
from galatune.bench.controller.results import Collection
from galatune.bench.controller.runs import Result, Run
from galatune.bench.controller.tasks import Task

__all__ = ["INITIAL_RATES", "SENSITIVITY_METHODS", "SENSITIVITY_TASKS", "Curve", "curves", "sensitivity"]

INITIAL_RATES = tuple(float(f"1e{exponent}") for exponent in range(-8, 2))
"""Every decade from 1e-8 to 10. For optimizers that need no rate it is a factor on their own default."""

SENSITIVITY_TASKS = "digits-cnn,digits-mlp,char-transformer,friedman1"
SENSITIVITY_METHODS = ",".join(m for m in ("adam", "sgd", "gala-graph", "prodigy") if m in METHODS)


@dataclass(frozen=True)
class Curve:
    """Final loss by initial rate, one method on one task.

    Attributes:
        task: Name.
        method: Name.
        rates: Rates the optimizer was built with, ascending.
        losses: Per rate one final loss per seed, at worst the loss at the start.
    """

    task: str
    method: str
    rates: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]

    @property
    def means(self) -> tuple[float, ...]:
        """Mean over seeds, one per rate."""
        return tuple(statistics.fmean(losses) for losses in self.losses)

    @property
    def best(self) -> tuple[float, float]:
        """The best of its own rates, and the mean loss there."""
        loss, rate = min(zip(self.means, self.rates, strict=True))
        return rate, loss

    @property
    def sensitivity(self) -> float:
        """Expected deviation from the optimum: mean over rates of ``min(loss, loss at the start) - best``.

        References:
            Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities",
            2023, section 2.2 ("LR sensitivity"). Differs from the paper: the rates span nine decades
            instead of three, and the best is that of the mean over seeds.
        """
        return statistics.fmean(mean - self.best[1] for mean in self.means)

    @property
    def same_to_the_last_digit(self) -> bool:
        """Whether the initial rate made no difference at all, in any seed."""
        return len(set(self.losses)) == 1


def sensitivity(
    tasks: Sequence[Task],
    methods: Sequence[Method],
    seeds: int,
    folder: Path,
    jobs: int,
    progress: Progress,
) -> list[Curve]:
    """Train every method from every initial rate under a cosine; what is in the folder is not trained again.

    Args:
        tasks: What is trained.
        methods: How. A method without a cosine is left out.
        seeds: Seeds 0 to seeds - 1.
        folder: Of the CSV.
        jobs: Processes side by side.
        progress: Called with (runs done, runs in all).

    Returns:
        One curve per task and method.
    """
    collection = Collection(folder)
    runs = [
        Run(task.name, method.name, "cosine", rate, seed)
        for task in tasks
        for method in methods
        if "cosine" in method.schedules
        for rate in INITIAL_RATES
        for seed in range(seeds)
    ]
    collection.complete(runs, jobs, progress)
    return curves(collection.get(runs))


def curves(results: Sequence[Result]) -> list[Curve]:
    """Results of one schedule as curves."""
    groups: dict[tuple[str, str], dict[float, list[Result]]] = {}
    for r in results:
        groups.setdefault((r.run.task, r.run.method), {}).setdefault(r.run.rate, []).append(r)
    return [
        Curve(
            task,
            method,
            tuple(sorted(by_rate)),
            tuple(
                tuple(r.clipped for r in sorted(by_rate[rate], key=lambda r: r.run.seed))
                for rate in sorted(by_rate)
            ),
        )
        for (task, method), by_rate in groups.items()
    ]
