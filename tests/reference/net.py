"""A net of one hidden layer on a flat vector of parameters, in the order of torch's own module."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SIZES = (5, 7, 3)


def module(seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    inputs, hidden, outputs = SIZES
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, outputs)
    ).to(dtype)


def flat(net: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def forward(x: Tensor, inputs: Tensor) -> Tensor:
    into, hidden, out = SIZES
    shapes = [(hidden, into), (hidden,), (out, hidden), (out,)]
    w1, b1, w2, b2 = (
        part.view(shape) for part, shape in zip(x.split([math.prod(s) for s in shapes]), shapes, strict=True)
    )
    return torch.tanh(inputs @ w1.T + b1) @ w2.T + b2


def cross_entropy(x: Tensor, batch: object) -> Tensor:
    inputs, labels = batch  # type: ignore[misc]
    scores = forward(x, inputs)
    return (scores.exp().sum(1).log() - scores[torch.arange(len(labels)), labels]).mean()


def minibatches(count: int, size: int = 16, seed: int = 1) -> list[tuple[Tensor, Tensor]]:
    """Inputs and labels of a teacher net, with some labels wrong."""
    generator = torch.Generator().manual_seed(seed)
    teacher = torch.randn(SIZES[0], SIZES[2], dtype=torch.float64, generator=generator)
    batches = []
    for _ in range(count):
        inputs = torch.randn(size, SIZES[0], dtype=torch.float64, generator=generator)
        labels = (inputs @ teacher).argmax(1)
        labels[0] = 0
        batches.append((inputs, labels))
    return batches
