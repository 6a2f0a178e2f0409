"""A regression of ten columns, five of which matter: a perceptron at a constant rate."""

from __future__ import annotations

import numpy as np
import torch
from optuna.trial import BaseTrial
from torch import Tensor, nn
from torch.nn import functional

from galatune.bench.studies.objectives.rows import Losses, Part, Rows, generated, losses, report_epoch
from galatune.bench.studies.objectives.setting import Setting

__all__ = ["Friedman"]

COLUMNS = 10
TRAIN, VALIDATION, TEST = 1024, 1000, 4000
EPOCHS = 11
MEAN, SPREAD = 14.4, 5.0
"""Of the targets, as in the population, so that losses of all draws are comparable."""


def _draw(generator: np.random.Generator, rows: int) -> Part:
    x = generator.random((rows, COLUMNS))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y += generator.normal(size=rows)
    scaled = (x - 0.5) * np.sqrt(12.0)
    return Part(
        torch.tensor(scaled, dtype=torch.float32), torch.tensor((y - MEAN) / SPREAD, dtype=torch.float32)
    )


def _net(width: int, depth: int, dropout: float) -> nn.Module:
    layers: list[nn.Module] = []
    columns = COLUMNS
    for _ in range(depth):
        layers += [nn.Linear(columns, width), nn.ReLU(), nn.Dropout(dropout)]
        columns = width
    return nn.Sequential(*layers, nn.Linear(columns, 1))


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.mse_loss(outputs.squeeze(-1), targets)


class Friedman:
    """Friedman's first function with noise of variance 1 (Friedman, 1991); targets are standardized.

    No net gets below the noise, a loss of 0.04.
    """

    name = "friedman"
    title = "Friedman's regression, MLP"
    optimizers = "AdamW or RMSprop"
    schedule = "none"
    prunes = False
    moved: tuple[str, ...] = ("epochs x 4", "quarter of the data")
    rate = "lr"

    def rows(self, seed: int, fresh: bool, setting: Setting) -> Rows:
        """Rows of the old study, or fresh ones."""
        sizes = (setting.training_rows(TRAIN), VALIDATION, TEST)
        return generated(self.name, seed, fresh, sizes, lambda generator, rows, _: _draw(generator, rows))

    def train(self, trial: BaseTrial, rows: Rows, setting: Setting) -> Losses:
        """Train one configuration; mean squared errors in variances of the target.

        Raises:
            TrialPruned: The trial's pruner said so after an epoch.
        """
        width = setting.hidden(trial.suggest_categorical("width", [16, 32, 64]))
        depth = trial.suggest_int("depth", 1, 3)
        dropout = trial.suggest_float("dropout", 0.0, 0.5)
        batch_size = setting.batch_size(trial.suggest_categorical("batch_size", [32, 64, 128]))
        weight_decay = trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True)
        optimizer_name = trial.suggest_categorical("optimizer", ["AdamW", "RMSprop"])
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)

        net = _net(width, depth, dropout)
        kind = torch.optim.AdamW if optimizer_name == "AdamW" else torch.optim.RMSprop
        optimizer = kind(net.parameters(), lr=lr, weight_decay=weight_decay)
        x, y = rows.train.x, rows.train.y
        for epoch in range(setting.passes(EPOCHS)):
            for batch in torch.randperm(len(x)).split(batch_size):
                optimizer.zero_grad()
                loss = _loss(net(x[batch]), y[batch])
                loss.backward()
                optimizer.step()
            report_epoch(trial, net, rows, _loss, epoch)
        return losses(net, rows, _loss)
