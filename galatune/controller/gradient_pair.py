"""What happened to one parameter between two gradients, whole or piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Change", "pieces"]

ENTRIES = {"cpu": 2**16}
"""Entries of a piece, so that its float64 copies stay in the cache; elsewhere, kernels want more to do."""

MOST_ENTRIES = 2**22

State = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """The gradient pair of one parameter and the step between: g0, g1, d; each of the parameter's shape."""

    parameter: Tensor
    before: Tensor
    after: Tensor
    step: Tensor


def pieces(change: Change, state: State | None = None) -> Iterator[tuple[Change, State | None]]:
    """A change and the optimizer's state of its parameter, cut alike; whole where that is small already.

    What is computed from them is computed in float64, for whose copies of whole parameters there is no room.

    Args:
        change: Of dense tensors; one that is sharded over ranks, or complex, is left whole.
        state: Tensors of the parameter's shape are cut, everything else is handed on.
    """
    parameter = change.parameter.detach()
    size = ENTRIES.get(parameter.device.type, MOST_ENTRIES)
    if parameter.numel() <= size or parameter.is_complex() or hasattr(parameter, "full_tensor"):
        yield change, state
        return
    parts = (parameter, change.before, change.after, change.step)
    whole = {name: value for name, value in (state or {}).items() if _is_like(value, parameter)}
    cut = [part.reshape(-1).split(size) for part in (*parts, *whole.values())]
    for p, before, after, step, *kept in zip(*cut, strict=True):
        own = None if state is None else {**state, **dict(zip(whole, kept, strict=True))}
        yield Change(p, before, after, step), own


def _is_like(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == parameter.shape
