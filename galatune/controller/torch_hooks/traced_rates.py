"""Traced numbers that reach torch: optimizers note where their rates come from and keep plain numbers.

Whoever wants to know which optimizers follow a dimension hands out traced numbers inside `tracing`. An
optimizer's groups and defaults, the attributes of its schedulers and what ``torch.save`` writes are plain.
"""

from __future__ import annotations

import io
import pickle
import sys
import threading
import types
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import torch
from torch.optim import Optimizer, lr_scheduler

from galatune.controller.torch_hooks.patch import Patch
from galatune.controller.torch_hooks.traced_numbers import Origin, is_traced, origins_of, plain

__all__ = ["InitialRates", "Place", "make_rates_plain", "tracing"]

RATES = ("lr", "initial_lr", "max_lr")
"""Keys of a group that hold its rate, or that a scheduler makes it of."""

MOST_KNOWN = 4
"""Parameters of a group by which an optimizer that is made anew is known; there may be thousands of them."""

_PACKAGE = Path(__file__).parents[2]
_INSIDE = (str(_PACKAGE / "controller"), str(Path(torch.__file__).parent))
_DEMO = str(_PACKAGE / "demo")

Place = tuple[tuple[str, int, int], ...]


@dataclass(eq=False)
class InitialRates(Sequence[float]):
    """Rates that the groups of an optimizer were built with, as plain numbers, and what is known of them.

    Attributes:
        name: Class name of the optimizer.
        rates: One for each group; 0 for a group without a rate.
        origins: Where its rates come from: those it was built with, and those set until now by a scheduler
            or by hand.
        place: Calls in the user's code that built it, the innermost first; empty unless rates are traced.
        parameters: Some of its parameters, which are not kept alive.
        constructed: Whether its construction was seen: not that of a copy.
    """

    name: str
    rates: tuple[float, ...]
    origins: set[Origin]
    place: Place
    parameters: tuple[weakref.ref[Any], ...]
    constructed: bool
    _optimizer: weakref.ref[Optimizer] = field(repr=False)

    @classmethod
    def of(cls, optimizer: Optimizer, *, constructed: bool = True) -> InitialRates:
        """Read them, and leave plain numbers behind."""
        groups = optimizer.param_groups
        key = "lr" if constructed else "initial_lr"  # a copy may be made in the middle of a schedule
        rates = tuple(_number(group.get(key, group.get("lr"))) for group in groups)
        make_plain(optimizer)
        return cls(
            name=type(optimizer).__name__,
            rates=rates,
            origins=_origins.setdefault(optimizer, set()),
            place=_place() if _users else (),
            parameters=tuple(
                weakref.ref(p) for group in groups[:MOST_KNOWN] for p in group["params"][:MOST_KNOWN]
            ),
            constructed=constructed,
            _optimizer=weakref.ref(optimizer),
        )

    def shares_parameters(self, other: InitialRates) -> bool:
        """Whether one of those known is another's too, and still there."""
        own = {id(p) for reference in self.parameters if (p := reference()) is not None}
        return any(id(reference()) in own for reference in other.parameters)

    def refresh(self) -> None:
        """Note the origins of rates that were set since."""
        optimizer = self._optimizer()
        if optimizer is not None:
            make_rates_plain(optimizer)

    def present(self) -> tuple[float, ...]:
        """The rates that are set now; empty if the optimizer is gone."""
        optimizer = self._optimizer()
        groups = [] if optimizer is None else optimizer.param_groups
        return tuple(_number(group.get("lr")) for group in groups)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[float, ...]: ...
    def __getitem__(self, index: int | slice) -> float | tuple[float, ...]:
        return self.rates[index]

    def __len__(self) -> int:
        return len(self.rates)


def make_plain(optimizer: Optimizer) -> None:
    """Replace traced numbers in an optimizer by plain ones, and note where its rates come from."""
    if not _users:
        return
    for group in optimizer.param_groups:
        for key in RATES:
            if key in group and (found := origins_of(group[key])):
                _origins.setdefault(optimizer, set()).update(found)
        _clean(group)
    _clean(optimizer.defaults)
    _clean(vars(optimizer))


def make_rates_plain(optimizer: Optimizer) -> None:
    """The same if a rate was set by hand since: quick, for every step."""
    if _users and any(is_traced(group.get("lr")) for group in optimizer.param_groups):
        make_plain(optimizer)


def _clean(values: dict[str, Any]) -> None:
    for key, value in values.items():
        if key not in ("params", "param_groups", "state") and plain(value) is not value:
            values[key] = plain(value)


def _number(rate: Any) -> float:
    """A rate, 0 if it is none: some optimizers have lr=None."""
    try:
        return float(plain(rate))
    except (TypeError, ValueError, RuntimeError):
        return 0.0


def _place() -> Place:
    """Where the user's code builds an optimizer; the same wherever in galatune it was called from."""
    place: list[tuple[str, int, int]] = []
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(str(_PACKAGE)) and not file.startswith((*_INSIDE, _DEMO)):
            break
        if not file.startswith(_INSIDE):
            place.append((file, frame.f_code.co_firstlineno, frame.f_lasti))
        frame = frame.f_back
    return _places.setdefault(tuple(place), tuple(place))


# -- what is patched while numbers are traced


_origins: weakref.WeakKeyDictionary[Optimizer, set[Origin]] = weakref.WeakKeyDictionary()
_places: dict[Place, Place] = {}  # each once
_lock = threading.RLock()
_users = 0


def _group_added(inner: Any, optimizer: Optimizer, /, *args: Any, **kwargs: Any) -> None:
    inner(optimizer, *args, **kwargs)
    if optimizer in _origins:  # else it is being built, and its rates are still to be read
        make_plain(optimizer)


def _asked_for_state(inner: Any, optimizer: Optimizer, /, *args: Any, **kwargs: Any) -> Any:
    make_plain(optimizer)
    return inner(optimizer, *args, **kwargs)


def _scheduler_made(inner: Any, scheduler: Any, /, *args: Any, **kwargs: Any) -> None:
    inner(scheduler, *args, **kwargs)
    make_plain(scheduler.optimizer)


def _scheduler_set(inner: Any, scheduler: Any, name: str, value: Any, /) -> None:
    inner(scheduler, name, plain(value))


def _saving(inner: Any, body: Any, file: Any, module: Any, /, *args: Any, **kwargs: Any) -> Any:
    if module is pickle:
        module = types.SimpleNamespace(**{**vars(pickle), "Pickler": _PlainPickler})
    return inner(body, file, module, *args, **kwargs)


class _TracedFoundError(Exception):
    """A number that is not plain is about to be pickled."""


class _PlainPickler(pickle.Pickler):
    """Writes traced numbers as plain ones, which `torch.load` reads with ``weights_only=True``.

    Pickling in C would write a call of ``float``. Pickling in Python does not, but takes many times as long:
    it is done only if it is needed.
    """

    def __init__(self, file: Any, protocol: int | None = None, **more: Any) -> None:
        self._file, self._given = file, {"protocol": protocol, **more}
        self._body = io.BytesIO()
        super().__init__(self._body, protocol, **more)

    def reducer_override(self, value: Any) -> Any:
        """Called for everything but the simplest types."""
        if is_traced(value):
            raise _TracedFoundError
        return NotImplemented

    def dump(self, body: Any) -> None:
        """Write it."""
        try:
            super().dump(body)
        except _TracedFoundError:
            slow: Any = pickle._Pickler(self._file, **self._given)
            slow.persistent_id = self.persistent_id
            slow.dump(body)
        else:
            self._file.write(self._body.getvalue())


_patches = (
    Patch(Optimizer, "add_param_group", _group_added),
    Patch(Optimizer, "state_dict", _asked_for_state),
    Patch(lr_scheduler.LRScheduler, "__init__", _scheduler_made),
    Patch(lr_scheduler.LRScheduler, "__setattr__", _scheduler_set),
    Patch(torch.serialization, "_save", _saving),
    Patch(torch.serialization, "_legacy_save", _saving),
)


@contextmanager
def tracing() -> Iterator[None]:
    """Traced numbers may be handed out inside."""
    global _users  # the patches are of the whole process
    with _lock:
        if not _users:
            for patch in _patches:
                patch.put_on()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _places.clear()
                for patch in _patches:
                    patch.take_off()
