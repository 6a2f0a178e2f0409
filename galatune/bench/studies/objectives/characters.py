"""The next character of sentences of a small random grammar: warmup and a cosine, gradients clipped."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from optuna.trial import BaseTrial
from torch import Tensor, nn
from torch.nn import functional

from galatune.bench.studies.objectives.rows import Losses, Part, Rows, generated, losses, report_epoch
from galatune.bench.studies.objectives.setting import Setting

__all__ = ["Characters"]

ALPHABET = " .abcdefghijklmnop"
WINDOW = 12
"""Characters of a row that stand before the one to predict."""
KINDS, WORDS = 5, 12
"""Kinds of words, and how many words each has."""
TYPOS = 0.02
TRAIN, VALIDATION, TEST = 2048, 2000, 6000
EPOCHS = 10


@cache
def _grammar() -> tuple[list[list[str]], NDArray[np.float64], NDArray[np.float64]]:
    """Words of each kind, how often each is said, and which kind follows which (the last: a full stop)."""
    generator = np.random.default_rng(1302)
    letters = list(ALPHABET[2:])
    words = [
        ["".join(generator.choice(letters, size=generator.integers(2, 7))) for _ in range(WORDS)]
        for _ in range(KINDS)
    ]
    frequencies = 1.0 / np.arange(1, WORDS + 1)
    follows = generator.dirichlet(np.full(KINDS + 1, 0.5), size=KINDS)
    return words, frequencies / frequencies.sum(), follows


def _text(generator: np.random.Generator, characters: int) -> NDArray[np.int64]:
    """So many characters, as places in the alphabet."""
    words, frequencies, follows = _grammar()
    said: list[str] = []
    length, kind = 0, 0
    while length < characters:
        word = words[kind][generator.choice(WORDS, p=frequencies)]
        following = int(generator.choice(KINDS + 1, p=follows[kind]))
        said.append(word + (". " if following == KINDS else " "))
        kind = 0 if following == KINDS else following
        length += len(said[-1])
    text = np.array([ALPHABET.index(one) for one in "".join(said)])[:characters]
    typos = generator.random(characters) < TYPOS
    return np.where(typos, generator.integers(len(ALPHABET), size=characters), text)


def _side(windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 for windows of the old study, 1 for the new search's: a hash, since a grammar repeats itself."""
    weights = np.random.default_rng(1303).integers(1, 2**31, size=windows.shape[1])
    return (windows @ weights) % 65_521 % 2


def _draw(generator: np.random.Generator, rows: int, fresh: bool) -> Part:
    text = _text(generator, 4 * rows + 8 * WINDOW + 400)
    windows = np.lib.stride_tricks.sliding_window_view(text, WINDOW + 1)
    own = generator.permutation(windows[_side(windows) == int(fresh)])[:rows]
    return Part(torch.tensor(own[:, :-1]), torch.tensor(own[:, -1]))


class _Net(nn.Module):
    """Embeddings of the last characters side by side, one hidden layer."""

    def __init__(self, context: int, embedding: int, width: int, dropout: float) -> None:
        super().__init__()
        self.context = context
        self.embedding = nn.Embedding(len(ALPHABET), embedding)
        self.hidden = nn.Linear(context * embedding, width)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, len(ALPHABET))

    def forward(self, x: Tensor) -> Tensor:
        inputs = self.embedding(x[:, -self.context :]).flatten(1)
        logits: Tensor = self.output(self.dropout(torch.relu(self.hidden(inputs))))
        return logits


class Characters:
    """A character model (Bengio et al., 2003) of a grammar with 60 words; cross entropy in nats."""

    name = "characters"
    title = "Characters of a grammar, embedding and MLP"
    optimizers = "AdamW or RMSprop"
    schedule = "warmup, cosine"
    prunes = False
    moved: tuple[str, ...] = ("batch / 4", "epochs / 4")
    rate = "lr"

    def rows(self, seed: int, fresh: bool, setting: Setting) -> Rows:
        """Windows of the old study, or fresh ones; no window is on both sides."""
        sizes = (setting.training_rows(TRAIN), VALIDATION, TEST)
        return generated(
            self.name, seed, fresh, sizes, lambda generator, rows, _: _draw(generator, rows, fresh)
        )

    def train(self, trial: BaseTrial, rows: Rows, setting: Setting) -> Losses:
        """Train one configuration; cross entropies in nats per character.

        Raises:
            TrialPruned: The trial's pruner said so after an epoch.
        """
        context = trial.suggest_int("context", 2, WINDOW)
        embedding = trial.suggest_categorical("embedding", [4, 8, 16])
        width = setting.hidden(trial.suggest_categorical("width", [32, 48, 64]))
        dropout = trial.suggest_float("dropout", 0.0, 0.5)
        batch_size = setting.batch_size(trial.suggest_categorical("batch_size", [64, 128, 256]))
        clip = trial.suggest_float("clip", 0.1, 10.0, log=True)
        optimizer_name = trial.suggest_categorical("optimizer", ["AdamW", "RMSprop"])
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)

        net = _Net(context, embedding, width, dropout)
        kind = torch.optim.AdamW if optimizer_name == "AdamW" else torch.optim.RMSprop
        optimizer = kind(net.parameters(), lr=lr)
        x, y = rows.train.x, rows.train.y
        epochs = setting.passes(EPOCHS)
        steps = epochs * math.ceil(len(x) / batch_size)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, steps))
        for epoch in range(epochs):
            for batch in torch.randperm(len(x)).split(batch_size):
                optimizer.zero_grad()
                loss = functional.cross_entropy(net(x[batch]), y[batch])
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), clip)
                optimizer.step()
                scheduler.step()
            report_epoch(trial, net, rows, functional.cross_entropy, epoch)
        return losses(net, rows, functional.cross_entropy)


def _factor(step: int, steps: int) -> float:
    """Linear warmup over the first tenth, then half a cosine."""
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
