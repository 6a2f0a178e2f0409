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
"""Rates an optimizer is built with, to see what that does."""

LOSS_SCALE = 1e-6

SMALLEST_LOSS = 1e-12
"""A net that interpolates may round to a loss of 0."""

LOOKED_AT = 10
"""Last steps whose state is weighed: one of them is followed by a probed one."""

RATES_KEPT = 60
"""Points of a learning-rate curve in a result."""


@dataclass(frozen=True)
class Run:
    """One training to be done: a row of the results before its results.

    Attributes:
        task: Name.
        method: Name.
        schedule: "cosine", "constant" or "warmup-cosine".
        rate: The rate the optimizer is built with.
        seed: Of torch.
        equal_gradients: Fewer steps, so that all gradient evaluations together are as many as the task's
            steps.
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
    """What a run came to.

    Attributes:
        run: Which.
        loss: Validation loss, in the task's own units; inf where training diverged.
        start: Validation loss before the first step.
        steps: Optimizer steps taken.
        gradient_evaluations: Spent, probes included.
        peak_rate: Largest rate applied, None where the method does not say.
        seconds: Processor time of the steps, on one thread: other trainings may run beside this one.
        state_bytes: Bytes of state a trained parameter, the most that was kept between two of the last
            steps: where one is probed, between it and the one before.
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
        """The loss, at worst that at the start and at best 1e-12, so that means and ratios stay finite."""
        return self.start if self.diverged else max(self.loss, SMALLEST_LOSS)


def execute(run: Run) -> Result:
    """One training, start to validation. What a method prints goes to stderr.

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
        steps -= 1  # a rate that is far below takes a few more probes than the rhythm says
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
    """Of all tensors in nested containers."""
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
    """The largest number whose gradient evaluations, by the rhythm of probes, stay within the task's."""
    steps = task.steps
    while steps + method.extra_gradients(steps) > task.steps:
        steps -= 1
    return steps


def plan(
    tasks: Iterable[Task], methods: Sequence[Method], schedules: Sequence[Schedule], seeds: int
) -> list[Run]:
    """Every run of a comparison: at equal steps, and at equal gradient evaluations where that differs."""
    runs = []
    for task in tasks:
        for method in methods:
            for schedule in method.schedules:
                if schedule.removeprefix("warmup-") not in schedules:
                    continue
                for rate in method.rates:
                    for seed in range(seeds):
                        runs.append(Run(task.name, method.name, schedule, rate, seed))
                        if method.extra_gradients(task.steps):
                            runs.append(Run(task.name, method.name, schedule, rate, seed, True))
    return runs
