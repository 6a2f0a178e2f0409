"""One small real task, digits, and what the tests of every framework ask of a training."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import galatune
from galatune.controller.controlled import Capture, Choice
from galatune.controller.probes.schedule import ProbeSchedule

OFTEN = ProbeSchedule(first=10, every=3, thinning=0.0)
"""Many probes in a short training."""

PINNED: dict[str, Any] = {"min_lr": 0.01, "max_lr": 0.01, "probe_schedule": OFTEN}
"""Probes measure, and the rate is 0.01 whatever they say: the training is that of a fixed rate."""

BATCH = 64


def load(name: str) -> ModuleType:
    """The framework, or a skipped test that says which package is missing."""
    root = name.partition(".")[0]
    pytest.importorskip(root, reason=f"{root} is not installed: make .venv/.installed-frameworks")
    return importlib.import_module(name)


@dataclass(frozen=True)
class Digits:
    """Eight by eight pixels, ten classes; a tenth of the training labels is wrong."""

    inputs: Tensor
    labels: Tensor
    held_out_inputs: Tensor
    held_out_labels: Tensor

    def loader(self, seed: int = 0, **options: Any) -> DataLoader[Any]:
        """Minibatches of the training half, shuffled by their own generator."""
        data = TensorDataset(self.inputs, self.labels)
        options = {"shuffle": True, "generator": torch.Generator().manual_seed(seed), **options}
        return DataLoader(data, batch_size=BATCH, drop_last=True, **options)

    def batches(self, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of shuffled minibatches, without a DataLoader, which would take half of the time."""
        order = torch.randperm(len(self.inputs), generator=torch.Generator().manual_seed(seed))
        for chosen in order.split(BATCH):
            yield self.inputs[chosen], self.labels[chosen]

    def loss(self, net: nn.Module) -> float:
        """Mean cross-entropy on the other half."""
        net.eval()
        with torch.no_grad():
            return functional.cross_entropy(net(self.held_out_inputs).float(), self.held_out_labels).item()


@functools.cache
def digits() -> Digits:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.tensor(pixels, dtype=torch.float32) / 16, torch.tensor(labels)
    order = torch.randperm(len(inputs), generator=generator)
    inputs, targets = inputs[order], targets[order]
    half = BATCH * 14
    wrong = torch.rand(half, generator=generator) < 0.1
    noisy = targets[:half].where(~wrong, torch.randint(10, (half,), generator=generator))
    return Digits(inputs[:half], noisy, inputs[half:], targets[half:])


def make_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))


def weights(net: nn.Module) -> Tensor:
    """All parameters and buffers."""
    return torch.cat([t.detach().flatten().double() for t in net.state_dict().values()])


def nothing_controlled(rates: Sequence[float], made: Sequence[Sequence[float]]) -> Choice:
    return Choice(False, "the test wants none")


@contextmanager
def control(how: str) -> Iterator[Capture | None]:
    """Train in this: "off" has no galatune, "none" controls nothing, "pinned" is at 0.01 whatever happens.

    "often" probes more often than "on", which is the default.
    """
    blocks: dict[str, Callable[[], Any]] = {
        "off": nullcontext,
        "none": lambda: galatune.controlled(select=nothing_controlled),
        "pinned": lambda: galatune.controlled(**PINNED),
        "often": lambda: galatune.controlled(probe_schedule=OFTEN),
        "on": galatune.controlled,
    }
    with blocks[how]() as capture:
        yield capture


@dataclass
class Result:
    """What is left of a training.

    Attributes:
        weights: Of the trained net, buffers included.
        loss: Held-out loss.
        seen: What callbacks, metrics and hooks noted, which control must not change.
    """

    weights: Tensor
    loss: float
    capture: Capture | None = None
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def controller(self) -> galatune.Controller:
        assert self.capture is not None
        assert len(self.capture.controllers) == 1, self.capture.left_alone
        return self.capture.controllers[0]


Train = Callable[..., Result]
"""(rate, seed, how) to a `Result`."""


def assert_unchanged(train: Train, *, rate: float = 0.01, left_alone: bool = False, **options: Any) -> None:
    """Control that controls nothing, and control that is pinned, are the uncontrolled training to the bit."""
    plain = train(rate, 0, "off", **options)
    for how in ("none",) if left_alone else ("none", "pinned"):
        other = train(rate, 0, how, **options)
        assert torch.equal(other.weights, plain.weights), how
        assert other.seen == plain.seen, how
        if how == "pinned":
            assert other.capture is not None
            assert sum(one.probes for one in other.capture.controllers) > 5, _said(other.capture)


def _said(capture: Capture) -> list[str]:
    return [f"{e.kind}: {e.reason}" for one in capture.controllers for e in one.events]


SEEDS = range(3)


@functools.cache
def best_fixed(train: Train, rates: Sequence[float]) -> float:
    """Loss of the best of these rates, each a mean over the seeds."""
    means = [sum(train(rate, seed, "off").loss for seed in SEEDS) / len(SEEDS) for rate in rates]
    return min(loss for loss in means if math.isfinite(loss))


def ratio(train: Train, baseline: Train, rates: Sequence[float]) -> float:
    """Controlled loss over that of the best fixed rate of the baseline, each a mean over the seeds."""
    losses = [train(rates[0], seed, "on").loss for seed in SEEDS]
    return sum(losses) / len(SEEDS) / best_fixed(baseline, rates)
