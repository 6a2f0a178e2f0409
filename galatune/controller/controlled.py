"""`controlled`: the optimizers that step inside code nobody changed."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from galatune.controller.controller import Controller
from galatune.controller.options import Options
from galatune.controller.torch_hooks.patch import Wrapping
from galatune.errors import ControlError

__all__ = ["Capture", "Choice", "LeftAlone", "Select", "controlled"]


@dataclass(frozen=True)
class Choice:
    """Whether an optimizer is controlled, and why."""

    control: bool
    reason: str


Select = Callable[[Sequence[float], Sequence[Sequence[float]]], Choice]
"""(initial rates of an optimizer's groups, the same of every optimizer made so far) to a `Choice`."""


@dataclass(frozen=True)
class LeftAlone:
    """An optimizer that stepped and was not controlled.

    Attributes:
        name: Class name.
        reason: In words.
    """

    name: str
    reason: str


class Capture:
    """What happened inside `controlled`.

    Attributes:
        controllers: One for each controlled optimizer, in the order of their first steps.
        names: Class names of those optimizers.
        reasons: Why each is controlled.
        left_alone: Optimizers that stepped and were not controlled.
        device: Where the first controlled parameters lie: "cpu", or the name of the GPU.
    """

    def __init__(self, options: Options, select: Select | None) -> None:
        self.controllers: list[Controller] = []
        self.names: list[str] = []
        self.reasons: list[str] = []
        self.left_alone: list[LeftAlone] = []
        self.device = "cpu"
        self._options, self._select = options, select
        self._made: list[list[float]] = []
        self._initial: weakref.WeakKeyDictionary[Optimizer, list[float]] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    @property
    def learning_rate(self) -> float | None:
        """Rate of the last step of the optimizer that stepped first, None before any step."""
        if not self.controllers:
            return None
        rate = self.controllers[0].learning_rate
        return max(rate) if isinstance(rate, list) else rate

    def made(self, optimizer: Optimizer) -> None:
        """An optimizer was constructed."""
        rates = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
        self._initial[optimizer] = rates
        self._made.append(rates)

    def stepping(self, optimizer: Optimizer) -> None:
        """An optimizer is about to step; the first time it is decided whether it is controlled."""
        if optimizer in self._seen:
            return
        self._seen.add(optimizer)
        if optimizer not in self._initial:
            self.made(optimizer)
        name = type(optimizer).__name__
        choice = Choice(True, "every optimizer is controlled")
        if self._select is not None:
            choice = self._select(self._initial[optimizer], self._made)
        if not choice.control:
            self.left_alone.append(LeftAlone(name, choice.reason))
            return
        try:
            # Each has a probe of its own, also where a Probe object was given.
            controller = Controller(optimizer, replace(self._options, probe=copy.copy(self._options.probe)))
        except ControlError as error:
            self.left_alone.append(LeftAlone(name, str(error)))
            return
        if not self.controllers:
            self.device = _device(optimizer)
        self.controllers.append(controller)
        self.names.append(name)
        self.reasons.append(choice.reason)


def _device(optimizer: Optimizer) -> str:
    device = optimizer.param_groups[0]["params"][0].device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)


_lock = threading.RLock()
_active: list[tuple[int, Capture]] = []
"""(thread that opened it, what it captures), in the order of opening."""


def _made(inner: Any, optimizer: Optimizer, /, *args: Any, **kwargs: Any) -> None:
    inner(optimizer, *args, **kwargs)
    capture = _innermost()
    if capture is not None:
        capture.made(optimizer)


_wrapping = Wrapping(Optimizer, "__init__", _made)


def _stepping(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    capture = _innermost()
    if capture is not None:
        capture.stepping(optimizer)


def _innermost() -> Capture | None:
    """The last one that this thread opened; a thread that opened none works for the last one of all."""
    if not _active:
        return None
    me = threading.get_ident()
    with _lock:
        mine = [capture for thread, capture in _active if thread == me]
        return mine[-1] if mine else _active[-1][1] if _active else None


def _open(capture: Capture) -> tuple[int, Capture]:
    opened = (threading.get_ident(), capture)
    with _lock:
        if not _active:
            _wrapping.put_on()
        _active.append(opened)
    return opened


def _close(opened: tuple[int, Capture]) -> None:
    with _lock:
        _active.remove(opened)
        if not _active:
            _wrapping.take_off()


register_optimizer_step_pre_hook(_stepping)


@contextmanager
def controlled(*, select: Select | None = None, **options: Any) -> Iterator[Capture]:
    """Control every torch optimizer that steps inside, in code that is not changed.

    Nested, the innermost wins; threads that each open their own do not see each other's. On leaving, the
    optimizers are let go.

    Args:
        select: Decides for each optimizer at its first step; None controls all that can be.
        **options: Those of `attach`.

    Yields:
        A `Capture`: the controllers, and what was left alone.

    Raises:
        ControlError: An option is unknown or out of range.

    Example:
        >>> import torch, galatune
        >>> net = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.Adam(net.parameters())
        >>> with galatune.controlled() as capture:
        ...     net(torch.ones(4, 2)).square().mean().backward()
        ...     optimizer.step()
        >>> capture.names
        ['Adam']
    """
    capture = Capture(Options.of(options), select)
    opened = _open(capture)
    try:
        yield capture
    finally:
        _close(opened)
        for controller in capture.controllers:
            controller.detach()
