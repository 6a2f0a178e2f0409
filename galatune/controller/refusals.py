"""What cannot be controlled, each in one line."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from galatune.controller.checkpoint import SCHEMA
from galatune.controller.torch_hooks.lr_schedule import MEMORY
from galatune.errors import ControlError

__all__ = ["refuse_flattened", "refuse_schema", "refuse_sparse"]


def refuse_schema(optimizer: Optimizer) -> None:
    """Raise where the state it has was written in another schema."""
    schema = optimizer.param_groups[0].get(MEMORY, {}).get("schema", SCHEMA)
    if schema != SCHEMA:
        raise ControlError(
            f"the state of this {type(optimizer).__name__} has schema {schema!r}, and schema {SCHEMA} is "
            "needed; use the version of galatune that wrote it"
        )


def refuse_sparse(optimizer: Optimizer) -> None:
    """Raise where a gradient is sparse."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None and p.grad.layout != torch.strided:
                raise ControlError(
                    f"{type(optimizer).__name__} cannot be controlled with sparse gradients (a parameter of "
                    f"shape {tuple(p.shape)} has one); build the embedding with sparse=False"
                )


def refuse_flattened(optimizer: Optimizer) -> None:
    """Raise where FullyShardedDataParallel made parameters flat: nothing says what its pieces are of."""
    if any(hasattr(p, "_fsdp_flattened") for group in optimizer.param_groups for p in group["params"]):
        raise ControlError(
            f"{type(optimizer).__name__} cannot be controlled with parameters that FullyShardedDataParallel "
            "made flat; shard the net with torch.distributed.fsdp.fully_shard"
        )
