"""Characters of the Python standard library's sources, predicted by a small LSTM and transformer."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from galatune.bench.controller.tasks.task import Batch, Task, Training

__all__ = ["TEXT", "characters"]

SOURCES = ("abc.py", "argparse.py", "ast.py", "bisect.py", "calendar.py", "cmd.py", "copy.py", "csv.py")
LENGTH, BATCH, VALIDATION_WINDOWS = 48, 16, 64


@cache
def characters() -> tuple[Tensor, Tensor, int]:
    """Training and validation characters as indices, and the size of the alphabet."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    text = "".join((folder / name).read_text(encoding="utf-8") for name in SOURCES)
    alphabet = {character: i for i, character in enumerate(sorted(set(text)))}
    codes = torch.tensor([alphabet[character] for character in text])
    held = len(codes) // 10
    return codes[:-held], codes[-held:], len(alphabet)


class _CharLSTM(nn.Module):
    def __init__(self, alphabet: int, width: int = 96) -> None:
        super().__init__()
        self.embed = nn.Embedding(alphabet, 32)
        # Cells rather than nn.LSTM: its fused kernel has no second derivative.
        self.cell, self.width = nn.LSTMCell(32, width), width
        self.out = nn.Linear(width, alphabet)

    def forward(self, codes: Tensor) -> Tensor:
        inputs = self.embed(codes)
        state = inputs.new_zeros(len(codes), self.width), inputs.new_zeros(len(codes), self.width)
        outputs = []
        for moment in inputs.unbind(1):
            state = self.cell(moment, state)
            outputs.append(state[0])
        logits: Tensor = self.out(torch.stack(outputs, 1))
        return logits


class _CharTransformer(nn.Module):
    def __init__(self, alphabet: int, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(alphabet, width)
        self.place = nn.Parameter(torch.randn(LENGTH, width) * 0.02)
        block = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, alphabet)

    def forward(self, codes: Tensor) -> Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(codes.shape[1], dtype=self.place.dtype)
        hidden = self.blocks(self.embed(codes) + self.place, mask=causal, is_causal=True)
        logits: Tensor = self.out(hidden)
        return logits


def _start(dtype: torch.dtype, kind: type[_CharLSTM] | type[_CharTransformer]) -> Training:
    train, held, alphabet = characters()
    net = kind(alphabet).to(dtype)

    def batches() -> Iterator[Batch]:
        while True:
            yield _windows(train, torch.randint(len(train) - LENGTH - 1, (BATCH,)))

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        return functional.cross_entropy(net(batch[0]).flatten(0, 1), batch[1].flatten())

    def validate(net: nn.Module) -> float:
        net.eval()
        starts = torch.linspace(0, len(held) - LENGTH - 2, VALIDATION_WINDOWS).long()
        with torch.no_grad():
            return float(loss(net, _windows(held, starts)))

    return Training(net.train(), batches(), loss, validate)


def _windows(codes: Tensor, starts: Tensor) -> Batch:
    places = starts[:, None] + torch.arange(LENGTH + 1)
    return codes[places[:, :-1]], codes[places[:, 1:]]


TEXT = (
    Task("char-lstm", 400, lambda dtype: _start(dtype, _CharLSTM)),
    Task("char-transformer", 400, lambda dtype: _start(dtype, _CharTransformer)),
)
