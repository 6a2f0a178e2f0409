"""What the callbacks of frameworks share: a training's optimizers under control from its begin to its end."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch.optim import Optimizer

from galatune.controller.controlled import Capture, LeftAlone
from galatune.controller.controller import Controller
from galatune.controller.optimizers import inner_optimizers
from galatune.controller.options import Options
from galatune.controller.state import KEY, ControlState
from galatune.controller.torch_hooks.optimizer_watch import watchers
from galatune.errors import ControlError, SelfTuningError

__all__ = ["CallbackControl", "movers"]


class CallbackControl:
    """The optimizers of one training.

    Within `galatune.controlled`, and so within ``galatune run``, that block controls them by its own options,
    and the callback only reads the rates.

    Args:
        options: As `galatune.attach` takes them.

    Attributes:
        controllers: Of the last training; they can be read after its end.
        left_alone: Optimizers that cannot be controlled, and why; they train as they would without galatune.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.controllers: list[Controller] = []
        self.left_alone: list[LeftAlone] = []
        self._optimizers: list[Optimizer] = []
        self._places: list[int] = []
        self._kept: list[dict[str, Any] | None] = []

    def begin(self, optimizers: Sequence[Any]) -> None:
        """Control these; one that is controlled by this object already goes on.

        Args:
            optimizers: Of wrappers (`accelerate`, lookahead, ...) the ones in them that move parameters.
        """
        self._optimizers = movers(optimizers)
        self.left_alone = []
        if _block() is not None:
            self._let_go()
            self.controllers, self._places = [], []
            return
        before = self.controllers
        found: list[tuple[int, Controller]] = []
        for place, optimizer in enumerate(self._optimizers):
            controller = self._controller_of(optimizer) or self._attach(place, optimizer)
            if controller is not None:
                found.append((place, controller))
        # After those that were made anew over the same parameters took over from them.
        for controller in before:
            if not any(controller is one for _, one in found):
                _detach(controller)
        self._places, self.controllers = [place for place, _ in found], [one for _, one in found]
        self._kept = []

    def rates(self, optimizer: Any) -> list[float]:
        """Rate of the last step as applied to each group of an optimizer, or of those that it wraps.

        Empty if it is not under control, or has taken no step yet.
        """
        return [rate for one in movers([optimizer]) for rate in applied_rates(one)]

    def steps(self, optimizer: Any) -> int:
        """Steps that an optimizer, or the first of those that it wraps, has taken under control."""
        states = (one.param_groups[0].get(KEY) for one in movers([optimizer]) if one.param_groups)
        return next((state.optimizer.step for state in states if isinstance(state, ControlState)), 0)

    def end(self) -> None:
        """Let the optimizers go; `state_dict` then holds what the controllers remembered."""
        kept: list[dict[str, Any] | None] = [None] * len(self._optimizers)
        for place, controller in zip(self._places, self.controllers, strict=True):
            if any(map(controller.controls, self._optimizers)):
                kept[place] = controller.state_dict()
        if any(kept):
            self._kept = kept
        self._let_go()

    def forget(self) -> None:
        """The coming training does not go on with an earlier one."""
        self._kept = []

    def state_dict(self) -> dict[str, Any]:
        """What an ended training goes on with; empty while one lasts: its optimizers hold the state then."""
        return {"optimizers": self._kept} if self._kept else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next training goes on from `state_dict`, unless its optimizers bring a state of their own."""
        self._kept = list(state.get("optimizers", ()))

    def _controller_of(self, optimizer: Optimizer) -> Controller | None:
        return next((one for one in self.controllers if one.controls(optimizer)), None)

    def _attach(self, place: int, optimizer: Optimizer) -> Controller | None:
        loaded = any(KEY in group for group in optimizer.param_groups)
        try:
            # Each has a probe of its own, also if a Probe object was given.
            controller = Controller(optimizer, replace(self.options, probe=copy.copy(self.options.probe)))
            if not loaded and place < len(self._kept) and (kept := self._kept[place]) is not None:
                controller.load_state_dict(kept)
        except ControlError as error:
            name, own = type(optimizer).__name__, isinstance(error, SelfTuningError)
            self.left_alone.append(LeftAlone(name, str(error), sets_own_rate=own))
            warnings.warn(f"galatune: a {name} is not controlled: {error}", stacklevel=2)
            return None
        return controller

    def _let_go(self) -> None:
        for controller in self.controllers:
            _detach(controller)


def movers(optimizers: Sequence[Any]) -> list[Optimizer]:
    """The optimizers that move the parameters: these, or of a wrapper the ones in it."""
    found = []
    for one in optimizers:
        found += [inner.optimizer for inner in inner_optimizers(one)] or [one]
    return found


def applied_rates(optimizer: Optimizer) -> list[float]:
    """Rate of the last step of each group; empty if the optimizer is not under control or took no step."""
    states = [group.get(KEY) for group in optimizer.param_groups]
    rates = [s.group.applied for s in states if isinstance(s, ControlState) and s.group is not None]
    return rates if len(rates) == len(states) else []


def _detach(controller: Controller) -> None:
    try:
        there = controller.optimizer
    except ControlError:
        return  # it was let go, or is gone
    del there
    controller.detach()


def _block() -> Capture | None:
    """The block of `galatune.controlled` around this training, if any."""
    return next((one for one in watchers() if isinstance(one, Capture)), None)
