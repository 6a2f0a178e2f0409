"""The user's schedule, left alone: a group's ``lr`` stays the scheduler's, except inside a step.

What a group needs to remember travels in ``group["galatune"]``, and with it in
``optimizer.state_dict()``, copies and pickles.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler

__all__ = ["MEMORY", "SetRates", "decaying_scheduler", "fell", "remember_groups", "schedule_factor"]

MEMORY = "galatune"
"""Key of a parameter group under which its memory (a flat dict of numbers) travels."""

Group = MutableMapping[str, Any]


def remember_groups(groups: Sequence[Group], *, per_group: bool = False) -> None:
    """Give every group that is new its memory: the ratio of its initial rate, and its peak so far.

    The ratio is that of the initial rates, which the user fixed, to the largest of them; a group that
    starts at 0 stays at 0, unless all do (a warmup written by hand). A group added later has the ratio of
    its rate to what the first ones started from. With rates of their own, groups have no ratio: it is 1.
    """
    if all("ratio" in group.get(MEMORY, ()) for group in groups):
        return
    initial = [float(group.get("initial_lr", group["lr"])) for group in groups]
    known = [group[MEMORY] for group in groups if group.get(MEMORY, {}).get("ratio")]
    whole = known[0]["initial"] / known[0]["ratio"] if known else max(initial)
    for group, rate in zip(groups, initial, strict=True):
        memory = group.setdefault(MEMORY, {})
        if "ratio" not in memory:
            ratio = _nine_digits(rate / whole) if whole > 0 else 1.0
            memory["ratio"] = float(ratio > 0) if per_group else ratio
            memory["initial"] = rate
            memory.setdefault("peak", 0.0)


def given_rate(group: Group) -> float:
    """The rate that the schedule has set."""
    return float(group["lr"])


def schedule_factor(group: Group, read: Callable[[Group], float] = given_rate) -> float:
    """The group's rate relative to the largest it has had so far, which it updates; 0/0 is 1.

    So a warmup has factor 1 (the controller's own growth is the warmup) and only decay counts. Nine
    digits, so that cosine schedules of different base rates agree to the last one.
    """
    memory, current = group[MEMORY], read(group)
    memory["peak"] = max(memory["peak"], current)
    return _nine_digits(current / memory["peak"]) if memory["peak"] > 0 else 1.0


def fell(groups: Sequence[Group], read: Callable[[Group], float] = given_rate) -> bool:
    """Whether any group's rate lies below the largest it has had."""
    return any(read(group) < group[MEMORY]["peak"] for group in groups)


class SetRates:
    """Writes applied rates into the groups and puts the schedule's values back."""

    def __init__(self) -> None:
        self._saved: list[tuple[Group, Any, Tensor | None]] = []
        self._known: dict[int, tuple[Tensor, int, float]] = {}

    def read(self, group: Group) -> float:
        """The rate that the schedule has set; waits for a device only where it set a Tensor anew."""
        rate = group["lr"]
        if not isinstance(rate, Tensor):
            return float(rate)
        tensor, version, value = self._known.get(id(rate), (None, 0, 0.0))
        if tensor is not rate or version != rate._version:
            value = float(rate)
            self._known[id(rate)] = (rate, rate._version, value)
        return value

    def write(self, groups: Iterable[Group], rates: Iterable[float]) -> None:
        """Set every group's rate; a Tensor rate is filled in place, so that compiled steps stay valid."""
        self.restore()
        for group, rate in zip(groups, rates, strict=True):
            current = group["lr"]
            if isinstance(current, Tensor) and not any(current is tensor for _, tensor, _ in self._saved):
                self._saved.append((group, current, current.detach().clone()))
                current.fill_(rate)
            else:  # groups built with one Tensor share it
                self._saved.append((group, current, None))
                group["lr"] = torch.full_like(current, rate) if isinstance(current, Tensor) else rate

    def restore(self) -> None:
        """Put back what the schedule had set; nothing where nothing was written."""
        while self._saved:
            group, current, values = self._saved.pop()
            if values is not None:
                current.copy_(values)
                if id(current) in self._known:  # the same value, written by ourselves
                    self._known[id(current)] = (current, current._version, self._known[id(current)][2])
            group["lr"] = current


_DECAYING: tuple[type, ...] = (
    lr_scheduler.CosineAnnealingLR,
    lr_scheduler.CosineAnnealingWarmRestarts,
    lr_scheduler.CyclicLR,
    lr_scheduler.ExponentialLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.OneCycleLR,
    lr_scheduler.PolynomialLR,
    lr_scheduler.StepLR,
)


def decaying_scheduler(optimizer: torch.optim.Optimizer) -> str | None:
    """Class name of a torch scheduler on this optimizer that will lower its rate, None where none is known.

    A LambdaLR is not asked: calling a user's function has a user's side effects. Adagrad's `lr_decay` is
    a schedule of the optimizer's own.
    """
    if any(group.get("lr_decay") for group in optimizer.param_groups):
        return "lr_decay"
    if not hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return None
    for candidate in gc.get_objects():
        if issubclass(type(candidate), lr_scheduler.LRScheduler):
            name = _decays(candidate)
            if name is not None and getattr(candidate, "optimizer", None) is optimizer:
                return name
    return None


def _decays(scheduler: Any) -> str | None:
    if isinstance(scheduler, (lr_scheduler.SequentialLR, lr_scheduler.ChainedScheduler)):
        return next((name for part in scheduler._schedulers if (name := _decays(part))), None)
    if isinstance(scheduler, lr_scheduler.LinearLR):
        return "LinearLR" if scheduler.end_factor < scheduler.start_factor else None
    return type(scheduler).__name__ if isinstance(scheduler, _DECAYING) else None


def _nine_digits(value: float) -> float:
    return float(f"{value:.9g}")
