"""Generated classes with noisy labels: SGD with momentum, the rate cut in steps, trials pruned."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from optuna.trial import BaseTrial
from torch import nn
from torch.nn import functional

from galatune.bench.studies.objectives.rows import Losses, Part, Rows, generated, losses, report_epoch
from galatune.bench.studies.objectives.setting import Setting

__all__ = ["Mixture"]

CLASSES, CLUSTERS = 4, 5
INFORMATIVE, REDUNDANT, USELESS = 8, 8, 8
FLIPPED = 0.05
"""Share of the labels that are drawn anew."""
TRAIN, VALIDATION, TEST = 1280, 1000, 4000
EPOCHS = 10


@cache
def _population() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of the clusters (classes, clusters, informative), and the mix of the redundant columns."""
    generator = np.random.default_rng(1301)
    centres = generator.normal(size=(CLASSES, CLUSTERS, INFORMATIVE)) * 1.2
    return centres, generator.normal(size=(INFORMATIVE, REDUNDANT)) / np.sqrt(INFORMATIVE)


def _draw(generator: np.random.Generator, rows: int) -> Part:
    centres, mix = _population()
    labels = generator.integers(CLASSES, size=rows)
    informative = centres[labels, generator.integers(CLUSTERS, size=rows)]
    informative = informative + generator.normal(size=informative.shape)
    redundant = informative @ mix + 0.1 * generator.normal(size=(rows, REDUNDANT))
    skewed = np.expm1(generator.normal(size=(rows, USELESS)))
    flipped = generator.random(rows) < FLIPPED
    labels = np.where(flipped, generator.integers(CLASSES, size=rows), labels)
    x = np.hstack([np.expm1(informative[:, :2] / 2), informative[:, 2:], redundant, skewed])
    return Part(torch.tensor(x, dtype=torch.float32), torch.tensor(labels))


class Mixture:
    """Four classes of five clusters each, 24 columns, of which 8 inform, some of them skewed.

    The loss is cross entropy in nats. 5 % of the labels are drawn anew.
    """

    name = "mixture"
    title = "Generated classes, MLP"
    optimizers = "SGD with momentum"
    schedule = "steps"
    prunes = True
    moved: tuple[str, ...] = ("batch / 4", "epochs / 4")
    rate = "lr"

    def rows(self, seed: int, fresh: bool, setting: Setting) -> Rows:
        """Rows of the old study, or fresh ones of the same classes."""
        sizes = (setting.training_rows(TRAIN), VALIDATION, TEST)
        return generated(self.name, seed, fresh, sizes, lambda generator, rows, _: _draw(generator, rows))

    def train(self, trial: BaseTrial, rows: Rows, setting: Setting) -> Losses:
        """Train one configuration; cross entropies in nats.

        Raises:
            TrialPruned: The trial's pruner said so after an epoch.
        """
        width = setting.hidden(trial.suggest_categorical("width", [16, 32, 64]))
        batch_size = setting.batch_size(trial.suggest_categorical("batch_size", [32, 64, 128]))
        momentum = trial.suggest_float("momentum", 0.5, 0.99)
        nesterov = trial.suggest_categorical("nesterov", [False, True])
        weight_decay = trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True)
        label_smoothing = trial.suggest_float("label_smoothing", 0.0, 0.3)
        lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)

        x, y = rows.train.x, rows.train.y
        net = nn.Sequential(
            *(nn.Linear(x.shape[1], width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, CLASSES),
        )
        epochs = setting.passes(EPOCHS)
        optimizer = torch.optim.SGD(
            net.parameters(), lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        )
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=max(1, epochs // 2), gamma=0.2)
        for epoch in range(epochs):
            for batch in torch.randperm(len(x)).split(batch_size):
                optimizer.zero_grad()
                loss = functional.cross_entropy(net(x[batch]), y[batch], label_smoothing=label_smoothing)
                loss.backward()
                optimizer.step()
            scheduler.step()
            report_epoch(trial, net, rows, functional.cross_entropy, epoch)
        return losses(net, rows, functional.cross_entropy)
