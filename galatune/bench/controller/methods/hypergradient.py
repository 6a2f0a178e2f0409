"""Hypergradient descent: the rate follows the product of consecutive gradients."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.bench.controller.methods.fixed import adam, sgd
from galatune.bench.controller.methods.method import Closure, Driver, Method, Schedule, scheduler_for

__all__ = ["HYPERGRADIENT"]

BETA = {"adam": 1e-7, "sgd": 1e-3}
"""Hypergradient rates that the paper's experiments favour."""


class _Hypergradient(Driver):
    """Moves the rate along ``<g_t, u_{t-1}>``; u is the direction of the last step.

    References:
        Baydin et al., "Online Learning Rate Adaptation with Hypergradient Descent", ICLR 2018,
        algorithms 4 and 5.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, steps: int, beta: float) -> None:
        super().__init__(optimizer, scheduler_for(optimizer, schedule, steps))
        self._base, self._beta = optimizer.param_groups[0]["lr"], beta
        self._direction: list[Tensor] | None = None

    def step(self, closure: Closure) -> None:
        closure()
        self.gradient_evaluations += 1
        group = self.optimizer.param_groups[0]
        parameters = [p for p in group["params"] if p.grad is not None]
        if self._direction is not None:
            gain = sum(float((p.grad * u).sum()) for p, u in zip(parameters, self._direction, strict=True))
            self._base = max(0.0, self._base + self._beta * gain)
        scheduled, applied = group["lr"], self._base * group["lr"] / group["initial_lr"]
        before = [p.detach().clone() for p in parameters]
        group["lr"] = applied
        self.optimizer.step()
        group["lr"] = scheduled
        with torch.no_grad():
            self._direction = [
                (old - p) / applied if applied else torch.zeros_like(p)
                for p, old in zip(parameters, before, strict=True)
            ]
        self.scheduler.step()


def _method(name: str, base: str) -> Method:
    def make(
        parameters: Iterable[Tensor], rate: float, scale: float, schedule: Schedule, steps: int
    ) -> Driver:
        optimizer = (adam if base == "adam" else sgd)(parameters, rate, scale)
        return _Hypergradient(optimizer, schedule, steps, BETA[base])

    return Method(name, base, make, (1e-3 if base == "adam" else 1e-2,))


HYPERGRADIENT = (_method("hypergradient-adam", "adam"), _method("hypergradient-sgd", "sgd"))
