"""An objective as a user could have written it: nothing here knows of galatune.

A small convolutional net with BatchNorm on scikit-learn's handwritten digits (1,797 images of 8 x 8
pixels, part of the scikit-learn package), the validation loss after a fixed number of epochs.
"""

from __future__ import annotations

import optuna
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["load", "make_net", "objective", "train"]

EPOCHS = 12


def load() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images, their digits, validation images, their digits; pixels from 0 to 1."""
    images, digits = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, digits, test_size=0.3, random_state=0, stratify=digits)
    x_train, x_valid, y_train, y_valid = parts
    return (
        torch.tensor(x_train, dtype=torch.float32).view(-1, 1, 8, 8),
        torch.tensor(y_train),
        torch.tensor(x_valid, dtype=torch.float32).view(-1, 1, 8, 8),
        torch.tensor(y_valid),
    )


def make_net(width: int, dropout: float) -> nn.Module:
    """Two convolutions with BatchNorm, a pooling layer between them, one linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(2 * width * 16, 10),
    )


def train(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    x: Tensor,
    y: Tensor,
    batch_size: int,
    epochs: int,
) -> None:
    """An ordinary loop: shuffled minibatches, the scheduler stepped after each."""
    net.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(batch_size):
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            scheduler.step()


def objective(trial: optuna.Trial) -> float:
    """Validation loss of one configuration, in nats."""
    width = trial.suggest_categorical("width", [4, 8, 16])
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    batch_size = trial.suggest_categorical("batch_size", [32, 64, 128])
    weight_decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    name = trial.suggest_categorical("optimizer", ["SGD", "AdamW"])
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)

    torch.set_num_threads(1)  # the net is tiny
    x_train, y_train, x_valid, y_valid = load()
    net = make_net(width, dropout)
    if name == "SGD":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            net.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay
        )
    else:
        optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=weight_decay)
    steps = EPOCHS * -(-len(x_train) // batch_size)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    train(net, optimizer, scheduler, x_train, y_train, batch_size, EPOCHS)

    net.eval()
    with torch.no_grad():
        return float(functional.cross_entropy(net(x_valid), y_valid))
