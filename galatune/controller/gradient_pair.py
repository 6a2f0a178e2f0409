"""The gradient pair of each parameter, and its inner products over all parameters and ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from galatune.controller.rule.estimate import InnerProducts
from galatune.controller.torch_hooks.distributed import GlobalSum, is_sharded, local, wide

__all__ = ["GradientPair", "PairEntry", "inner_products", "pieces", "unscaled"]

ENTRIES = {"cpu": 2**14}
"""Entries per piece, so that its float64 copies stay in the cache; other devices want larger pieces."""

MOST_ENTRIES = 2**22

State = Mapping[str, Any]


@dataclass(frozen=True)
class GradientPair:
    """Gradients g0 and g1 of one parameter before and after a step d; each of the parameter's shape."""

    parameter: Tensor
    before: Tensor
    after: Tensor
    step: Tensor


@dataclass(frozen=True)
class PairEntry:
    """A gradient pair with its metric.

    Attributes:
        before: g0, gradient at the parameters before the step.
        after: g1, gradient of the same minibatch after it.
        step: d, the whole step, weight decay included.
        metric: P of the optimizer, None for the identity. All four have the parameter's shape.
        ratio: Rate of the parameter's group relative to the controlled rate; scales the metric.
    """

    before: Tensor
    after: Tensor
    step: Tensor
    metric: Tensor | None = None
    ratio: float = 1.0


def pieces(pair: GradientPair, state: State | None = None) -> Iterator[tuple[GradientPair, State | None]]:
    """Cut a pair and the optimizer's state of its parameter into pieces; small ones stay whole.

    Inner products are computed in float64, and copies of whole parameters would take too much memory.

    Args:
        pair: Of dense tensors; one that is sharded over ranks, or complex, stays whole.
        state: Tensors of the parameter's shape are cut, everything else is passed on.
    """
    parameter = pair.parameter.detach()
    size = _piece_size(parameter)
    if parameter.numel() <= size or parameter.is_complex() or is_sharded(parameter):
        yield pair, state
        return
    parts = (parameter, pair.before, pair.after, pair.step)
    whole = {name: value for name, value in (state or {}).items() if _is_like(value, parameter)}
    cut = [part.reshape(-1).split(size) for part in (*parts, *whole.values())]
    for p, before, after, step, *kept in zip(*cut, strict=True):
        own = None if state is None else {**state, **dict(zip(whole, kept, strict=True))}
        yield GradientPair(p, before, after, step), own


def unscaled(
    pairs: Sequence[GradientPair], before: Tensor | None, after: Tensor | None
) -> list[GradientPair]:
    """The pairs in the loss's own units, without a GradScaler's factor; waits for the device.

    Args:
        pairs: As measured.
        before: Factor of g0, None for none.
        after: Factor of g1.
    """
    if before is None and after is None:
        return list(pairs)
    first, second = (1.0 if scale is None else float(scale) for scale in (before, after))
    return [replace(one, before=one.before / first, after=one.after / second) for one in pairs]


def inner_products(entries: Iterable[PairEntry]) -> InnerProducts | None:
    """Sum the six inner products over parameters, and over ranks; one transfer to the host in all.

    Float64, since with a loss scaled by 1e-8 the squares of gradient changes leave float32's range.

    Returns:
        None if there is no entry on any rank.
    """
    total = GlobalSum()
    for entry in _joined(entries):
        g0, g1, d = (local(t).to(wide(t)).reshape(-1) for t in (entry.before, entry.after, entry.step))
        y = g1 - g0
        p: Any = entry.ratio
        if entry.metric is not None:
            p = local(entry.metric).to(g0.dtype).reshape(-1) * entry.ratio
        weighted = g0 * p
        sums = torch.stack(
            [
                torch.dot(g1, weighted),
                torch.dot(g0, weighted),
                torch.dot(y, y * p),
                torch.dot(y, d),
                torch.dot(d, d / p),
                torch.dot(g0, d),
            ]
        )
        total.add(entry.before, sums)
    found = total.result()
    return InnerProducts(*found) if found else None


def _joined(entries: Iterable[PairEntry]) -> Iterator[PairEntry]:
    """Small tensors joined to flat ones of up to a piece's size: many kernels on few numbers take long."""
    waiting: list[PairEntry] = []
    kind, filled = None, 0
    for entry in entries:
        own, size = _kind(entry), entry.before.numel()
        if waiting and (own is None or own != kind or filled + size > _piece_size(entry.before)):
            yield _join(waiting)
            waiting, filled = [], 0
        if own is None:
            yield entry
            continue
        waiting.append(entry)
        kind, filled = own, filled + size
    if waiting:
        yield _join(waiting)


def _kind(entry: PairEntry) -> tuple[Any, ...] | None:
    """What entries must have in common to be joined; None for one that lies in parts on several ranks."""
    if is_sharded(entry.before):
        return None
    tensors = entry.before, entry.after, entry.step, entry.metric
    return (entry.ratio, *(None if one is None else (one.dtype, one.device) for one in tensors))


def _join(entries: Sequence[PairEntry]) -> PairEntry:
    if len(entries) == 1:
        return entries[0]
    before, after, step = (
        torch.cat([getattr(one, name).reshape(-1) for one in entries]) for name in ("before", "after", "step")
    )
    metrics = [one.metric.reshape(-1) for one in entries if one.metric is not None]
    return PairEntry(before, after, step, torch.cat(metrics) if metrics else None, entries[0].ratio)


def _piece_size(tensor: Tensor) -> int:
    return ENTRIES.get(tensor.device.type, MOST_ENTRIES)


def _is_like(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == parameter.shape
