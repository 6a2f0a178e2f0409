"""Copies of one net in several processes: what a probe measured on one of them is averaged over all.

DistributedDataParallel averages what ``backward()`` leaves in ``.grad``; a gradient that was asked for
beside it is that of the local minibatch. The measured numbers are averaged, never the decision: ranks that
see the same numbers set the same rate.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Ranks"]

_UNASKED = object()


class Ranks:
    """The processes that hold copies of one net; asked for once, at the first probe.

    Example:
        >>> Ranks().mean_loss(0.5, [])  # one process
        0.5
    """

    def __init__(self) -> None:
        self._group: Any = _UNASKED

    def means(self, tensors: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor | None]:
        """Mean of each tensor over the ranks; one that this rank has not counts as zero."""
        group = self._group_of(parameters)
        if group is None:
            return list(tensors)
        means: list[Tensor | None] = []
        for tensor, p in zip(tensors, parameters, strict=True):
            mean = torch.zeros_like(p) if tensor is None else tensor.detach().clone()
            torch.distributed.all_reduce(mean, group=group)
            means.append(mean.div_(torch.distributed.get_world_size(group)))
        return means

    def mean_loss(self, loss: float | None, parameters: Sequence[Tensor]) -> float | None:
        """Mean of the ranks' losses, None where one of them has none; the same on each of them."""
        group = self._group_of(parameters)
        if group is None:
            return loss
        seen = torch.tensor([loss or 0.0, float(loss is not None)], device=parameters[0].device)
        torch.distributed.all_reduce(seen, group=group)
        total, count = seen.tolist()
        ranks = torch.distributed.get_world_size(group)
        return total / ranks if count == ranks else None

    def _group_of(self, parameters: Sequence[Tensor]) -> Any:
        if self._group is _UNASKED:
            self._group = _replicas_of(parameters)
        return self._group


def _replicas_of(parameters: Sequence[Tensor]) -> Any:
    """Process group of the DistributedDataParallel that holds any of these parameters, None without one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    from torch.nn.parallel import DistributedDataParallel

    wanted = {id(p) for p in parameters}
    for candidate in gc.get_objects():
        if issubclass(type(candidate), DistributedDataParallel) and any(
            id(p) in wanted for p in candidate.parameters()
        ):
            return candidate.process_group
    return None
