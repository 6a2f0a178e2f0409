"""Fixed learning rates: what every other method is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.bench.controller.methods.method import WEIGHT_DECAY, Driver, Method, Schedule, scheduler_for

__all__ = ["BASES", "FIXED", "ONE_RATE", "adam", "sgd"]

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def adam(parameters: Iterable[Tensor], rate: float, scale: float) -> Optimizer:
    """Return AdamW; its epsilon has the units of a gradient and is scaled with the loss."""
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=WEIGHT_DECAY, eps=1e-8 * scale)


def sgd(parameters: Iterable[Tensor], rate: float, scale: float) -> Optimizer:
    """Return SGD with momentum; its coupled weight decay has the units of a gradient."""
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=WEIGHT_DECAY * scale)


BASES: dict[str, Callable[[Iterable[Tensor], float, float], Optimizer]] = {"adam": adam, "sgd": sgd}
"""Optimizer families: (parameters, rate, loss scale) to an optimizer."""


def _fixed(base: str) -> Method:
    def make(
        parameters: Iterable[Tensor], rate: float, scale: float, schedule: Schedule, steps: int
    ) -> Driver:
        optimizer = BASES[base](parameters, rate, scale)
        return Driver(optimizer, scheduler_for(optimizer, schedule, steps))

    return Method(base, base, make, RATES, tuned=True)


def _default_adam() -> Method:
    """Return AdamW as it is usually run: at 1e-3, with a warmup and a cosine."""
    return Method("adam-default", "adam", _fixed("adam").make, (1e-3,), schedules=("warmup-cosine",))


FIXED = (_fixed("adam"), _fixed("sgd"), _default_adam())


def _one_rate(name: str, base: str) -> Method:
    def make(
        parameters: Iterable[Tensor], rate: float, scale: float, schedule: Schedule, steps: int
    ) -> Driver:
        raise ValueError("it is computed from the fixed rates and trains nothing of its own")

    return Method(name, base, make, ())


ONE_RATE = (_one_rate("one-rate", "adam"), _one_rate("one-rate-sgd", "sgd"))
"""One fixed rate for all tasks, chosen on the others (`galatune.bench.controller.one_rate`)."""
