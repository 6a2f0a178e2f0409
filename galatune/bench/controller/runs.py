"""One training of the testbed, and which trainings a comparison needs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from galatune.bench.controller.methods import METHODS, Method, Schedule
from galatune.bench.controller.regret import regret
from galatune.bench.controller.tasks import TASKS, Task
from galatune.controller import ProbeRecord
from galatune.errors import ControlError, GalatuneError

__all__ = ["INITIAL_RATES", "LOSS_SCALE", "Result", "Run", "execute", "plan"]

INITIAL_RATES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 10.0)
"""Rates that an optimizer is built with, to see whether that matters."""

LOSS_SCALE = 1e-6

SMALLEST_LOSS = 1e-12
"""The loss of a net that interpolates may round to 0."""

LOOKED_AT = 10
"""Number of last steps whose state is measured; one of them is followed by a probed step."""

RATES_KEPT = 60
"""Points of the learning-rate curve that a result keeps."""


@dataclass(frozen=True)
class Run:
    """One training to be done.

    Attributes:
        task: Name of the task.
        method: Name of the method.
        schedule: "cosine", "constant" or "warmup-cosine".
        rate: The rate the optimizer is built with.
        seed: Seed of torch.
        equal_gradients: Whether to take fewer steps, so that all gradient evaluations together are at most
            the task's steps.
        scale: Factor on the loss.
        dtype: "float32" or "float64".
    """

    task: str
    method: str
    schedule: Schedule
    rate: float
    seed: int = 0
    equal_gradients: bool = False
    scale: float = 1.0
    dtype: str = "float32"


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes:
        run: The run.
        loss: Validation loss, in the task's own units; inf if it is not finite.
        start: Validation loss before the first step.
        steps: Optimizer steps taken.
        gradient_evaluations: Number of gradient evaluations, probes included.
        peak_rate: Largest rate applied, None if the method does not tell.
        seconds: Processor time of the steps on one thread, since other trainings may run at the same time.
        state_bytes: Bytes of state per trained parameter, the most that was kept between two of the last
            steps. One of these is followed by a probed step.
        rates: (step, rate as applied), thinned; empty if the method does not tell.
        regret: Mean over probes of the modelled loss at the played rate less that at the best fixed rate,
            see `galatune.bench.controller.regret`; None if the method is not controlled, or if no fixed
            rate is the best.
    """

    run: Run
    loss: float
    start: float
    steps: int
    gradient_evaluations: int
    peak_rate: float | None
    seconds: float = field(default=math.nan, compare=False)
    state_bytes: float = 0.0
    rates: tuple[tuple[int, float], ...] = ()
    regret: float | None = None

    @property
    def diverged(self) -> bool:
        """Whether training made it worse than it was at the start."""
        return not self.loss <= self.start

    @property
    def clipped(self) -> float:
        """The loss, at most that at the start and at least 1e-12, so that means and ratios stay finite."""
        return self.start if self.diverged else max(self.loss, SMALLEST_LOSS)


def execute(run: Run) -> Result:
    """Train once and validate. What a method prints goes to stderr.

    Raises:
        GalatuneError: The method cannot train the task.
    """
    try:
        with redirect_stdout(sys.stderr):
            return _execute(run)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GalatuneError(
            f"{run.method} cannot train {run.task}: {reason}; leave it out with --methods"
        ) from error


def _execute(run: Run) -> Result:
    torch.set_num_threads(1)  # nets this small are slower on two, and much slower on a busy machine
    task, method = TASKS[run.task], METHODS[run.method]
    if not run.equal_gradients:
        return _train(run, task, method, task.steps)
    steps = _steps(task, method)
    while (result := _train(run, task, method, steps)).gradient_evaluations > task.steps:
        steps -= 1  # while the rate is far too low, there are a few more probes than scheduled
    return result


def _train(run: Run, task: Task, method: Method, steps: int) -> Result:
    start = _loss_at_start(task, run)
    torch.manual_seed(run.seed)
    training = task.start(getattr(torch, run.dtype))
    net = training.net
    trained = [p for p in net.parameters() if p.requires_grad]
    driver = method.make(trained, run.rate, run.scale, run.schedule, steps)
    began = time.process_time()
    kept = 0
    for step, batch in zip(range(steps), driver.over(training.batches), strict=False):

        def closure(batch: tuple[torch.Tensor, torch.Tensor] = batch) -> torch.Tensor:
            driver.optimizer.zero_grad()
            loss = training.loss(net, batch) * run.scale
            loss.backward()
            return loss.detach()

        driver.step(closure)
        if step >= steps - LOOKED_AT:
            kept = max(kept, _bytes(driver.state()))
    seconds = time.process_time() - began
    controller = getattr(driver, "controller", None)
    rates = [] if controller is None else controller.rate_curve.points()
    driver.finish(net)
    loss = training.validate(net)
    return Result(
        run,
        loss if math.isfinite(loss) else math.inf,
        start,
        steps,
        driver.gradient_evaluations,
        max((rate for _, rate in rates), default=None),
        seconds,
        kept / sum(p.numel() for p in trained),
        _thinned(rates),
        None if controller is None else _average_regret(controller.history),
    )


def _average_regret(history: Iterable[ProbeRecord]) -> float | None:
    try:
        average = regret(history).average
    except ControlError:
        return None
    return average if average is not None and math.isfinite(average) else None


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    stride = math.ceil(len(points) / RATES_KEPT) or 1
    return tuple(dict.fromkeys(chain(points[::stride], points[-1:])))


def _bytes(state: Any) -> int:
    """Return the bytes of all tensors in nested containers."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(map(_bytes, state.values()))
    return sum(map(_bytes, state)) if isinstance(state, list | tuple) else 0


def _loss_at_start(task: Task, run: Run) -> float:
    torch.manual_seed(run.seed)
    training = task.start(getattr(torch, run.dtype))
    return training.validate(training.net)


def _steps(task: Task, method: Method) -> int:
    """Return the most steps whose gradient evaluations, as scheduled, are at most the task's steps."""
    steps = task.steps
    while steps + method.extra_gradients(steps) > task.steps:
        steps -= 1
    return steps


def plan(
    tasks: Iterable[Task], methods: Sequence[Method], schedules: Sequence[Schedule], seeds: Sequence[int]
) -> list[Run]:
    """Return all runs of a comparison: at equal steps and, if that differs, at equal gradient evaluations."""
    runs = []
    for task in tasks:
        for method in methods:
            for schedule in method.schedules:
                if schedule.removeprefix("warmup-") not in schedules:
                    continue
                for rate in method.rates:
                    for seed in seeds:
                        runs.append(Run(task.name, method.name, schedule, rate, seed))
                        if method.extra_gradients(task.steps):
                            runs.append(Run(task.name, method.name, schedule, rate, seed, True))
    return runs
