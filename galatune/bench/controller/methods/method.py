"""What a method is: from parameters and a number of steps to an object that takes the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

__all__ = [
    "SCHEDULES",
    "WEIGHT_DECAY",
    "Closure",
    "Driver",
    "Method",
    "Schedule",
    "schedule_factor",
    "scheduler_for",
]

Closure = Callable[[], Tensor]
"""Zeroes the gradients, computes them anew and returns the loss."""

Schedule = Literal["cosine", "constant", "warmup-cosine"]
SCHEDULES: tuple[Schedule, ...] = ("cosine", "constant", "warmup-cosine")

WEIGHT_DECAY = 1e-4
WARMUP = 0.05
"""Share of the steps in which the rate rises from 0."""


class Driver:
    """Takes the steps of one training.

    Args:
        optimizer: Already built.
        scheduler: Stepped after each step.
    """

    def __init__(self, optimizer: Optimizer, scheduler: LRScheduler) -> None:
        self.optimizer, self.scheduler = optimizer, scheduler
        self.gradient_evaluations = 0

    def over(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The minibatches as the method wants them, as many as there are."""
        return batches

    def step(self, closure: Closure) -> None:
        """One step on one minibatch."""
        closure()
        self.gradient_evaluations += 1
        self.optimizer.step()
        self.scheduler.step()

    def state(self) -> list[Any]:
        """What is kept between steps, in whatever containers."""
        groups = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
        return [list(self.optimizer.state.values()), groups]

    def finish(self, net: nn.Module) -> None:
        """Put the parameters that the method would deploy into the net."""


Make = Callable[[Iterable[Tensor], float, float, Schedule, int], Driver]


@dataclass(frozen=True)
class Method:
    """One row of the score table.

    Attributes:
        name: As in the table.
        base: Optimizer family, "adam" or "sgd": which fixed rates it is compared with.
        make: (parameters, rate, loss scale, schedule, steps) to a `Driver`.
        rates: Rates it is run at: a grid if it is tuned, else its own default. Empty if its results are
            computed from those of the fixed rates.
        tuned: Whether the best of its rates is taken with hindsight.
        schedules: Schedules that it can be run with.
        extra_gradients: Number of steps to gradient evaluations beyond one per step, for the comparison at
            equal gradient evaluations.
        controlled: Whether galatune sets its rate.
    """

    name: str
    base: str
    make: Make
    rates: tuple[float, ...]
    tuned: bool = False
    schedules: tuple[Schedule, ...] = ("cosine", "constant")
    extra_gradients: Callable[[int], int] = lambda steps: 0
    controlled: bool = False


def scheduler_for(optimizer: Any, schedule: Schedule, steps: int) -> LRScheduler:
    """Return a schedule that multiplies the rate the optimizer was built with."""
    return LambdaLR(optimizer, schedule_factor(schedule, steps))


def schedule_factor(schedule: Schedule, steps: int) -> Callable[[int], float]:
    """Return the factor of a schedule over so many steps, a function of the step from 0."""
    warmup = max(1, round(WARMUP * steps))

    def cosine(step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))

    def factor(step: int) -> float:
        if schedule == "constant":
            return 1.0
        if schedule == "cosine":
            return cosine(step)
        return min(1.0, (step + 1) / warmup) * cosine(step)

    return factor
