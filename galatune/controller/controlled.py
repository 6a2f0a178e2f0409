"""The two ways in: `attach` for one optimizer, `controlled` for those that step inside unchanged code."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch.optim import Optimizer

from galatune.controller.controller import Controller
from galatune.controller.events import Event
from galatune.controller.groups.lifetime import warn_of_unseen
from galatune.controller.optimizers import Wrappers, enclosing, inner_optimizers
from galatune.controller.options import Options
from galatune.controller.probes.base import Probe
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.controller.probes.select import AUTO
from galatune.controller.refusals import refuse_enclosed, refuse_wrapper
from galatune.controller.rule.guard import Guard
from galatune.controller.rule.learner import Learner
from galatune.controller.rule.prior import Prior
from galatune.controller.state import KEY
from galatune.controller.torch_hooks.optimizer_watch import watched_by, watchers
from galatune.controller.torch_hooks.traced_rates import InitialRates
from galatune.errors import ControlError, SelfTuningError

__all__ = ["Capture", "Choice", "LeftAlone", "Select", "attach", "controlled"]


def attach(
    optimizer: Optimizer,
    *,
    probe: str | Probe = AUTO,
    probe_schedule: ProbeSchedule | None = None,
    step_scale: float | None = None,
    step_scale_factor: float = 1.0,
    min_lr: float = 0.0,
    max_lr: float = math.inf,
    per_group: bool = False,
    learner: Learner | None = None,
    guard: Guard | None = None,
    alignment: str = "auto",
    prior: Prior | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Controller:
    """Put the learning rate of one torch optimizer under control.

    The rate that the optimizer was built with no longer matters; ratios between groups and the shape of a
    schedule do. Nothing else of the training loop changes.

    Args:
        optimizer: Any torch optimizer whose step follows its rate (not LBFGS, Rprop, Prodigy, DoG, ...); of a
            wrapper, the one in it.
        probe: Source of gradient pairs: "closure" (`optimizer.step(closure)`), "graph" (`loss.backward()`),
            "echo" (the DataLoader repeats a minibatch), "consecutive" (of two minibatches), or "auto": the
            first of them that works. Or an object of a class derived from `Probe`.
        probe_schedule: Which steps are probed. None: 56 of 1,000, 79 of 10,000; with a prior 18 and 28.
        step_scale: Multiplier on the estimated rate. None selects it from the table in docs/method.md.
        step_scale_factor: Multiplies it, whatever it is: 2 for rates twice as high as by default.
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
        prior: What is known of good rates beforehand: the rate comes there in a few steps, and gradients move
            it from there as far as they are surer. None: nothing is known.
        on_event: Called with each `Event`.

    Returns:
        The controller, which lives as long as the optimizer. If the optimizer was made anew over the same
        parameters, it goes on where the one before was, unless that was detached.

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
        step_scale_factor=step_scale_factor,
        min_lr=min_lr,
        max_lr=max_lr,
        per_group=per_group,
        learner=learner,
        guard=guard,
        alignment=alignment,
        prior=prior,
        on_event=on_event,
    )
    refuse_wrapper(optimizer)
    return Controller(optimizer, options)


@dataclass(frozen=True)
class Choice:
    """Whether an optimizer is controlled, and why.

    Attributes:
        control: Whether it is.
        reason: In words.
        prior: What is known of its good rates; None for that of the options.
    """

    control: bool
    reason: str
    prior: Prior | None = None


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
        controllers: One for each controlled optimizer, in the order of their first steps; of optimizers made
            anew over the same parameters, that of the last one, which goes on where the others were.
        names: Class names of those optimizers.
        reasons: Why each is controlled.
        places: For each of them, the index of its controller: optimizers made anew share one.
        left_alone: Optimizers that stepped and were not controlled.
        idle: True until an optimizer stepped.
        device: Where the first controlled parameters lie: "cpu", or the name of the GPU.
    """

    def __init__(self, options: Options, select: Select | None) -> None:
        self.controllers: list[Controller] = []
        self.names: list[str] = []
        self.reasons: list[str] = []
        self.places: list[int] = []
        self.left_alone: list[LeftAlone] = []
        self.device = "cpu"
        self._options, self._select = options, select
        self._made: list[InitialRates] = []
        self._initial: weakref.WeakKeyDictionary[Optimizer, InitialRates] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._wrappers = Wrappers()
        self.idle = True

    @property
    def learning_rate(self) -> float | None:
        """Rate of the last step of the optimizer that stepped first, None before any step."""
        if not self.controllers:
            return None
        rate = self.controllers[0].learning_rate
        return max(rate) if isinstance(rate, list) else rate

    @property
    def rates_arrived(self) -> bool:
        """Whether no limit on growth holds any controlled rate any more; False before one was chosen.

        One that is at its upper bound has come as far as it may.
        """
        return bool(self.controllers) and all(map(self._arrived, self.controllers))

    def _arrived(self, controller: Controller) -> bool:
        applied = controller.learning_rate
        rates = applied if isinstance(applied, list) else [applied]
        chosen = [one for one in zip(rates, controller.rates_chosen, strict=False) if one[1].rate]
        return bool(chosen) and all(state.arrived or rate >= self._options.max_lr for rate, state in chosen)

    def made(self, optimizer: Optimizer, *, constructed: bool = True) -> None:
        """An optimizer was constructed, or a copy of one is about to step."""
        self._initial[optimizer] = rates = InitialRates.of(optimizer, constructed=constructed)
        self._made.append(rates)

    def stepping(self, optimizer: Optimizer) -> None:
        """An optimizer is about to step; the first time it is decided whether it is controlled."""
        if optimizer in self._seen or self._takes_from_outer(optimizer):
            return
        if (inner_moves := self._wrappers.inner_moves(optimizer, self._seen)) is not None:
            if inner_moves:
                self._seen.add(optimizer)
            return
        for capture in watchers():
            if isinstance(capture, Capture):
                capture.idle = False
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
            refuse_enclosed(optimizer)
            # Each has a probe of its own, also if a Probe object was given.
            own = copy.copy(self._options.probe)
            options = replace(self._options, probe=own, prior=choice.prior or self._options.prior)
            controller = Controller(optimizer, options, counted=True)
        except ControlError as error:
            tunes = isinstance(error, SelfTuningError)
            self._leave(optimizer, LeftAlone(name, str(error), sets_own_rate=tunes))
            return
        if not self.controllers:
            self.device = device_of(optimizer)
        self._list(controller, name, choice.reason)

    def loaded(self, optimizer: Optimizer) -> None:
        """An optimizer has loaded a state.

        If it was controlled when it was saved, its next step may have to be probed, and that probe has to see
        the backward call before the step: the controller cannot wait until then.
        """
        wraps = bool(inner_optimizers(optimizer))  # it hands the state to them
        if not wraps and any(KEY in group for group in optimizer.param_groups):
            self.stepping(optimizer)

    def warn_if_idle(self) -> None:
        """At the end: gradients were computed for an optimizer, and no step was seen."""
        if self.idle:
            warn_of_unseen(list(self._initial))

    def _list(self, controller: Controller, name: str, reason: str) -> None:
        """List a controller, in the place of the one that it goes on for, if the optimizer was made anew."""
        place = next((i for i, one in enumerate(self.controllers) if one.history is controller.history), None)
        if place is None:
            place = len(self.controllers)
            self.controllers.append(controller)
        else:
            self.controllers[place] = controller
        self.names.append(name)
        self.reasons.append(reason)
        self.places.append(place)
        capture = weakref.ref(self)

        def given_back(why: str) -> None:
            found = capture()
            if found is not None:
                found._strike(controller)
                found.left_alone.append(LeftAlone(name, why, sets_own_rate=True))

        controller.on_given_back = given_back

    def _strike(self, controller: Controller) -> None:
        """A controller gave its optimizer back: list it no more."""
        place = self.controllers.index(controller)
        kept = [i for i, one in enumerate(self.places) if one != place]
        self.names[:] = [self.names[i] for i in kept]
        self.reasons[:] = [self.reasons[i] for i in kept]
        self.places[:] = [self.places[i] - (self.places[i] > place) for i in kept]
        del self.controllers[place]

    def _leave(self, optimizer: Optimizer, left: LeftAlone) -> None:
        self.left_alone.append(left)
        told = getattr(self._select, "left_alone", None)
        if told is not None:  # it may raise, to stop the training
            told(self._initial[optimizer], left)

    def _takes_from_outer(self, optimizer: Optimizer) -> bool:
        """Whether it steps within a controlled one that hides it: control passes to it at the next step."""
        for outer in enclosing(optimizer):
            for controller in self.controllers:
                if controller.controls(outer):
                    controller.on_given_back = lambda _, struck=controller: self._strike(struck)
                    controller.give_back("another optimizer steps within its step, and is controlled instead")
                    return True
        return False


def device_of(optimizer: Optimizer) -> str:
    """Where its first parameter lies: "cpu", or the name of the GPU."""
    device = next(
        (p.device for group in optimizer.param_groups for p in group["params"]), torch.device("cpu")
    )
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)


@contextmanager
def controlled(
    *,
    probe: str | Probe = AUTO,
    probe_schedule: ProbeSchedule | None = None,
    step_scale: float | None = None,
    step_scale_factor: float = 1.0,
    min_lr: float = 0.0,
    max_lr: float = math.inf,
    per_group: bool = False,
    learner: Learner | None = None,
    guard: Guard | None = None,
    alignment: str = "auto",
    prior: Prior | None = None,
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
        step_scale_factor: See `attach`.
        min_lr: See `attach`.
        max_lr: See `attach`.
        per_group: See `attach`.
        learner: See `attach`.
        guard: See `attach`.
        alignment: See `attach`.
        prior: See `attach`.
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
        step_scale_factor=step_scale_factor,
        min_lr=min_lr,
        max_lr=max_lr,
        per_group=per_group,
        learner=learner,
        guard=guard,
        alignment=alignment,
        prior=prior,
        on_event=on_event,
    )
    capture = Capture(options, select)
    try:
        with watched_by(capture):
            yield capture
            capture.warn_if_idle()
    finally:
        for controller in list(capture.controllers):
            controller.detach()
