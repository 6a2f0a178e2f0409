"""A denoising autoencoder of generated measurements: RMSprop or SGD, the rate lowered linearly."""

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

__all__ = ["Autoencoder"]

FACTORS, COLUMNS = 4, 24
MASKED = 0.2
"""Share of the values that are missing (0) in validation and test rows."""
TRAIN, VALIDATION, TEST = 1280, 1000, 4000
EPOCHS = 10


@cache
def _population() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.default_rng(1304)
    inner = generator.normal(size=(FACTORS, 2 * COLUMNS)) * 1.2
    return inner, generator.normal(size=(2 * COLUMNS, COLUMNS)) / np.sqrt(COLUMNS)


def _draw(generator: np.random.Generator, rows: int, masked: float) -> Part:
    inner, outer = _population()
    clean = np.tanh(generator.normal(size=(rows, FACTORS)) @ inner) @ outer
    measured = clean + 0.1 * generator.normal(size=clean.shape)
    measured = np.where(generator.random(clean.shape) < masked, 0.0, measured)
    return Part(torch.tensor(measured, dtype=torch.float32), torch.tensor(clean, dtype=torch.float32))


def _net(width: int, bottleneck: int, activation: type[nn.Module]) -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(COLUMNS, width), activation(), nn.Linear(width, bottleneck)),
        *(nn.Linear(bottleneck, width), activation(), nn.Linear(width, COLUMNS)),
    )


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.mse_loss(outputs, targets)


class Autoencoder:
    """24 noisy measurements of 4 hidden factors, a fifth of them missing; the loss is per value.

    The loss is the mean squared error against the clean value.
    """

    name = "autoencoder"
    title = "Denoising autoencoder"
    optimizers = "RMSprop or SGD"
    schedule = "linear"
    prunes = False
    moved: tuple[str, ...] = ("width x 8", "epochs x 4")
    rate = "lr"

    def rows(self, seed: int, fresh: bool, setting: Setting) -> Rows:
        """Rows of the old study, or fresh ones of the same factors; training rows miss nothing."""
        sizes = (setting.training_rows(TRAIN), VALIDATION, TEST)
        return generated(
            self.name,
            seed,
            fresh,
            sizes,
            lambda generator, rows, part: _draw(generator, rows, 0.0 if part == "train" else MASKED),
        )

    def train(self, trial: BaseTrial, rows: Rows, setting: Setting) -> Losses:
        """Train one configuration; mean squared errors per value.

        Raises:
            TrialPruned: The trial's pruner said so after an epoch.
        """
        width = setting.hidden(trial.suggest_int("width", 8, 32, log=True))
        bottleneck = trial.suggest_int("bottleneck", 2, 12)
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[
            trial.suggest_categorical("activation", ["relu", "tanh"])
        ]
        masked = trial.suggest_float("masked", 0.0, 0.5)
        batch_size = setting.batch_size(trial.suggest_categorical("batch_size", [32, 64, 128]))
        momentum = trial.suggest_float("momentum", 0.0, 0.95)
        optimizer_name = trial.suggest_categorical("optimizer", ["RMSprop", "SGD"])
        lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)

        net = _net(width, bottleneck, activation)
        kind = torch.optim.RMSprop if optimizer_name == "RMSprop" else torch.optim.SGD
        optimizer = kind(net.parameters(), lr=lr, momentum=momentum)
        x = rows.train.x
        y = rows.train.y
        epochs = setting.passes(EPOCHS)
        steps = epochs * math.ceil(len(x) / batch_size)
        scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=steps)
        for epoch in range(epochs):
            for batch in torch.randperm(len(x)).split(batch_size):
                kept = torch.rand(len(batch), COLUMNS) >= masked
                optimizer.zero_grad()
                loss = _loss(net(x[batch] * kept), y[batch])
                loss.backward()
                optimizer.step()
                scheduler.step()
            report_epoch(trial, net, rows, _loss, epoch)
        return losses(net, rows, _loss)
