"""What is trained: data, a net, a loss, a fixed number of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from galatune.demo.objective import load, make_net
from galatune.errors import GalatuneError

__all__ = ["TASKS", "Task", "Training", "find_tasks"]

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Training:
    """One training about to start; everything random in it is drawn from torch's seeded generator.

    Attributes:
        net: In train mode.
        batches: Minibatches, as many as the task has steps.
        loss: (net, batch) to the mean loss, a scalar.
        validate: Net to the validation loss.
    """

    net: nn.Module
    batches: Iterator[Batch]
    loss: Callable[[nn.Module, Batch], Tensor]
    validate: Callable[[nn.Module], float]


@dataclass(frozen=True)
class Task:
    """A task of the testbed.

    Attributes:
        name: As in the table.
        steps: Optimizer steps of one training.
        start: Torch dtype to a `Training`; seed torch first.
    """

    name: str
    steps: int
    start: Callable[[torch.dtype], Training]


DIGITS_EPOCHS, DIGITS_BATCH = 16, 64


@cache
def _digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return load()


def _start_digits(dtype: torch.dtype) -> Training:
    x, y, x_valid, y_valid = _digits()
    x, x_valid = x.to(dtype), x_valid.to(dtype)
    net = make_net(width=16, dropout=0.1).to(dtype)

    def batches() -> Iterator[Batch]:
        for _ in range(DIGITS_EPOCHS):
            order = torch.randperm(len(x))
            for start in range(0, len(x), DIGITS_BATCH):
                chosen = order[start : start + DIGITS_BATCH]
                yield x[chosen], y[chosen]

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        return functional.cross_entropy(net(batch[0]), batch[1])

    def validate(net: nn.Module) -> float:
        net.eval()
        with torch.no_grad():
            return float(functional.cross_entropy(net(x_valid), y_valid))

    return Training(net, batches(), loss, validate)


TASKS = {
    task.name: task for task in (Task("digits-cnn", DIGITS_EPOCHS * -(-1257 // DIGITS_BATCH), _start_digits),)
}
"""Every task, by name."""


def find_tasks(names: str | None) -> list[Task]:
    """Tasks by a comma-separated list of names; all of them for None.

    Raises:
        GalatuneError: One of them is none.
    """
    if names is None:
        return list(TASKS.values())
    wanted = [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in TASKS]
    if unknown:
        raise GalatuneError(f"no task {unknown[0]!r}; use {', '.join(TASKS)}")
    return [TASKS[name] for name in wanted]
