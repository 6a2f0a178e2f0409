"""What cannot be controlled, each in one line."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from galatune.controller.gradient_pair import GradientPair
from galatune.controller.optimizers import (
    StepLengths,
    enclosing,
    inner_optimizers,
    metric_of,
    own_step,
    parameter_ids,
    writes_rate,
)
from galatune.controller.state import lost_hooks
from galatune.controller.torch_hooks.distributed import GlobalSum, squared
from galatune.errors import ControlError, SelfTuningError

__all__ = ["refuse", "refuse_enclosed", "refuse_sparse", "refuse_wrapper", "shown_by_step", "stands_still"]

FULL = 32
"""Bits of a number whose changes are not lost to rounding."""

MOST_NAMED = 3
"""Inner optimizers that a refusal names."""


def refuse(optimizer: Optimizer) -> None:
    """Raise if it cannot be controlled, before anything of it is changed.

    Raises:
        ControlError: It is under control already, has sparse gradients, or its step cannot be seen.
        SelfTuningError: It sets its own step.
    """
    metric_of(optimizer)  # refuses LBFGS, SparseAdam and Rprop of torch
    _refuse_self_tuning(optimizer)
    _refuse_odd_rates(optimizer)
    _refuse_unseen(optimizer)
    _refuse_twice(optimizer)
    refuse_sparse(optimizer)
    _refuse_flattened(optimizer)
    _refuse_shared_out(optimizer)


def _refuse_self_tuning(optimizer: Optimizer) -> None:
    if (why := own_step(optimizer)) is not None:
        raise SelfTuningError(_sets_its_own(type(optimizer).__name__, why))


def refuse_enclosed(optimizer: Optimizer) -> None:
    """Raise if its step is about to be taken within that of a wrapper that tunes it or shares it out."""
    for wrapper in enclosing(optimizer):
        if (why := own_step(wrapper, wraps=True)) is not None:
            name = f"the {type(wrapper).__name__} around this {type(optimizer).__name__}"
            raise SelfTuningError(_sets_its_own(name, why))
        _refuse_shared_out(wrapper)


def shown_by_step(optimizer: Optimizer, applied: Sequence[float]) -> str | None:
    """Why an optimizer sets its own step, as far as its state after a step says.

    Args:
        optimizer: It.
        applied: Rates of its groups during the step.
    """
    written = "its step writes the rate of its groups" if writes_rate(optimizer, applied) else None
    why = own_step(optimizer) or written
    return None if why is None else _sets_its_own(type(optimizer).__name__, why)


def stands_still(
    optimizer: Optimizer,
    lengths: StepLengths,
    played: Sequence[float],
    pairs: Sequence[GradientPair] | None,
) -> str | None:
    """Why an optimizer sets its own step, as far as the length of its steps says.

    Args:
        optimizer: It.
        lengths: Of its steps so far.
        played: Rates of the step of these pairs.
        pairs: Of the present step, None if it is not probed; parameters of few digits do not count.
    """
    if lengths.decided or not (pairs and played):
        return None
    total = GlobalSum()
    for pair in pairs:
        if torch.finfo(pair.parameter.dtype).bits >= FULL:
            total.add(pair.parameter, squared(pair.step))
    if lengths.stand_still(max(played), math.sqrt(sum(total.result(), 0.0))):
        return _sets_its_own(type(optimizer).__name__, "its steps do not change their length with the rate")
    return None


def _sets_its_own(name: str, why: str) -> str:
    return (
        f"{name} sets its own step ({why}); train it without control, or use an optimizer whose step follows "
        "its learning rate, as SGD, Adam and AdamW do"
    )


def refuse_wrapper(optimizer: Any) -> None:
    """Raise if it is no torch optimizer, or wraps the one that moves the parameters, which is named."""
    inner = inner_optimizers(optimizer)
    if inner:
        if (why := own_step(optimizer, wraps=True)) is not None:
            raise SelfTuningError(_sets_its_own(type(optimizer).__name__, why))
        for one in inner:
            _refuse_self_tuning(one.optimizer)
        named = [f"{one.path} ({type(one.optimizer).__name__})" for one in inner[:MOST_NAMED]]
        listed = ", ".join(named) + (", ..." if len(inner) > MOST_NAMED else "")
        what = "each of its" if len(inner) > 1 else "its"
        mover = "the optimizers that move" if len(inner) > 1 else "the optimizer that moves"
        name = type(optimizer).__name__
        raise ControlError(f"this {name} wraps {mover} the parameters; attach to {what} {listed}")
    if not isinstance(optimizer, Optimizer):
        raise ControlError(
            f"a torch.optim.Optimizer is needed, however: a {type(optimizer).__name__} was given; "
            "attach to the optimizer whose step() moves the parameters"
        )


def _refuse_odd_rates(optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        try:
            float(group["lr"])
        except (TypeError, ValueError, RuntimeError):
            raise ControlError(
                f"the learning rate of a {type(optimizer).__name__} must be one number for each parameter "
                f"group, however: lr={group['lr']!r:.60}"
            ) from None


def _refuse_unseen(optimizer: Optimizer) -> None:
    """Raise if torch's hooks do not run at its step."""
    hooks = getattr(optimizer, "_optimizer_step_pre_hooks", None)
    try:
        weakref.ref(hooks)
        seen = getattr(type(optimizer).step, "hooked", False)
    except TypeError:
        seen = False
    if not seen:
        raise ControlError(
            f"the step of this {type(optimizer).__name__} cannot be seen, because it never called "
            "torch.optim.Optimizer.__init__; attach to the optimizer that it steps, or call it there"
        )


def _refuse_twice(optimizer: Optimizer) -> None:
    """Raise if it is under control already, by itself or through one that wraps it."""
    if optimizer in lost_hooks.controlled:
        raise ControlError(f"this {type(optimizer).__name__} is already under control; detach() it first")
    other = lost_hooks.sharing_groups(optimizer)
    if other is not None:
        raise ControlError(
            f"this {type(optimizer).__name__} shares its parameter groups with a {type(other).__name__} "
            "that is already under control; one of the two is enough"
        )


def refuse_sparse(optimizer: Optimizer) -> None:
    """Raise if a gradient is sparse."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None and p.grad.layout != torch.strided:
                raise ControlError(
                    f"{type(optimizer).__name__} cannot be controlled with sparse gradients (a parameter of "
                    f"shape {tuple(p.shape)} has one); build the embedding with sparse=False"
                )


def _refuse_flattened(optimizer: Optimizer) -> None:
    """Raise if FullyShardedDataParallel made parameters flat: nothing says what its pieces are of."""
    if any(hasattr(p, "_fsdp_flattened") for group in optimizer.param_groups for p in group["params"]):
        raise ControlError(
            f"{type(optimizer).__name__} cannot be controlled with parameters that FullyShardedDataParallel "
            "made flat; shard the net with torch.distributed.fsdp.fully_shard"
        )


def _refuse_shared_out(optimizer: Any) -> None:
    """Raise if ranks step different parameters: what they measure could not be added up."""
    names = {ancestor.__name__ for ancestor in type(optimizer).__mro__}
    inner = getattr(optimizer, "optim", None)
    if "ZeroRedundancyOptimizer" in names and parameter_ids(inner) != parameter_ids(optimizer):
        raise ControlError(
            "ZeroRedundancyOptimizer cannot be controlled on several ranks, since each of them steps other "
            "parameters; shard the net with torch.distributed.fsdp.fully_shard instead"
        )
