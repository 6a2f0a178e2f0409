"""A real table, read through a DataLoader: a perceptron, AdamW and a cosine."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from optuna.trial import BaseTrial
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from galatune.bench.data import tables_folder
from galatune.bench.studies.objectives.rows import Losses, Part, Rows, half, losses, report_epoch, stream
from galatune.bench.studies.objectives.setting import Setting
from galatune.errors import GalatuneError

__all__ = ["Shoppers"]

FOLDER = tables_folder()
CATEGORIES = ("Month", "OperatingSystems", "Browser", "Region", "TrafficType", "VisitorType", "Weekend")
TRAIN, VALIDATION, TEST = 1024, 1500, 3000
EPOCHS = 6
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


@cache
def _table(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    """Inputs with the numbers first, targets, how many are numbers; no row stands twice."""
    import pandas as pd

    if not path.is_file():
        raise GalatuneError(
            f"the objective shoppers needs the table online_shoppers, however: no file '{path}'; "
            "set GALATUNE_DATA to the folder that holds tabular/online_shoppers.parquet"
        )
    frame = pd.read_parquet(path).drop_duplicates(ignore_index=True)
    target = np.asarray(frame.pop("Revenue").astype(str) == "True", dtype=np.int64)
    numbers = frame.drop(columns=list(CATEGORIES)).astype(float)
    # What is counted or timed is heavily skewed.
    skewed = np.log1p(numbers.clip(lower=0.0).to_numpy())
    categories = pd.get_dummies(frame[list(CATEGORIES)].astype(str)).to_numpy(dtype=float)
    return np.hstack([skewed, categories]).astype(np.float32), target, int(skewed.shape[1])


def _net(columns: int, width: int, depth: int, dropout: float, activation: type[nn.Module]) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(columns, width), activation(), nn.Dropout(dropout)]
        columns = width
    return nn.Sequential(*layers, nn.Linear(columns, 2))


class Shoppers:
    """Who buys in an online shop (UCI, 12,330 visits): cross entropy in nats."""

    name = "shoppers"
    title = "Online shoppers (real table), MLP"
    optimizers = "AdamW"
    schedule = "cosine"
    prunes = False
    moved: tuple[str, ...] = ("width x 8", "batch x 8")
    rate = "lr"

    def rows(self, seed: int, fresh: bool, setting: Setting) -> Rows:
        """Rows from the old study's half of the table, or from the other; scaled by the training rows.

        Raises:
            GalatuneError: The table is not there.
        """
        x, y, numbers = _table(FOLDER / "online_shoppers.parquet")
        chosen = stream(self.name, seed, fresh).permutation(half(len(x), fresh))
        test, validation, train = np.split(chosen, [TEST, TEST + VALIDATION])
        train = train[: setting.training_rows(TRAIN)]
        mean, spread = x[train].mean(axis=0), x[train].std(axis=0)
        mean[numbers:], spread[numbers:] = 0.0, 1.0

        def part(which: NDArray[np.int64]) -> Part:
            return Part(torch.tensor((x[which] - mean) / np.maximum(spread, 1e-6)), torch.tensor(y[which]))

        return Rows(part(train), part(validation), part(test))

    def train(self, trial: BaseTrial, rows: Rows, setting: Setting) -> Losses:
        """Train one configuration; cross entropies in nats.

        Raises:
            TrialPruned: The trial's pruner said so after an epoch.
        """
        width = setting.hidden(trial.suggest_int("width", 8, 32, log=True))
        depth = trial.suggest_int("depth", 1, 3)
        dropout = trial.suggest_float("dropout", 0.0, 0.5)
        batch_size = setting.batch_size(trial.suggest_categorical("batch_size", [32, 64, 96]))
        weight_decay = trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True)
        activation = ACTIVATIONS[trial.suggest_categorical("activation", list(ACTIVATIONS))]
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)

        net = _net(rows.train.x.shape[1], width, depth, dropout, activation)
        loader = DataLoader(TensorDataset(rows.train.x, rows.train.y), batch_size=batch_size, shuffle=True)
        epochs = setting.passes(EPOCHS)
        optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=weight_decay)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
        for epoch in range(epochs):
            for x, y in loader:
                optimizer.zero_grad()
                loss = functional.cross_entropy(net(x), y)
                loss.backward()
                optimizer.step()
                scheduler.step()
            report_epoch(trial, net, rows, functional.cross_entropy, epoch)
        return losses(net, rows, functional.cross_entropy)
