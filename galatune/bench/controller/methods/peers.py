"""Other optimizers that need no tuned rate, from the extra ``bench``, at their own defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from galatune.bench.controller.methods.method import (
    WEIGHT_DECAY,
    Closure,
    Driver,
    Method,
    Schedule,
    scheduler_for,
)

__all__ = ["PEERS"]


class _WithLoss(Driver):
    """MoMo needs the loss."""

    def step(self, closure: Closure) -> None:
        loss = closure()
        self.gradient_evaluations += 1
        self.optimizer.step(closure=None, loss=loss.detach())  # type: ignore[call-overload]
        self.scheduler.step()


class _ScheduleFree(Driver):
    """Trains at one point and deploys another."""

    def __init__(self, optimizer: Any, scheduler: Any) -> None:
        super().__init__(optimizer, scheduler)
        optimizer.train()

    def finish(self, net: nn.Module) -> None:
        self.optimizer.eval()  # type: ignore[attr-defined]


class _Averaged(Driver):
    """DoG deploys a weighted average of its iterates."""

    def __init__(self, optimizer: Optimizer, scheduler: Any) -> None:
        super().__init__(optimizer, scheduler)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._mean = [p.detach().clone() for p in self._parameters]
        self._count = 0

    def step(self, closure: Closure) -> None:
        super().step(closure)
        self._count += 1
        gamma = 8.0  # the package's own default
        weight = (gamma + 1) / (gamma + self._count)
        for mean, p in zip(self._mean, self._parameters, strict=True):
            mean.lerp_(p.detach(), min(1.0, weight))

    def state(self) -> list[Any]:
        return [*super().state(), self._mean]

    def finish(self, net: nn.Module) -> None:
        with torch.no_grad():
            for mean, p in zip(self._mean, self._parameters, strict=True):
                p.copy_(mean)


def _peer(
    name: str,
    package: str,
    build: Callable[[Iterable[Tensor]], Any],
    *,
    driver: type[Driver] = Driver,
    base: str = "adam",
    schedules: tuple[Schedule, ...] = ("cosine", "constant"),
) -> Method | None:
    """Return a method of a package, None if the package is not installed."""
    if find_spec(package) is None:
        return None

    def make(
        parameters: Iterable[Tensor], rate: float, scale: float, schedule: Schedule, steps: int
    ) -> Driver:
        optimizer = build(list(parameters))
        for group in optimizer.param_groups:
            group["lr"] *= rate
        return driver(optimizer, scheduler_for(optimizer, schedule, steps))

    # The rate of a run is a factor on the package's own default.
    return Method(name, base, make, (1.0,), schedules=schedules)


def _prodigy(parameters: Iterable[Tensor]) -> Any:
    from prodigyopt import Prodigy

    return Prodigy(parameters, weight_decay=WEIGHT_DECAY)


def _prodigy_safeguarded(parameters: Iterable[Tensor]) -> Any:
    from prodigyopt import Prodigy

    return Prodigy(parameters, weight_decay=WEIGHT_DECAY, safeguard_warmup=True, use_bias_correction=True)


def _dadapt(parameters: Iterable[Tensor]) -> Any:
    from dadaptation import DAdaptAdam

    return DAdaptAdam(parameters, weight_decay=WEIGHT_DECAY, decouple=True)


def _schedule_free(parameters: Iterable[Tensor]) -> Any:
    from schedulefree import AdamWScheduleFree

    return AdamWScheduleFree(parameters, weight_decay=WEIGHT_DECAY)


def _dog(parameters: Iterable[Tensor]) -> Any:
    from dog import DoG

    return DoG(parameters)


def _mechanic(parameters: Iterable[Tensor]) -> Any:
    from mechanic_pytorch import mechanize

    return mechanize(torch.optim.AdamW)(parameters, lr=1.0, weight_decay=WEIGHT_DECAY)


def _momo(parameters: Iterable[Tensor]) -> Any:
    from momo import MomoAdam

    return MomoAdam(parameters, weight_decay=WEIGHT_DECAY)


_FOUND = (
    _peer("prodigy", "prodigyopt", _prodigy),
    _peer("prodigy-safeguard", "prodigyopt", _prodigy_safeguarded),
    _peer("d-adaptation", "dadaptation", _dadapt),
    _peer("schedule-free", "schedulefree", _schedule_free, driver=_ScheduleFree, schedules=("constant",)),
    _peer("dog", "dog", _dog, driver=_Averaged, schedules=("constant",)),
    _peer("mechanic", "mechanic_pytorch", _mechanic),
    _peer("momo", "momo", _momo, driver=_WithLoss),
)

PEERS = tuple(method for method in _FOUND if method is not None)
"""Those whose package is installed."""
