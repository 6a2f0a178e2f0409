"""Fixed rates, and the same optimizers under control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.bench.controller.methods.method import (
    WEIGHT_DECAY,
    Closure,
    Driver,
    Method,
    Schedule,
    scheduler_for,
)
from galatune.controller import attach
from galatune.controller.options import Options
from galatune.controller.probes.echo import EchoProbe
from galatune.controller.probes.schedule import Begun

__all__ = ["FIXED", "OURS", "adam", "sgd"]

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
OUR_RATE = 1e-3
"""What the optimizers under control are built with; it does not matter."""


def adam(parameters: Iterable[Tensor], rate: float, scale: float) -> Optimizer:
    """AdamW; epsilon has the units of a gradient and is scaled with the loss."""
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=WEIGHT_DECAY, eps=1e-8 * scale)


def sgd(parameters: Iterable[Tensor], rate: float, scale: float) -> Optimizer:
    """SGD with momentum; its coupled weight decay has the units of a gradient."""
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=WEIGHT_DECAY * scale)


_BASES: dict[str, Callable[[Iterable[Tensor], float, float], Optimizer]] = {"adam": adam, "sgd": sgd}


class _Controlled(Driver):
    """The same loop with one line more."""

    def __init__(self, optimizer: Optimizer, schedule: Schedule, steps: int, options: dict[str, Any]) -> None:
        self._echo = EchoProbe() if options["probe"] == "echo" else None
        self.controller = attach(optimizer, **{**options, "probe": self._echo or options["probe"]})
        super().__init__(optimizer, scheduler_for(optimizer, schedule, steps))
        self._closure = options["probe"] == "closure"

    def over(self, batches: Iterator[Any]) -> Iterator[Any]:
        return batches if self._echo is None else self._echo.over(batches)

    def step(self, closure: Closure) -> None:
        if self._closure:
            self.optimizer.step(closure)  # type: ignore[arg-type]
        else:
            closure()
            self.optimizer.step()
        self.scheduler.step()
        self.gradient_evaluations = self.controller.gradient_evaluations


def _fixed(base: str) -> Method:
    def make(
        parameters: Iterable[Tensor], rate: float, scale: float, schedule: Schedule, steps: int
    ) -> Driver:
        optimizer = _BASES[base](parameters, rate, scale)
        return Driver(optimizer, scheduler_for(optimizer, schedule, steps))

    return Method(base, base, make, RATES, tuned=True)


def _default_adam() -> Method:
    """AdamW as it is usually run: 1e-3, a warmup, a cosine."""
    return Method("adam-default", "adam", _fixed("adam").make, (1e-3,), schedules=("warmup-cosine",))


def _ours(name: str, base: str, cost: int, **options: Any) -> Method:
    """A variant of ours; ``cost`` is that of one probe in gradient evaluations."""

    def make(
        parameters: Iterable[Tensor], rate: float, scale: float, schedule: Schedule, steps: int
    ) -> Driver:
        return _Controlled(_BASES[base](parameters, rate, scale), schedule, steps, options)

    rhythm = Options(**options).rhythm

    def extra(steps: int) -> int:
        return cost * sum(rhythm.due(step, [Begun()]) for step in range(steps))

    return Method(name, base, make, (OUR_RATE,), extra_gradients=extra)


FIXED = (_fixed("adam"), _fixed("sgd"), _default_adam())

OURS = (
    _ours("gala-graph", "adam", 2, probe="graph"),
    _ours("gala-closure", "adam", 1, probe="closure"),
    _ours("gala-echo", "adam", 0, probe="echo"),
    _ours("gala-consecutive", "adam", 0, probe="consecutive"),
    _ours("gala-sgd-graph", "sgd", 2, probe="graph"),
    _ours("gala-sgd-closure", "sgd", 1, probe="closure"),
)
