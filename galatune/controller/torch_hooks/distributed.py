"""Several processes train one net: ranks reduce statistics, and each computes the same rate.

Copies (DistributedDataParallel): it averages what ``backward()`` leaves in ``.grad``, but a gradient that
was asked for beside it is that of the local minibatch, and is averaged here.

Shards (`fully_shard`, tensor parallelism): parameters, gradients and state are DTensors, of which each rank
holds a part. Sums are computed over the local parts and then added up over the ranks: a few numbers travel,
no tensor is gathered. ``.item()`` of a DTensor that is not yet reduced would silently be the local value.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "GlobalSum",
    "Ranks",
    "count",
    "is_sharded",
    "local",
    "place",
    "placed_like",
    "squared",
    "wide",
]


class Ranks:
    """The processes that hold copies of one net; they are looked up once, at the first probe.

    Example:
        >>> Ranks().mean_loss(0.5, [])  # one process
        0.5
    """

    def __init__(self) -> None:
        self._copies: _Copies | None = None
        self._sharding: list[weakref.ref[Any]] | None = None

    def means(self, tensors: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor | None]:
        """Mean of each tensor over the ranks; a tensor that this rank lacks counts as zero."""
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
        """Mean of the ranks' losses, None if one of them has none; the same on each of them."""
        groups = self._groups_of(parameters)
        if self.some_may_be_done(parameters):
            return None
        if not groups:
            return loss
        numbers = [loss or 0.0, float(loss is not None), 1.0]
        total, count, ranks = _added_up(numbers, groups, parameters[0].device)
        return total / ranks if count == ranks else None

    def reuse_gradients(self, parameters: Sequence[Tensor]) -> bool:
        """Whether gradients are views of messages between ranks, which the next backward call overwrites."""
        return self._copies_of(parameters).reuse_gradients

    def any(self, flag: bool, parameters: Sequence[Tensor]) -> bool:
        """Whether it is so on any of the ranks; the same on each of them."""
        groups = self._groups_of(parameters)
        if not groups:
            return flag
        return bool(_added_up([float(flag)], groups, parameters[0].device)[0])

    def some_may_be_done(self, parameters: Sequence[Tensor]) -> bool:
        """Whether ranks may have run out of minibatches (torch's `Join`); they answer DDP's messages only."""
        return self._copies_of(parameters).joining

    def refresh(self, parameters: Sequence[Tensor]) -> None:
        """Have `fully_shard` gather parameters again, after their values have changed."""
        if any(is_sharded(p) for p in parameters):
            for module in self._sharding_modules():
                module.reshard()

    def whole_copies(self, parameters: set[int]) -> set[int]:
        """Ids of the leaves that `fully_shard` puts into a graph in place of the parameters of these ids."""
        return {
            id(getattr(held, "_unsharded_param", None))
            for module in self._sharding_modules()
            for held in _held_by(module)
            if id(held.sharded_param) in parameters
        }

    def _sharding_modules(self) -> list[Any]:
        if self._sharding is None:
            self._sharding = [weakref.ref(module) for module in _all_sharding_modules()]
        return [module for reference in self._sharding if (module := reference()) is not None]

    def _groups_of(self, parameters: Sequence[Tensor]) -> list[Any]:
        """Process groups that together join the ranks: one of copies, or one a dimension of a mesh."""
        sharded = next((p for p in parameters if is_sharded(p)), None)
        if sharded is not None:
            mesh: Any = sharded.device_mesh  # type: ignore[attr-defined]
            return [mesh.get_group(dimension) for dimension in range(mesh.ndim)]
        group = self._group_of(parameters)
        return [] if group is None else [group]

    def _group_of(self, parameters: Sequence[Tensor]) -> Any:
        return self._copies_of(parameters).group

    def _copies_of(self, parameters: Sequence[Tensor]) -> _Copies:
        if self._copies is None:
            self._copies = _Copies(_replicas_of(parameters))
        return self._copies


class _Copies:
    """What a DistributedDataParallel, if there is one, does with the gradients."""

    def __init__(self, module: Any) -> None:
        self._module = None if module is None else weakref.ref(module)
        self.group = None if module is None else module.process_group
        self.reuse_gradients = module is not None and bool(module.gradient_as_bucket_view)

    @property
    def joining(self) -> bool:
        module = None if self._module is None else self._module()
        return module is not None and bool(module._join_config.enable)


class GlobalSum:
    """Numbers summed over tensors, and over the ranks that hold shards of them, in float64.

    Example:
        >>> norm = GlobalSum()
        >>> for tensor in (torch.ones(3), torch.full((2,), 2.0)):
        ...     norm.add(tensor, tensor.square().sum())
        >>> norm.result()
        [11.0]
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[tuple[Any, ...], torch.device], list[Tensor]] = {}

    def add(self, tensor: Tensor, numbers: Tensor) -> None:
        """Add the numbers that were computed from the local part of this tensor."""
        key = _held_in_parts_by(tensor), numbers.device
        self._parts.setdefault(key, []).append(numbers.reshape(-1))

    def result(self) -> list[float]:
        """The sums, the same on each rank; empty if nothing was added. One transfer to the host."""
        whole: Tensor | None = None
        for (groups, _), parts in self._parts.items():
            total = torch.stack([part.to(wide(part)) for part in parts]).sum(0)
            for group in groups:
                torch.distributed.all_reduce(total, group=group)
            whole = total if whole is None else whole + total.to(whole.device)
        return [] if whole is None else whole.tolist()


def count(which: Callable[[Tensor], Tensor], tensors: Sequence[Tensor | None]) -> float:
    """How many entries of a kind these tensors have, on all ranks.

    Example:
        >>> count(torch.count_nonzero, [torch.tensor([1.0, 0.0, 2.0]), None])
        2.0
    """
    total = GlobalSum()
    for tensor in tensors:
        if tensor is not None:
            total.add(tensor, which(local(tensor)))
    return sum(total.result(), 0.0)


def squared(tensor: Tensor) -> Tensor:
    """Sum of the squares of this rank's part."""
    part = local(tensor)
    return (torch.view_as_real(part) if part.is_complex() else part).to(wide(part)).square().sum()


def wide(tensor: Tensor) -> torch.dtype:
    """Double precision; Apple's MPS has none."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def is_sharded(tensor: Any) -> bool:
    """Whether this is a DTensor, of which the present rank holds a part."""
    return hasattr(tensor, "full_tensor")


def local(tensor: Tensor) -> Tensor:
    """The part of a DTensor that this rank holds, and any other tensor as it is."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def place() -> tuple[int, int]:
    """The rank of this process, and how many there are.

    Example:
        >>> place()  # one process
        (0, 1)
    """
    if not _is_distributed():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def placed_like(tensor: Tensor | None, parameter: Tensor) -> Tensor | None:
    """A gradient in the parts that the parameter is held in; others as they are."""
    if tensor is None or not is_sharded(tensor) or not is_sharded(parameter):
        return tensor
    placed: Tensor = tensor.redistribute(placements=parameter.placements)  # type: ignore[attr-defined]
    return placed


def _added_up(numbers: Sequence[float], groups: Sequence[Any], device: torch.device) -> list[float]:
    """Each number summed over the ranks that these groups join."""
    sums = torch.tensor(numbers, device=device)
    for group in groups:
        torch.distributed.all_reduce(sums, group=group)
    return sums.tolist()


def _held_in_parts_by(tensor: Tensor) -> tuple[Any, ...]:
    """The process groups over which this tensor's parts lie; none if each rank holds all of it."""
    if not is_sharded(tensor):
        return ()
    mesh: Any = tensor.device_mesh  # type: ignore[attr-defined]
    placements: Any = tensor.placements  # type: ignore[attr-defined]
    return tuple(mesh.get_group(i) for i, placement in enumerate(placements) if not placement.is_replicate())


def _all_sharding_modules() -> list[Any]:
    from torch.distributed.fsdp import FSDPModule

    return [candidate for candidate in gc.get_objects() if issubclass(type(candidate), FSDPModule)]


def _held_by(module: Any) -> list[Any]:
    """There is no public way in torch from a sharded parameter to its whole copy."""
    state = module._get_fsdp_state()
    groups = getattr(state, "_fsdp_param_groups", None) or [getattr(state, "_fsdp_param_group", None)]
    return [held for group in groups if group is not None for held in group.fsdp_params]


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _replicas_of(parameters: Sequence[Tensor]) -> Any:
    """The DistributedDataParallel that holds any of these parameters, None without one."""
    if not _is_distributed():
        return None
    from torch.nn.parallel import DistributedDataParallel

    wanted = {id(p) for p in parameters}
    for candidate in gc.get_objects():
        if issubclass(type(candidate), DistributedDataParallel) and any(
            id(p) in wanted for p in candidate.parameters()
        ):
            return candidate
    return None
