"""Handwritten digits, shifted and blurred by noise: a small CNN, Adam and a cosine, trials pruned."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from optuna.trial import BaseTrial
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from galatune.bench.studies.objectives.rows import Losses, Part, Rows, half, losses, report_epoch, stream
from galatune.bench.studies.objectives.setting import Setting

__all__ = ["Digits"]

TRAIN_IMAGES, VALIDATION_IMAGES = 512, 160
COPIES = {"train": 2, "validation": 3, "test": 6}
"""How often each image is shifted and blurred anew."""
NOISE = 0.15
"""Standard deviation of what is added to a pixel; pixels are from 0 to 1."""
EPOCHS = 7


@cache
def _images() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    images, digits = load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8) / 16.0, digits


def _draw(generator: np.random.Generator, chosen: NDArray[np.int64], copies: int) -> Part:
    images, digits = _images()
    chosen = np.tile(chosen, copies)
    padded = np.pad(images[chosen], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (8, 8), axis=(1, 2))
    down, right = generator.integers(3, size=(2, len(chosen)))
    x = windows[np.arange(len(chosen)), down, right] + NOISE * generator.normal(size=(len(chosen), 8, 8))
    return Part(torch.tensor(x[:, None], dtype=torch.float32), torch.tensor(digits[chosen]))


def _net(channels: int, growth: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels), nn.ReLU()),
        *(nn.Conv2d(channels, growth * channels, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Dropout(dropout), nn.Linear(growth * channels * 16, 10)),
    )


class Digits:
    """Scikit-learn's digits, 8 x 8 pixels; the parts share no image. The loss is cross entropy in nats."""

    name = "digits-cnn"
    title = "Noisy digits, CNN"
    optimizers = "Adam"
    schedule = "cosine"
    prunes = True
    moved: tuple[str, ...] = ("batch x 8", "quarter of the data")
    rate = "lr"

    def rows(self, seed: int, fresh: bool, setting: Setting) -> Rows:
        """Rows from the old study's half of the images, or from the other."""
        chosen = stream(self.name, seed, fresh).permutation(half(len(_images()[0]), fresh))
        cuts = [TRAIN_IMAGES, TRAIN_IMAGES + VALIDATION_IMAGES]
        train, validation, test = np.split(chosen, cuts)
        parts = {
            "train": train[: setting.training_rows(TRAIN_IMAGES)],
            "validation": validation,
            "test": test,
        }
        return Rows(
            **{
                part: _draw(stream(self.name, seed, fresh, part), images, COPIES[part])
                for part, images in parts.items()
            }
        )

    def train(self, trial: BaseTrial, rows: Rows, setting: Setting) -> Losses:
        """Train one configuration; cross entropies in nats.

        Raises:
            TrialPruned: The trial's pruner said so after an epoch.
        """
        channels = setting.hidden(trial.suggest_categorical("channels", [4, 8]))
        growth = trial.suggest_int("growth", 1, 3)
        dropout = trial.suggest_float("dropout", 0.0, 0.5)
        batch_size = setting.batch_size(trial.suggest_categorical("batch_size", [48, 64, 96]))
        weight_decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
        lr = trial.suggest_float("lr", 5e-4, 5e-2, log=True)

        net = _net(channels, growth, dropout)
        epochs = setting.passes(EPOCHS)
        optimizer = torch.optim.Adam(net.parameters(), lr=lr, weight_decay=weight_decay)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
        x, y = rows.train.x, rows.train.y
        for epoch in range(epochs):
            for batch in torch.randperm(len(x)).split(batch_size):
                optimizer.zero_grad()
                loss = functional.cross_entropy(net(x[batch]), y[batch])
                loss.backward()
                optimizer.step()
            scheduler.step()
            report_epoch(trial, net, rows, functional.cross_entropy, epoch)
        return losses(net, rows, functional.cross_entropy)
