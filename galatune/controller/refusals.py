"""What cannot be controlled, each in one line."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from galatune.controller.state import lost_hooks
from galatune.errors import ControlError

__all__ = ["refuse_flattened", "refuse_sparse", "refuse_twice"]


def refuse_twice(optimizer: Optimizer) -> None:
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


def refuse_flattened(optimizer: Optimizer) -> None:
    """Raise if FullyShardedDataParallel made parameters flat: nothing says what its pieces are of."""
    if any(hasattr(p, "_fsdp_flattened") for group in optimizer.param_groups for p in group["params"]):
        raise ControlError(
            f"{type(optimizer).__name__} cannot be controlled with parameters that FullyShardedDataParallel "
            "made flat; shard the net with torch.distributed.fsdp.fully_shard"
        )
