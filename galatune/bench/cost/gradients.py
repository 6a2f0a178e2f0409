"""What a probe counts: the processor time of a probed step, told in gradients of the same training.

A probed step has two parts. One part computes gradients: a Hessian-vector product, or one more evaluation of
the closure. The other part is Python and small sums over the parameters; it takes milliseconds per probe that
depend little on the net, so it is no number of gradients. Only the first part is counted.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor

from galatune.bench.controller.tasks import Task, find_tasks
from galatune.bench.text import plain_table
from galatune.controller import attach
from galatune.formatting import plural

__all__ = ["COUNTED", "NETS", "GradientCost", "Part", "counted", "gradient_cost", "gradient_table", "nets"]

NETS = "digits-mlp,friedman1,digits-dropout,digits-cnn,char-transformer,char-lstm"
"""Tasks of the testbed whose data everyone has: nets of 4,800 to 115,000 parameters."""

COUNTED = ("graph", "closure")
"""Probes that compute gradients beside those of the loop."""

RATE = 1e-3


@dataclass(frozen=True)
class Part:
    """Processor time of one step, in seconds.

    Attributes:
        gradient: Time of the loop's forward and backward calls, and of what a probe computes within them or
            by calling the closure.
        rest: Time of everything else: the optimizer's step, the estimate and the rule.
        probed: Whether the step was probed.
    """

    gradient: float
    rest: float
    probed: bool = False


@dataclass(frozen=True)
class GradientCost:
    """What one probe costs in one training.

    Attributes:
        task: Name of the task.
        probe: Name of the probe.
        plain: Steps without control.
        controlled: The same steps with control.
    """

    task: str
    probe: str
    plain: tuple[Part, ...]
    controlled: tuple[Part, ...]

    @property
    def gradient(self) -> float:
        """Median processor time of one gradient without control, in seconds."""
        return statistics.median(part.gradient for part in self.plain)

    @property
    def gradients(self) -> float:
        """What a probe computes beside the loop's own gradient, in gradients."""
        probed = statistics.median(part.gradient for part in self.controlled if part.probed)
        return probed / self.gradient - 1.0

    @property
    def rest(self) -> float:
        """What a probe takes otherwise, in seconds of processor time."""
        plain = statistics.median(part.rest for part in self.plain)
        return statistics.median(part.rest for part in self.controlled if part.probed) - plain

    @property
    def run(self) -> float:
        """Ratio of the whole trainings, the steps between probes included."""
        with_control, without = (sum(p.gradient + p.rest for p in s) for s in (self.controlled, self.plain))
        return with_control / without


def counted(costs: Sequence[GradientCost]) -> int:
    """Gradient evaluations that a Hessian-vector product counts as: the mean over the nets, rounded up.

    >>> step = Part(1.0, 0.1)
    >>> counted([GradientCost("net", "graph", (step,), (Part(3.2, 0.4, True),))])
    3
    """
    return max(1, math.ceil(statistics.fmean(cost.gradients for cost in costs)))


def gradient_cost(
    probe: str, tasks: Sequence[Task], steps: int, progress: Callable[[int, int], None]
) -> list[GradientCost]:
    """Train each task with control and without, step by step in turns.

    Args:
        probe: Name of a probe of `COUNTED`.
        tasks: What is trained, with AdamW.
        steps: Steps of each training.
        progress: Called with (trainings done, trainings in all).
    """
    found = []
    for i, task in enumerate(tasks):
        plain, own = _Training(task, probe, controlled=False), _Training(task, probe, controlled=True)
        taken: tuple[list[Part], list[Part]] = ([], [])
        for step in range(steps):
            for which in (0, 1) if step % 2 else (1, 0):
                taken[which].append((plain, own)[which].step())
        found.append(GradientCost(task.name, probe, tuple(taken[0]), tuple(taken[1])))
        progress(2 * (i + 1), 2 * len(tasks))
    return found


def gradient_table(costs: Sequence[GradientCost]) -> Table:
    """One line per net and the count that follows from them."""
    first = costs[0]
    table = plain_table(
        f"{first.probe} probe, processor time, {plural(len(first.plain), 'step')}, "
        f"{plural(torch.get_num_threads(), 'thread')}; medians",
        ("", "one gradient", "gradients per probe", "rest per probe", "whole training"),
        left=("",),
    )
    for cost in costs:
        one, rest = (f"{1e3 * seconds:.2f} ms" for seconds in (cost.gradient, cost.rest))
        table.add_row(cost.task, one, f"{cost.gradients:.2f}", rest, f"{cost.run:.2f} times")
    mean = f"{statistics.fmean(cost.gradients for cost in costs):.2f}"
    table.add_row("mean", "", f"{mean}, up: {counted(costs)}" if first.probe == "graph" else mean, "", "")
    return table


def nets() -> tuple[Task, ...]:
    """Return the tasks of `NETS`."""
    return tuple(find_tasks(NETS))


class _Training:
    """One training, whose steps are measured in two parts."""

    def __init__(self, task: Task, probe: str, *, controlled: bool) -> None:
        torch.manual_seed(0)
        self._training, self._with_closure = task.start(torch.float32), probe == "closure"
        self._optimizer = torch.optim.AdamW(self._training.net.parameters(), lr=RATE)
        self._controller = attach(self._optimizer, probe=probe) if controlled else None
        self._gradient = 0.0

    def step(self) -> Part:
        """Take one step."""
        batch, before, self._gradient = next(self._training.batches), self._probes, 0.0

        def closure() -> Tensor:
            began = time.process_time()
            self._optimizer.zero_grad()
            loss = self._training.loss(self._training.net, batch)
            loss.backward()
            self._gradient += time.process_time() - began
            return loss.detach()

        began = time.process_time()
        if self._with_closure:
            self._optimizer.step(closure)
        else:
            closure()
            self._optimizer.step()
        rest = time.process_time() - began - self._gradient
        return Part(self._gradient, rest, self._probes > before)

    @property
    def _probes(self) -> int:
        return 0 if self._controller is None else self._controller.probes
