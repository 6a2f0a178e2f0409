"""What control costs in short trainings of small nets, where Python is most of a step.

Both trainings take their steps in turns in one process, so that whatever else the machine does meets both.
Between two of their own steps each finds the other's code and data in the caches, which is the same for both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from galatune.bench.text import plain_table
from galatune.controller import Prior, attach
from galatune.formatting import plural

__all__ = ["ShortCost", "Training", "short_cost", "short_costs", "short_table"]

ROWS, FEATURES, BATCH = 4096, 16, 64
RATE, SPREAD = 1e-2, 0.7
"""The plain side's rate, and what the other is told of good rates; neither changes what a step costs."""

FIRST = 5
"""Steps that are left out of the medians: optimizers make their states in them."""

SEEDS = 3_000
"""Beginning of the seeds."""


@dataclass(frozen=True)
class Training:
    """What is trained: an MLP with two hidden layers on generated rows, with AdamW.

    Attributes:
        units: Width of a hidden layer.
        steps: Steps of the training.
        probe: Name of the probe; with "echo" the rows come from a DataLoader, on both sides.
        prior: Whether good rates are known.
    """

    units: int
    steps: int
    probe: str
    prior: bool


@dataclass(frozen=True)
class ShortCost:
    """Processor time of trainings with control over that of the same trainings without.

    Attributes:
        training: What was trained.
        wholes: Ratio of whole trainings, one a seed.
        unprobed: Ratio of the median steps, of those with control the ones that are not probed.
        step: Median step without control, in seconds.
        probes: Probes per training.
        gradients: Ratio of the gradient evaluations.
    """

    training: Training
    wholes: tuple[float, ...]
    unprobed: float
    step: float
    probes: float
    gradients: float

    @property
    def whole(self) -> float:
        """The median ratio of whole trainings."""
        return statistics.median(self.wholes)


def short_costs(repeats: int, progress: Callable[[int, int], None]) -> list[ShortCost]:
    """Measure nets of 64 and 256 units, 500 and 128 steps, three probes, with a prior and without.

    Args:
        repeats: Seeds of each training.
        progress: Called with (trainings done, trainings in all).
    """
    torch.set_num_threads(1)
    wanted = [
        Training(units, steps, probe, prior)
        for prior, units, steps, probe in product(
            (True, False), (64, 256), (500, 128), ("graph", "closure", "echo")
        )
    ]
    found = []
    for training in wanted:
        found.append(short_cost(training, repeats))
        progress(len(found), len(wanted))
    return found


def short_cost(training: Training, repeats: int) -> ShortCost:
    """Take the steps of both sides in turns, once a seed."""
    wholes, plain, unprobed, probes, gradients = [], list[float](), list[float](), [], []
    for seed in range(repeats):
        sides = (
            _Side(training, SEEDS + seed, controlled=False),
            _Side(training, SEEDS + seed, controlled=True),
        )
        for step in range(training.steps):
            for side in sides if step % 2 else reversed(sides):
                side.step()
        own, other = sides[1], sides[0]
        wholes.append(sum(own.seconds) / sum(other.seconds))
        plain += other.seconds[FIRST:]
        steps = zip(own.seconds, own.probed, strict=True)
        unprobed += [seconds for seconds, probed in list(steps)[FIRST:] if not probed]
        probes.append(own.probes)
        gradients.append(own.gradients / training.steps)
    usual = statistics.median(plain)
    return ShortCost(
        training,
        tuple(wholes),
        statistics.median(unprobed) / usual,
        usual,
        statistics.fmean(probes),
        statistics.fmean(gradients),
    )


def short_table(costs: Sequence[ShortCost]) -> Table:
    """One line per training."""
    table = plain_table(
        f"processor time with control / without, {plural(len(costs[0].wholes), 'seed')}, "
        f"{plural(torch.get_num_threads(), 'thread')}; medians",
        (
            "good rates",
            "units",
            "steps",
            "probe",
            "whole training",
            "step not probed",
            "step",
            "probes",
            "gradients",
        ),
        left=("good rates", "probe"),
    )
    for cost in costs:
        one = cost.training
        table.add_row(
            "known" if one.prior else "not known",
            str(one.units),
            str(one.steps),
            one.probe,
            f"{cost.whole:.2f} ({min(cost.wholes):.2f} to {max(cost.wholes):.2f})",
            f"{cost.unprobed:.2f}",
            f"{1e3 * cost.step:.2f} ms",
            f"{cost.probes:g}",
            f"{cost.gradients:.2f}",
        )
    return table


class _Side:
    """One of the two trainings, whose steps are measured."""

    def __init__(self, training: Training, seed: int, *, controlled: bool) -> None:
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        units = training.units
        self._net = nn.Sequential(
            nn.Linear(FEATURES, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 1)
        )
        x = torch.randn(ROWS, FEATURES, generator=generator)
        self._rows = TensorDataset(x, (x[:, :1] * x[:, 1:2]).sin())
        self._with_closure = training.probe == "closure"
        self._optimizer = torch.optim.AdamW(self._net.parameters(), lr=RATE)
        prior = Prior(RATE, SPREAD) if training.prior else None
        self._controller = attach(self._optimizer, probe=training.probe, prior=prior) if controlled else None
        self._batches = self._loaded() if training.probe == "echo" else self._sliced()
        self.seconds: list[float] = []
        self.probed: list[bool] = []

    def step(self) -> None:
        """Take one step and note its processor time, drawing the minibatch included."""
        probes, began = self.probes, time.process_time()
        x, y = next(self._batches)

        def closure() -> float:
            self._optimizer.zero_grad()
            loss: Tensor = (self._net(x) - y).square().mean()
            loss.backward()
            return float(loss.detach())

        if self._with_closure:
            self._optimizer.step(closure)
        else:
            closure()
            self._optimizer.step()
        self.seconds.append(time.process_time() - began)
        self.probed.append(self.probes > probes)

    @property
    def probes(self) -> int:
        """Gradient pairs measured so far."""
        return 0 if self._controller is None else self._controller.probes

    @property
    def gradients(self) -> int:
        """Gradient evaluations so far."""
        return len(self.seconds) if self._controller is None else self._controller.gradient_evaluations

    def _sliced(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            for begin in range(0, ROWS, BATCH):
                yield self._rows[begin : begin + BATCH]

    def _loaded(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from DataLoader(self._rows, batch_size=BATCH)
