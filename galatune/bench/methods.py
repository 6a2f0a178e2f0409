"""How it is trained: an optimizer with a schedule, at a fixed rate or under control."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from galatune.bench.tasks import Task
from galatune.controller.attach import attach

__all__ = ["FIXED_RATES", "FLOAT32_SCALE", "SETUPS", "Result", "Run", "Setup", "plan_runs", "train"]

WEIGHT_DECAY = 1e-4
FIXED_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
INITIAL_RATES = (1e-6, 1e-3, 10.0)
FLOAT32_SCALE = 1e-6


@dataclass(frozen=True)
class Setup:
    """What runs below the learning rate.

    Attributes:
        name: As in the table.
        make: (parameters, rate, loss scale) to an optimizer. What has the units of a gradient (epsilon,
            coupled weight decay) is scaled along with the loss, so that only the controller's own
            dependence on the scale is left.
    """

    name: str
    make: Callable[[Iterable[Tensor], float, float], Optimizer]


def _adamw(parameters: Iterable[Tensor], rate: float, scale: float) -> Optimizer:
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=WEIGHT_DECAY, eps=1e-8 * scale)


def _sgd(parameters: Iterable[Tensor], rate: float, scale: float) -> Optimizer:
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=WEIGHT_DECAY * scale)


SETUPS = {
    setup.name: setup for setup in (Setup("AdamW + cosine", _adamw), Setup("SGD + momentum + cosine", _sgd))
}
"""Every setup, by name."""


@dataclass(frozen=True)
class Run:
    """One training to be done: a row of the results before its results.

    Attributes:
        task: Name.
        setup: Name.
        method: "fixed" or a probe of ours: "graph", "closure".
        rate: The rate the optimizer is built with.
        scale: Factor on the loss.
        dtype: "float32" or "float64".
        seed: Of torch.
    """

    task: str
    setup: str
    method: str
    rate: float
    scale: float = 1.0
    dtype: str = "float32"
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        run: Which.
        loss: Validation loss, in the task's own units; inf where training diverged.
        gradient_evaluations: Spent, probes included.
    """

    run: Run
    loss: float
    gradient_evaluations: int


def plan_runs(task: Task, seeds: int) -> list[Run]:
    """Every run that the table of a task needs."""
    runs = []
    for setup in SETUPS:
        for seed in range(seeds):
            runs += [Run(task.name, setup, "fixed", rate, seed=seed) for rate in FIXED_RATES]
            runs += [Run(task.name, setup, probe, 1e-3, seed=seed) for probe in ("graph", "closure")]
        # What the result may not depend on, with the first seed.
        runs += [Run(task.name, setup, "graph", rate) for rate in INITIAL_RATES if rate != 1e-3]
        for dtype in ("float32", "float64"):
            runs += [Run(task.name, setup, "graph", 1e-3, s, dtype) for s in (1.0, FLOAT32_SCALE)]
    return list(dict.fromkeys(runs))


def train(task: Task, run: Run) -> Result:
    """One training, start to validation."""
    torch.set_num_threads(1)  # nets this small are slower on two, and much slower on a busy machine
    torch.manual_seed(run.seed)
    training = task.start(getattr(torch, run.dtype))
    net = training.net
    net.train()
    optimizer = SETUPS[run.setup].make(net.parameters(), run.rate, run.scale)
    controller = None if run.method == "fixed" else attach(optimizer, probe=run.method)
    scheduler = CosineAnnealingLR(optimizer, task.steps)
    for _, batch in zip(range(task.steps), training.batches, strict=False):

        def closure(batch: tuple[Tensor, Tensor] = batch) -> float:
            optimizer.zero_grad()
            loss = training.loss(net, batch) * run.scale
            loss.backward()
            return float(loss.detach())

        if run.method == "closure":
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        scheduler.step()
    loss = training.validate(net)
    evaluations = task.steps if controller is None else controller.gradient_evaluations
    return Result(run, loss if math.isfinite(loss) else math.inf, evaluations)
