"""Minibatches of one rank: made by hand, or drawn by a loop that may differ from those of the other ranks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

__all__ = ["BATCH", "RANKS", "Batch", "by_hand", "drawn"]

BATCH, RANKS = 32, 2

Batch = tuple[Tensor, Tensor]


def by_hand() -> Iterator[Batch]:
    """Global ones without end."""
    generator = torch.Generator().manual_seed(1)
    while True:
        yield _rows(BATCH, generator)


def drawn(ranks: int, rank: int, odd: str) -> Iterator[Batch]:
    """Those of one rank without end.

    Args:
        ranks: How many share a global one; 1 for the global ones.
        rank: Which of them this is.
        odd: What the last of several does: as the others ("alike"), make them by hand ("unwatched") or only
            the second one ("once unwatched"), draw one "ahead", begin its epochs "early", or draw each from
            a data set of its own ("unrepeated").
    """
    way = odd if ranks > 1 and rank == ranks - 1 else "alike"
    data = TensorDataset(*_rows((4 if way == "early" else 6) * BATCH, torch.Generator().manual_seed(1)))
    sampler, size = DistributedSampler(data, ranks, rank), BATCH // ranks
    loader = DataLoader(data, size, sampler=sampler)
    watched = (batch for _ in _epochs(sampler) for batch in loader)
    picked = (data[rows] for _ in _epochs(sampler) for rows in torch.tensor(list(sampler)).split(size))
    if way == "unwatched":
        return picked
    if way == "once unwatched":
        return (next(picked if place == 1 else watched) for place in itertools.count())
    if way == "ahead":
        return (former for former, _ in itertools.pairwise(watched))
    if way == "unrepeated":
        return (again for batch in picked for again in DataLoader(TensorDataset(*batch), size))
    return watched


def _epochs(sampler: DistributedSampler[Batch]) -> Iterator[int]:
    for epoch in itertools.count():
        sampler.set_epoch(epoch)
        yield epoch


def _rows(count: int, generator: torch.Generator) -> Batch:
    inputs = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (count,), generator=generator)
