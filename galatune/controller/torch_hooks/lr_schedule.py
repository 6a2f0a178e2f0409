"""The user's schedule, left alone: a group's ``lr`` is the applied rate only during a step."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

__all__ = [
    "RateCurve",
    "SetRates",
    "decaying_scheduler",
    "follow_schedulers",
    "nine_digits",
    "schedule_factors",
    "scheduler_made",
    "unfollow_schedulers",
]

Group = MutableMapping[str, Any]


def schedule_factors(rates: Sequence[float], peaks: Sequence[float], steps: int) -> list[float]:
    """The rate of each group relative to the largest rate it has had so far.

    So a warmup has factor 1 (the controller's own growth is the warmup) and only decay counts. A group whose
    rate is 0 is held still. Only if all are 0 at the very first step, that is the first step of a warmup.

    Args:
        rates: As the schedule has set them.
        peaks: The largest ones so far, these included.
        steps: Number of steps taken.

    Example:
        >>> schedule_factors([0.05, 0.0], [0.1, 0.0], steps=0), schedule_factors([0.0], [0.0], steps=0)
        ([0.5, 0.0], [1.0])
    """
    still = 0.0 if steps or any(peaks) else 1.0
    return [nine_digits(r / peak) if peak > 0 else still for r, peak in zip(rates, peaks, strict=True)]


def nine_digits(value: float) -> float:
    """Rounded, so that cosine schedules of different base rates agree to the last digit."""
    return float(f"{value:.9g}")


class SetRates:
    """Writes applied rates into the groups and puts the schedule's values back."""

    def __init__(self) -> None:
        self._saved: list[tuple[Group, Any, Tensor | None]] = []
        self._known: dict[int, tuple[Tensor, int, float]] = {}
        """By group: the Tensor that holds its rate, its version, and its value on the host."""

    def read(self, group: Group) -> float:
        """The rate that is set, nan for None; waits for a device only if a Tensor was set anew."""
        rate = group["lr"]
        if not isinstance(rate, Tensor):
            return math.nan if rate is None else float(rate)
        tensor, version, value = self._known.get(id(group), (None, 0, 0.0))
        if tensor is not rate or version != rate._version:
            value = float(rate)
            self._known[id(group)] = (rate, rate._version, value)
        return value

    def write(self, groups: Iterable[Group], rates: Iterable[float]) -> None:
        """Set every group's rate; a Tensor rate is filled in place, so that compiled steps stay valid."""
        if self._saved:
            self.restore()  # the step before raised
        for group, rate in zip(groups, rates, strict=True):
            current = group["lr"]
            if not isinstance(current, Tensor):
                self._saved.append((group, current, None))
                group["lr"] = rate
            elif any(current is tensor for _, tensor, _ in self._saved):  # groups may share one Tensor
                self._saved.append((group, current, None))
                group["lr"] = torch.full_like(current, rate)
            else:
                self._saved.append((group, current, current.detach().clone()))
                current.fill_(rate)

    def restore(self) -> None:
        """Put back what the schedule had set; nothing if nothing was written."""
        while self._saved:
            group, current, values = self._saved.pop()
            if values is not None:
                current.copy_(values)
                self._renew(current)
            group["lr"] = current

    def forget(self) -> None:
        """Groups may have been replaced: a checkpoint was loaded."""
        self._known.clear()

    def _renew(self, tensor: Tensor) -> None:
        """The same value, written by ourselves, has a new version."""
        for key, (known, _, value) in self._known.items():
            if known is tensor:
                self._known[key] = (tensor, tensor._version, value)


class RateCurve:
    """Keeps the applied rate of every k-th step, doubling k when full; the last step is always kept.

    Args:
        capacity: Most points kept.
    """

    def __init__(self, capacity: int = 400) -> None:
        self._capacity = capacity
        self._stride = 1
        self._points: list[tuple[int, float]] = []
        self._last: tuple[int, float] | None = None

    def add(self, step: int, rate: float) -> None:
        """Note the rate applied at a step (from 1)."""
        self._last = (step, rate)
        if (step - 1) % self._stride:
            return
        self._points.append(self._last)
        if len(self._points) >= self._capacity:
            self._stride *= 2
            self._points = [point for point in self._points if (point[0] - 1) % self._stride == 0]

    def points(self) -> list[tuple[int, float]]:
        """(step, rate), ascending."""
        if self._last is None or (self._points and self._points[-1] == self._last):
            return list(self._points)
        return [*self._points, self._last]


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


_followed: weakref.WeakKeyDictionary[Optimizer, list[weakref.ref[Any]]] = weakref.WeakKeyDictionary()
"""Optimizers whose schedulers are all known, since each of them was made before our eyes."""


def follow_schedulers(optimizer: Optimizer) -> None:
    """An optimizer was made while `scheduler_made` is told of every scheduler."""
    _followed[optimizer] = []


def scheduler_made(inner: Any, scheduler: Any, /, *args: Any, **kwargs: Any) -> None:
    """Wraps the constructor of torch's schedulers."""
    inner(scheduler, *args, **kwargs)
    if (known := _followed.get(scheduler.optimizer)) is not None:
        known.append(weakref.ref(scheduler))


def unfollow_schedulers() -> None:
    """From here on `scheduler_made` is not told."""
    _followed.clear()


def decaying_scheduler(optimizer: Optimizer) -> str | None:
    """Class name of a torch scheduler on this optimizer that will lower its rate, None if none is known.

    A LambdaLR is not asked: calling a user's function has a user's side effects. Adagrad's `lr_decay` is
    a schedule of the optimizer's own.
    """
    if any(group.get("lr_decay") for group in optimizer.param_groups):
        return "lr_decay"
    if not hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return None
    decaying = (_decays(one) for one in _schedulers_of(optimizer))
    return next((name for name in decaying if name is not None), None)


def _schedulers_of(optimizer: Optimizer) -> list[Any]:
    """Its schedulers. If it is not followed, all objects there are have to be looked at: about 0.1 s."""
    known = _followed.get(optimizer)
    if known is not None:
        return [scheduler for reference in known if (scheduler := reference()) is not None]
    return [
        candidate
        for candidate in gc.get_objects()
        if issubclass(type(candidate), lr_scheduler.LRScheduler)
        and getattr(candidate, "optimizer", None) is optimizer
    ]


def _decays(scheduler: Any) -> str | None:
    if isinstance(scheduler, (lr_scheduler.SequentialLR, lr_scheduler.ChainedScheduler)):
        return next((name for part in scheduler._schedulers if (name := _decays(part))), None)
    if isinstance(scheduler, lr_scheduler.LinearLR):
        return "LinearLR" if scheduler.end_factor < scheduler.start_factor else None
    return type(scheduler).__name__ if isinstance(scheduler, _DECAYING) else None
