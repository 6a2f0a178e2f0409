"""Which optimizers are under control, and a word where one only looks as if it were."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from galatune.controller.torch_hooks.lr_schedule import MEMORY
from galatune.errors import ControlError

__all__ = ["controllers", "refuse_twice"]

controllers: weakref.WeakKeyDictionary[Optimizer, Any] = weakref.WeakKeyDictionary()
"""Optimizers under control, with their controllers."""

_warned: weakref.WeakSet[Optimizer] = weakref.WeakSet()


def refuse_twice(optimizer: Optimizer) -> None:
    """Raise a ControlError where it is under control already, by itself or through one that wraps it."""
    if optimizer in controllers:
        raise ControlError(f"this {type(optimizer).__name__} is already under control; detach() it first")
    other = _sharing(optimizer)
    if other is not None:
        raise ControlError(
            f"this {type(optimizer).__name__} shares its parameter groups with a {type(other).__name__} "
            "that is already under control; one of the two is enough"
        )


def _sharing(optimizer: Optimizer) -> Optimizer | None:
    """A controlled optimizer with the same parameter groups: one that this one wraps, or is wrapped by."""
    groups = {id(group) for group in optimizer.param_groups}
    for other in list(controllers):
        if any(id(group) in groups for group in other.param_groups):
            return other
    return None


def _warn_of_lost_hooks(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """A copied or unpickled optimizer has its memory but not its hooks."""
    lost = MEMORY in optimizer.param_groups[0] and optimizer not in controllers
    if lost and optimizer not in _warned and _sharing(optimizer) is None:
        _warned.add(optimizer)
        warnings.warn(
            f"this {type(optimizer).__name__} is a copy of a controlled optimizer and is not under control; "
            "galatune.attach(optimizer) continues where the original was",
            stacklevel=2,
        )


# After the step, since `controlled` may have taken it over at its start.
register_optimizer_step_post_hook(_warn_of_lost_hooks)
