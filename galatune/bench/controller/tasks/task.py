"""What a task is: data, a net, a loss, a fixed number of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Batch", "Data", "Order", "Task", "Training", "mean_squared_error", "mlp", "supervised"]

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Order = Literal["shuffled", "sorted", "cyclic"]
"""Shuffled anew each epoch; by target, which is the worst case; in one fixed shuffled order."""


@dataclass(frozen=True)
class Training:
    """One training about to start; everything random in it is drawn from torch's seeded generator.

    Attributes:
        net: In train mode.
        batches: Minibatches without end.
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
        needs: File that must be there, None if nothing but the installed packages is needed.
        scored: Whether it counts in the score. Tasks that a net interpolates do not, since their loss
            ratios have no bound.
        held_out: Whether no choice of the method was made on it, at any length (docs/research.md). Set it
            to False as soon as one is.
    """

    name: str
    steps: int
    start: Callable[[torch.dtype], Training]
    needs: str | None = None
    scored: bool = True
    held_out: bool = False


@dataclass(frozen=True)
class Data:
    """Training rows, their targets, validation rows, their targets."""

    x: Tensor
    y: Tensor
    x_valid: Tensor
    y_valid: Tensor

    def to(self, dtype: torch.dtype) -> Data:
        """Floating-point parts in another precision."""
        parts = (self.x, self.y, self.x_valid, self.y_valid)
        return Data(*(part.to(dtype) if part.is_floating_point() else part for part in parts))


def supervised(
    net: nn.Module,
    data: Data,
    *,
    batch_size: int,
    loss: Loss = functional.cross_entropy,
    order: Order = "shuffled",
    noise: Callable[[nn.Module], Tensor] | None = None,
) -> Training:
    """Minibatches of rows, the mean loss, the loss of all validation rows.

    Args:
        net: Freshly initialized.
        data: In the net's precision.
        batch_size: Rows per step; the last batch of an epoch may be smaller.
        loss: (outputs, targets) to their mean loss.
        order: In which rows come.
        noise: Net to a term that is added to the training loss, drawn anew at each step.
    """

    def total(net: nn.Module, batch: Batch) -> Tensor:
        value = loss(net(batch[0]), batch[1])
        return value if noise is None else value + noise(net)

    def validate(net: nn.Module) -> float:
        net.eval()
        with torch.no_grad():
            return float(loss(net(data.x_valid), data.y_valid))

    return Training(net.train(), _batches(data, batch_size, order), total, validate)


def _batches(data: Data, batch_size: int, order: Order) -> Iterator[Batch]:
    count = len(data.x)
    fixed = torch.argsort(data.y.flatten(), stable=True) if order == "sorted" else torch.randperm(count)
    while True:
        rows = torch.randperm(count) if order == "shuffled" else fixed
        for chosen in rows.split(batch_size):
            yield data.x[chosen], data.y[chosen]


def mlp(
    sizes: tuple[int, ...], activation: Callable[[], nn.Module] = nn.ReLU, dropout: float = 0.0
) -> nn.Module:
    """A multilayer perceptron with torch's own initialization."""
    layers: list[nn.Module] = []
    for i, (rows, columns) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(rows, columns))
        if i < len(sizes) - 2:
            layers.append(activation())
            if dropout:
                layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of outputs with one column."""
    return functional.mse_loss(outputs.squeeze(-1), targets)
