"""Optimizers made anew over the same parameters, each epoch or step: what control knows goes on.

Parameters are known by identity, through weak references: nothing is kept alive, and once a parameter is gone
nothing is kept of its optimizers.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from galatune.controller.events import Event
from galatune.controller.history import ProbeRecord
from galatune.controller.options import Options
from galatune.controller.probes.base import Probe
from galatune.controller.state import KEY, ControlState, OptimizerState
from galatune.controller.torch_hooks.lr_schedule import RateCurve

__all__ = ["Entry", "Heritage", "lineages"]

Key = tuple[type, int, int]
"""Class of an optimizer, its first parameter, and the number of its parameters."""


@dataclass
class Heritage:
    """What the next optimizer over the same parameters goes on with.

    Attributes:
        options: Those that it was controlled with.
        states: Of its groups, without what the probe kept.
        history: Of all optimizers so far.
        events: Likewise.
        rate_curve: Likewise.
        probe: Holds a step, and sees the loop's backward calls until the next optimizer takes it over; None
            if no step is to be probed.
    """

    options: Options
    states: list[ControlState]
    history: list[ProbeRecord] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    rate_curve: RateCurve = field(default_factory=RateCurve)
    probe: Probe | None = None

    def copy(self) -> Heritage:
        """With lists of its own, while the optimizer that leaves it goes on."""
        curve = copy.deepcopy(self.rate_curve)
        return Heritage(self.options, self.states, list(self.history), list(self.events), curve, self.probe)

    def branch(self) -> Heritage:
        """For an optimizer beside one that is still there: the rates, but steps are counted anew."""
        states = [ControlState(state.group, replace(state.rate, first_step=0)) for state in self.states]
        states[0].optimizer = OptimizerState(decays=self.states[0].optimizer.decays)
        return Heritage(self.options, states)

    def settle(self, optimizer: Optimizer) -> None:
        """Put the states into the groups of the new optimizer; moments of gradients begin anew there."""
        for group, state in zip(optimizer.param_groups, self.states, strict=False):  # none if it is the first
            group[KEY] = state

    def drop(self) -> None:
        """Nobody goes on with it."""
        if self.probe is not None:
            self.probe.forget()
            self.probe.unwatch()
            self.probe = None


@dataclass
class Entry:
    """The last optimizer over some parameters.

    Attributes:
        key: Of the entry.
        parameters: By group.
        optimizer: It.
        living: The method that returns what it would leave.
        left: What it left; None while it is there.
    """

    key: Key
    parameters: list[list[weakref.ref[Tensor]]]
    optimizer: weakref.ref[Optimizer]
    living: weakref.WeakMethod[Callable[[], Heritage | None]]
    left: Heritage | None = None

    def fits(self, optimizer: Optimizer) -> bool:
        """Whether an optimizer of this class has these very parameters."""
        groups = optimizer.param_groups
        if len(groups) != len(self.parameters):
            return False
        return all(
            len(group["params"]) == len(known)
            and all(p is one() for p, one in zip(group["params"], known, strict=True))
            for group, known in zip(groups, self.parameters, strict=True)
        )


class _Lineages:
    """The last controlled optimizer over each set of parameters."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._entries)

    def begin(self, optimizer: Optimizer, living: Callable[[], Heritage | None]) -> Entry | None:
        """This optimizer is the last one over its parameters.

        Args:
            optimizer: It.
            living: A method that returns what it would leave, while it is there; it is not kept alive.
        """
        key = _key(optimizer)
        if key is None:
            return None

        def lost(_: Any) -> None:
            self._end(key)

        groups = [[weakref.ref(p, lost) for p in group["params"]] for group in optimizer.param_groups]
        entry = Entry(key, groups, weakref.ref(optimizer), weakref.WeakMethod(living))
        with self._lock:
            self._end(key)
            self._entries[key] = entry
        return entry

    def leave(self, entry: Entry | None, left: Heritage) -> None:
        """The optimizer is gone, and this is what it left; dropped if another one goes on already."""
        with self._lock:
            if entry is not None and self._entries.get(entry.key) is entry:
                entry.left = left
                return
        left.drop()

    def find(self, optimizer: Optimizer, options: Options, *, counted: bool) -> Heritage | None:
        """What an optimizer made anew goes on with; None if it begins, or has a state of its own.

        Args:
            optimizer: Not under control yet.
            options: They must be those of the one before.
            counted: Whether the steps of the one before, if it is still there, are counted elsewhere.
        """
        key = _key(optimizer)
        with self._lock:
            entry = None if key is None else self._entries.get(key)
            if entry is None or not entry.fits(optimizer) or any(KEY in g for g in optimizer.param_groups):
                return None
            living = entry.living()
            heritage, entry.left = entry.left or (None if living is None else living()), None
        if heritage is None or not _alike(heritage.options, options):
            return None
        alive = entry.optimizer() is not None
        return heritage.branch() if alive and counted else heritage

    def end(self, entry: Entry | None) -> None:
        """It was let go: whatever comes begins anew."""
        if entry is not None and self._entries.get(entry.key) is entry:
            self._end(entry.key)

    def _end(self, key: Key) -> None:
        with self._lock:
            entry = self._entries.pop(key, None)
        if entry is not None and entry.left is not None:
            entry.left.drop()


lineages = _Lineages()


def _key(optimizer: Optimizer) -> Key | None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return (type(optimizer), id(parameters[0]), len(parameters)) if parameters else None


def _alike(first: Options, second: Options) -> bool:
    """Whether options are the same, but for what is told of events and which object of a class probes."""
    probes = {one.probe if isinstance(one.probe, str) else type(one.probe) for one in (first, second)}
    bare = [replace(one, on_event=None, probe="auto") for one in (first, second)]
    return len(probes) == 1 and bare[0] == bare[1]
