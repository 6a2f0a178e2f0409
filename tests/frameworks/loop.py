"""The plain loop, for optimizers and tools that bring no loop of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .training import Result, control, digits, make_net, weights

Make = Callable[[nn.Module, float], Any]
"""(net, rate) to an optimizer."""


def train(
    rate: float,
    seed: int,
    how: str,
    *,
    make: Make,
    epochs: int = 4,
    cosine: bool = False,
    net: Callable[[int], nn.Module] = make_net,
    after: Callable[[nn.Module], None] | None = None,
) -> Result:
    """Train on digits: zero_grad, backward, step; `after` is called with the net at the end."""
    module = net(seed)
    with control(how) as capture:
        optimizer = make(module, rate)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 14 * epochs) if cosine else None
        for epoch in range(epochs):
            for inputs, labels in digits().batches(100 * seed + epoch):
                optimizer.zero_grad()
                functional.cross_entropy(module(inputs), labels).backward()
                optimizer.step()
                if scheduler is not None:
                    scheduler.step()
        if after is not None:
            after(module)
    return Result(weights(module), digits().loss(module), capture)
