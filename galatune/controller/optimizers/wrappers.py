"""Optimizers that wrap others: which one moves the parameters."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Container, Iterator, Mapping
from typing import Any, NamedTuple

from torch.optim import Optimizer

from galatune.controller.optimizers.self_tuning import own_step

__all__ = ["Inner", "Wrappers", "enclosing", "inner_optimizers", "parameter_ids"]

DEEPEST = 6
"""Wrappers within wrappers that are followed."""

FRAMES = 40
"""Calls between a wrapper's step and that of the optimizer in it; hooks and closures are among them."""


class Inner(NamedTuple):
    """An optimizer within another object.

    Attributes:
        path: Where it is, ".base_optimizer".
        optimizer: It.
    """

    path: str
    optimizer: Optimizer


class Wrappers:
    """Which of the optimizers that step wrap others, and whether those step in their place."""

    def __init__(self) -> None:
        self._once: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    def inner_moves(self, optimizer: Optimizer, seen: Container[Optimizer]) -> bool | None:
        """Whether the optimizers in this one move the parameters; None if it does so itself.

        In its first step nobody knows: False. If none of them steps in it, it moves the parameters itself.

        Args:
            optimizer: About to step.
            seen: Those that stepped.
        """
        inner = inner_optimizers(optimizer)
        if not inner or own_step(optimizer, wraps=True) is not None:
            return None
        if optimizer not in self._once:
            self._once.add(optimizer)
            return False
        return True if any(one.optimizer in seen for one in inner) else None


def inner_optimizers(outer: Any) -> list[Inner]:
    """The innermost optimizers that a wrapper leaves all of its parameters to; none if it wraps none."""
    return _within(outer, "", {id(outer)}, DEEPEST)


def enclosing(optimizer: Optimizer) -> list[Any]:
    """What wraps an optimizer whose step is about to run, the nearest first.

    A wrapper of any class need not tell torch of itself, so the objects whose methods are running are asked
    whether they hold the optimizer, or are optimizers of its parameters.
    """
    found: list[Any] = []
    frame, parameters = sys._getframe(1), parameter_ids(optimizer)
    for _ in range(FRAMES):
        if frame.f_back is None:
            break
        frame = frame.f_back
        holder = frame.f_locals.get("self")
        if holder is None or holder is optimizer or any(holder is one for one in found):
            continue
        steps = isinstance(holder, Optimizer) or _is_like_optimizer(holder)
        if steps and (_holds(holder, optimizer) or parameter_ids(holder) & parameters):
            found.append(holder)
    return found


def parameter_ids(optimizer: Any) -> set[int]:
    """Of the parameters in its groups; empty if it has none that can be read."""
    try:
        groups = optimizer.param_groups
    except Exception:  # a wrapper's property, which may raise anything before the wrapper is ready
        return set()
    if not isinstance(groups, (list, tuple)):
        return set()
    return {id(p) for group in groups if isinstance(group, Mapping) for p in group.get("params", ())}


def _within(outer: Any, path: str, seen: set[int], depth: int) -> list[Inner]:
    found: list[Inner] = []
    for name, held in _held(outer):
        if id(held) in seen or not (isinstance(held, Optimizer) or _is_like_optimizer(held)):
            continue
        if _holds(held, outer):
            continue  # a wrapper that its inner optimizer knows
        seen.add(id(held))
        place = f"{path}{name}"
        deeper = _within(held, place, seen, depth - 1) if depth else []
        if deeper:
            found += deeper
        elif isinstance(held, Optimizer):
            found.append(Inner(place, held))
    own = parameter_ids(outer)
    inner = [(one, parameter_ids(one.optimizer)) for one in found]
    if isinstance(outer, Optimizer) and not own.issubset(set().union(*(ids for _, ids in inner))):
        return []  # it moves parameters itself
    return [one for one, ids in inner if not own or ids & own]


def _held(holder: Any) -> Iterator[tuple[str, Any]]:
    """Objects in an object's attributes, and in lists and dicts among these, with where they are."""
    for name, value in list(getattr(holder, "__dict__", {}).items()):
        yield f".{name}", value
        if isinstance(value, (list, tuple)):
            yield from ((f".{name}[{i}]", one) for i, one in enumerate(value))
        elif isinstance(value, dict):
            yield from ((f".{name}[{key!r}]", one) for key, one in list(value.items()) if _is_plain(key))


def _holds(holder: Any, optimizer: Any) -> bool:
    return any(held is optimizer for _, held in _held(holder))


def _is_plain(key: Any) -> bool:
    return isinstance(key, (str, int))


def _is_like_optimizer(held: Any) -> bool:
    """Whether a wrapper that is no torch optimizer may hold one."""
    kind = type(held)
    groups = hasattr(kind, "zero_grad") or hasattr(kind, "param_groups")
    return hasattr(kind, "step") and groups and hasattr(held, "__dict__")
