"""The two ways in: `attach` for one optimizer, `controlled` for those that step inside unchanged code."""

from __future__ import annotations

import copy
import math
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
from galatune.controller.events import Event
from galatune.controller.options import Options
from galatune.controller.probes.base import Probe
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.controller.probes.select import AUTO
from galatune.controller.rule.guard import Guard
from galatune.controller.rule.learner import Learner
from galatune.controller.torch_hooks.optimizer_step import SharedHook
from galatune.controller.torch_hooks.patch import Patch
from galatune.controller.torch_hooks.traced_rates import InitialRates, make_rates_plain
from galatune.errors import ControlError, SelfTuningError

__all__ = ["Capture", "Choice", "LeftAlone", "Select", "attach", "controlled"]


def attach(
    optimizer: Optimizer,
    *,
    probe: str | Probe = AUTO,
    probe_schedule: ProbeSchedule = ProbeSchedule(),  # noqa: B008  # a frozen value
    step_scale: float | None = None,
    min_lr: float = 0.0,
    max_lr: float = math.inf,
    per_group: bool = False,
    learner: Learner | None = None,
    guard: Guard | None = None,
    alignment: str = "auto",
    on_event: Callable[[Event], None] | None = None,
) -> Controller:
    """Put the learning rate of one torch optimizer under control.

    The rate that the optimizer was built with no longer matters; ratios between groups and the shape of a
    schedule do. Nothing else of the training loop changes.

    Args:
        optimizer: Any torch optimizer but LBFGS, SparseAdam and Rprop.
        probe: Source of gradient pairs: "closure" (`optimizer.step(closure)`), "graph" (`loss.backward()`),
            "echo" (the DataLoader repeats a minibatch), "consecutive" (of two minibatches), or "auto": the
            first of them that works. Or an object of a class derived from `Probe`.
        probe_schedule: Which steps are probed (by default 56 of 1,000, 79 of 10,000).
        step_scale: Multiplier on the estimated rate. None selects it from the table in docs/method.md.
        min_lr: Lower bound of the rate before the schedule.
        max_lr: Upper bound of the rate as applied, after schedule and group ratio.
        per_group: A rate of its own for each parameter group.
        learner: Online learner that chooses the rate; None for `DiscountedFTRL()`.
        guard: Limits on rate changes and the reaction to divergence; None for `Guard()`.
        alignment: "same_minibatch" compares the gradients of one minibatch before and after the step, as
            published. "previous_update" compares the gradient with the previous update, computed from other
            minibatches; it is low when gradients are mostly noise, which lowers the rate, to a quarter of
            what curvature allows at most. "auto" is the second, unless another learner is given or the
            minibatch had a part in that update (consecutive; echo, unless its part can be removed, as from
            Adam's step).
        on_event: Called with each `Event`.

    Returns:
        The controller, which lives as long as the optimizer.

    Raises:
        ControlError: The optimizer cannot be controlled, is controlled already, or an option is out of
            range.

    Example:
        >>> import torch, galatune
        >>> _ = torch.manual_seed(0)
        >>> net, x = torch.nn.Linear(3, 1), torch.randn(64, 3)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=123.0)  # any rate
        >>> controller = galatune.attach(optimizer)
        >>> for _ in range(60):
        ...     optimizer.zero_grad()
        ...     loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        ...     loss.backward()
        ...     optimizer.step()
        >>> loss.item() < 1e-3, 0.01 < controller.learning_rate < 10
        (True, True)
    """
    options = Options(
        probe=probe,
        probe_schedule=probe_schedule,
        step_scale=step_scale,
        min_lr=min_lr,
        max_lr=max_lr,
        per_group=per_group,
        learner=learner,
        guard=guard,
        alignment=alignment,
        on_event=on_event,
    )
    return Controller(optimizer, options)


@dataclass(frozen=True)
class Choice:
    """Whether an optimizer is controlled, and why."""

    control: bool
    reason: str


Select = Callable[[InitialRates, Sequence[InitialRates]], Choice]
"""(initial rates of an optimizer's groups, the same of every optimizer made so far) to a `Choice`.

If it has a method ``left_alone``, that is told (initial rates, `LeftAlone`) of each that is not controlled.
"""


@dataclass(frozen=True)
class LeftAlone:
    """An optimizer that stepped and was not controlled.

    Attributes:
        name: Class name.
        reason: In words.
        sets_own_rate: True if it sets its own step (Prodigy, DoG, ...), so that no rate could be controlled.
    """

    name: str
    reason: str
    sets_own_rate: bool = False


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
        self._made: list[InitialRates] = []
        self._initial: weakref.WeakKeyDictionary[Optimizer, InitialRates] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    @property
    def learning_rate(self) -> float | None:
        """Rate of the last step of the optimizer that stepped first, None before any step."""
        if not self.controllers:
            return None
        rate = self.controllers[0].learning_rate
        return max(rate) if isinstance(rate, list) else rate

    def made(self, optimizer: Optimizer, *, constructed: bool = True) -> None:
        """An optimizer was constructed, or a copy of one is about to step."""
        self._initial[optimizer] = rates = InitialRates.of(optimizer, constructed=constructed)
        self._made.append(rates)

    def stepping(self, optimizer: Optimizer) -> None:
        """An optimizer is about to step; the first time it is decided whether it is controlled."""
        if optimizer in self._seen:
            return
        if optimizer not in self._initial:
            self.made(optimizer, constructed=False)
        name = type(optimizer).__name__
        choice = Choice(True, "every optimizer is controlled")
        if self._select is not None:  # which may raise, at every step, to stop the training
            choice = self._select(self._initial[optimizer], self._made)
        self._seen.add(optimizer)
        if not choice.control:
            self._leave(optimizer, LeftAlone(name, choice.reason))
            return
        try:
            # Each has a probe of its own, also if a Probe object was given.
            controller = Controller(optimizer, replace(self._options, probe=copy.copy(self._options.probe)))
        except ControlError as error:
            own = isinstance(error, SelfTuningError)
            self._leave(optimizer, LeftAlone(name, str(error), sets_own_rate=own))
            return
        if not self.controllers:
            self.device = _device(optimizer)
        self.controllers.append(controller)
        self.names.append(name)
        self.reasons.append(choice.reason)

    def _leave(self, optimizer: Optimizer, left: LeftAlone) -> None:
        self.left_alone.append(left)
        told = getattr(self._select, "left_alone", None)
        if told is not None:  # it may raise, to stop the training
            told(self._initial[optimizer], left)


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


_patch = Patch(Optimizer, "__init__", _made)


def _stepping(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    make_rates_plain(optimizer)  # what was set by hand
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
            _patch.put_on()
            _hook.use()
        _active.append(opened)
    return opened


def _close(opened: tuple[int, Capture]) -> None:
    with _lock:
        _active.remove(opened)
        if not _active:
            _patch.take_off()
            _hook.leave()


_hook = SharedHook(register_optimizer_step_pre_hook, _stepping)


@contextmanager
def controlled(
    *,
    probe: str | Probe = AUTO,
    probe_schedule: ProbeSchedule = ProbeSchedule(),  # noqa: B008  # a frozen value
    step_scale: float | None = None,
    min_lr: float = 0.0,
    max_lr: float = math.inf,
    per_group: bool = False,
    learner: Learner | None = None,
    guard: Guard | None = None,
    alignment: str = "auto",
    on_event: Callable[[Event], None] | None = None,
    select: Select | None = None,
) -> Iterator[Capture]:
    """Control every torch optimizer that steps inside, in code that is not changed.

    If blocks are nested, the innermost one counts; threads that each open their own do not see each other's.
    On leaving, the optimizers are let go.

    Args:
        probe: This and the following options are those of `attach`.
        probe_schedule: See `attach`.
        step_scale: See `attach`.
        min_lr: See `attach`.
        max_lr: See `attach`.
        per_group: See `attach`.
        learner: See `attach`.
        guard: See `attach`.
        alignment: See `attach`.
        on_event: See `attach`.
        select: Decides for each optimizer at its first step; None controls all that can be controlled.

    Yields:
        A `Capture`: the controllers, and what was left alone.

    Raises:
        ControlError: An option is out of range.

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
    options = Options(
        probe=probe,
        probe_schedule=probe_schedule,
        step_scale=step_scale,
        min_lr=min_lr,
        max_lr=max_lr,
        per_group=per_group,
        learner=learner,
        guard=guard,
        alignment=alignment,
        on_event=on_event,
    )
    capture = Capture(options, select)
    opened = _open(capture)
    try:
        yield capture
    finally:
        _close(opened)
        for controller in capture.controllers:
            controller.detach()
