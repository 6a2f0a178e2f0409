"""What a closure can reach and change in Python: counters, lists, iterators; seen before and after a call."""

from __future__ import annotations

import collections
import functools
import inspect
import operator
from collections.abc import Iterator
from numbers import Number
from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

__all__ = ["ReachableState"]

CONTAINERS = (list, dict, set, collections.deque, bytearray)

MOST = 64
"""Entries of a container, and attributes of an object, that are looked at."""

MOST_OBJECTS = 2000
DEPTH = 4
"""How far is looked: from the closure over a function and an object to what that holds."""

FOREIGN = ("torch", "numpy", "galatune", "builtins", "logging", "threading", "collections", "functools")

Found = dict[str, Any]


class ReachableState:
    """Numbers, sizes of containers and places of iterators that a closure can reach, by name.

    A number that an object holds counts, and one in a list: most metrics and counters are made of those.

    Example:
        >>> losses = []
        >>> before = ReachableState(functools.partial(sum, losses))
        >>> losses.append(0.0)
        >>> before.changed(), before.drawn()
        (['argument 1'], False)
    """

    def __init__(self, closure: Any) -> None:
        self._closure = closure
        self._numbers, self._iterators = _look(closure)

    def changed(self) -> list[str]:
        """Names of what has other numbers or another size now."""
        now, _ = _look(self._closure)
        return [name for name, value in self._numbers.items() if name in now and now[name] != value]

    def drawn(self) -> bool:
        """Whether an iterator that was there has moved on."""
        _, now = _look(self._closure)
        return any(name in now and now[name] != place for name, place in self._iterators.items())


def _look(closure: Any) -> tuple[Found, Found]:
    numbers: Found = {}
    iterators: Found = {}
    seen: set[int] = set()
    waiting = [("", closure, 0)]
    while waiting and len(seen) < MOST_OBJECTS:
        name, one, depth = waiting.pop(0)
        if isinstance(one, Iterator):
            iterators[name] = (id(one), _place(one))
        elif (value := _value(one)) is not None:
            numbers[name] = value
        elif depth < DEPTH and id(one) not in seen and not _is_foreign(one):
            seen.add(id(one))
            waiting += [(inner, part, depth + 1) for inner, part in _parts(name, one)]
    return numbers, iterators


def _parts(name: str, one: Any) -> Iterator[tuple[str, Any]]:
    """What a function refers to, or an object holds, by name."""
    if isinstance(one, functools.partial):
        yield from ((f"{name} argument {i}".strip(), part) for i, part in enumerate((one.func, *one.args)))
        yield from one.keywords.items()
    elif isinstance(one, Module):
        for part, module in one.named_modules():
            yield from _attributes(f"{name}.{part}" if part else name, module)
    elif inspect.isroutine(one):
        if (owner := getattr(one, "__self__", None)) is not None:
            yield type(owner).__name__, owner
        code = getattr(one, "__code__", None)
        if code is not None:
            yield from _variables(one, code)
        yield from ((name, inner) for inner in [getattr(one, "__wrapped__", None)] if inner is not None)
    else:
        yield from _attributes(name or type(one).__name__, one)


def _is_foreign(one: Any) -> bool:
    """Whether it belongs to torch, to Python or to us, which keep their own accounts."""
    if isinstance(one, (type, Tensor, Optimizer)) or inspect.ismodule(one):
        return True
    if isinstance(one, (Module, functools.partial)) or inspect.ismethod(one):
        return False
    owner = one if inspect.isfunction(one) else type(one)
    return str(getattr(owner, "__module__", "")).partition(".")[0] in FOREIGN


def _variables(function: Any, code: Any) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(code.co_freevars, getattr(function, "__closure__", None) or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not filled yet
            continue
    around = getattr(function, "__globals__", {})
    yield from ((name, around[name]) for name in code.co_names if name in around)
    defaults = getattr(function, "__defaults__", None) or ()
    yield from zip(code.co_varnames[code.co_argcount - len(defaults) :], defaults, strict=False)


def _attributes(name: str, one: Any) -> Iterator[tuple[str, Any]]:
    held = list(getattr(one, "__dict__", {}).items())[:MOST]
    yield from ((f"{name}.{key}", value) for key, value in held if not str(key).startswith("_"))


def _value(one: Any) -> Any:
    """A number as it is, a container's size and numbers; None for anything else."""
    if isinstance(one, Number) and not isinstance(one, bool):
        return one
    if not isinstance(one, CONTAINERS):
        return None
    values = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return len(one), [v for v, _ in zip(values, range(MOST), strict=False) if isinstance(v, (int, float))]


def _place(iterator: Any) -> Any:
    frame = getattr(iterator, "gi_frame", None)
    if inspect.isgenerator(iterator):
        return frame is None, None if frame is None else frame.f_lasti
    try:
        return operator.length_hint(iterator, -1)
    except Exception:  # somebody's own
        return -1
