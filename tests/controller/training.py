"""Small problems and the loops that train on them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from galatune.controller.probes.schedule import ProbeSchedule

Batch = tuple[Tensor, Tensor]

OFTEN: dict[str, Any] = {"probe_schedule": ProbeSchedule(first=40, every=10, thinning=0.0)}
"""For tests that count probes, or that stop before or after one."""


class Scale(torch.autograd.Function):
    """A custom function that cannot be differentiated twice."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


class OnceOnly(nn.Module):
    def forward(self, x):
        return Scale.apply(x)


def classifier(seed: int = 0, *, norm: bool = False, dropout: bool = False, dtype=torch.float32) -> nn.Module:
    """4 inputs, 3 classes."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Linear(4, 8)]
    if norm:
        layers.append(nn.BatchNorm1d(8))
    layers.append(nn.Tanh())
    if dropout:
        layers.append(nn.Dropout(0.3))
    return nn.Sequential(*layers, nn.Linear(8, 3)).to(dtype)


def batches(count: int, size: int = 16, seed: int = 1, dtype: torch.dtype = torch.float32) -> list[Batch]:
    """A linear teacher's labels."""
    generator = torch.Generator().manual_seed(seed)
    teacher = torch.randn(4, 3, generator=generator)
    drawn = []
    for _ in range(count):
        inputs = torch.randn(size, 4, generator=generator)
        drawn.append((inputs.to(dtype), (inputs @ teacher).argmax(1)))
    return drawn


def steps(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Sequence[Batch],
    *,
    closure: bool = False,
    scheduler: Any = None,
    weight: float = 1.0,
    noisy: bool = False,
    loss: Callable[..., Tensor] = functional.cross_entropy,
) -> Iterator[float]:
    """Train; after each step the loss.

    Args:
        closure: Call ``step(closure)`` instead of ``backward(); step()``.
        weight: Multiplies the loss.
        noisy: Draw from torch, numpy and Python in each evaluation.
    """
    for inputs, target in data:

        def evaluate(inputs: Tensor = inputs, target: Tensor = target) -> Tensor:
            optimizer.zero_grad()
            if noisy:
                factor = 1 + 0.1 * random.random() + 0.1 * np.random.rand()
                inputs = inputs * factor + 0.1 * torch.randn_like(inputs)
            value = weight * loss(net(inputs), target)
            value.backward()
            return value

        if closure:
            value = optimizer.step(evaluate)
        else:
            value = evaluate()
            optimizer.step()
        if scheduler is not None:
            scheduler.step()
        yield value.item()


def train(*args: Any, **kwargs: Any) -> list[float]:
    return list(steps(*args, **kwargs))


def weights(net: nn.Module) -> Tensor:
    """All parameters and buffers."""
    return torch.cat([t.detach().flatten().double() for t in net.state_dict().values()])
