"""The training whose cost is measured: a transformer that predicts characters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from galatune.bench.controller.tasks.text import characters

__all__ = ["CPU", "CUDA", "Workload"]

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Workload:
    """Shape of the net and of its minibatches.

    Attributes:
        name: Name in the output.
        device: "cpu" or "cuda".
        width: Width of the residual stream; the inner layer of a block is four times as wide.
        heads: Number of attention heads.
        layers: Number of blocks.
        length: Characters per row.
        batch: Rows per minibatch.
        alphabet: Rows of the embedding; None for as many as there are characters.
        bfloat16: Whether forward passes run under autocast.
    """

    name: str
    device: str
    width: int
    heads: int
    layers: int
    length: int
    batch: int
    alphabet: int | None = None
    bfloat16: bool = False

    def net(self) -> nn.Module:
        """The net on its device."""
        return _Transformer(self).to(self.device)

    def batches(self) -> Iterator[Batch]:
        """Minibatches without end from torch's DataLoader."""
        loader = DataLoader(_Windows(characters()[0], self.length), self.batch, shuffle=True, drop_last=True)
        while True:
            yield from loader


CPU = Workload("a transformer of 5 million parameters", "cpu", 264, 6, 6, 64, 16)
CUDA = Workload("GPT-2 small in bfloat16", "cuda", 768, 12, 12, 1024, 8, 50257, bfloat16=True)


class _Windows(Dataset[Batch]):
    def __init__(self, codes: Tensor, length: int) -> None:
        self._codes, self._length = codes, length

    def __len__(self) -> int:
        return len(self._codes) - self._length

    def __getitem__(self, place: int) -> Batch:
        window = self._codes[place : place + self._length + 1]
        return window[:-1], window[1:]


class _Transformer(nn.Module):
    def __init__(self, shape: Workload) -> None:
        super().__init__()
        alphabet = shape.alphabet or characters()[2]
        self.embed = nn.Embedding(alphabet, shape.width)
        self.place = nn.Parameter(torch.randn(shape.length, shape.width) * 0.02)
        inner = 4 * shape.width
        block = nn.TransformerEncoderLayer(
            shape.width, shape.heads, inner, 0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, shape.layers, enable_nested_tensor=False)
        self.out = nn.Linear(shape.width, alphabet)

    def forward(self, codes: Tensor) -> Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(codes.shape[1], device=codes.device)
        hidden = self.blocks(self.embed(codes) + self.place, mask=causal, is_causal=True)
        logits: Tensor = self.out(hidden)
        return logits
