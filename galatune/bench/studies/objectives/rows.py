"""Rows of an objective, and losses over them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.trial import BaseTrial
from torch import Tensor, nn

__all__ = ["Losses", "Part", "Rows", "generated", "half", "losses", "mean_loss", "report_epoch", "stream"]


@dataclass(frozen=True)
class Part:
    """Inputs and targets, one row each."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Rows:
    """What one study trains on, what it selects by, and what its choice is judged on."""

    train: Part
    validation: Part
    test: Part


@dataclass(frozen=True)
class Losses:
    """Mean losses per row; not finite if the training diverged."""

    validation: float
    test: float


def stream(name: str, seed: int, fresh: bool, part: str = "") -> np.random.Generator:
    """Random numbers that no other objective, seed, side or part shares.

    Args:
        name: Of the objective.
        seed: Of the study, 0 or more.
        fresh: Whether the rows are the new search's.
        part: Of the rows.

    Example:
        >>> old, new = stream("friedman", 0, False), stream("friedman", 0, True)
        >>> bool(old.random() == new.random())
        False
    """
    key = zlib.crc32(f"{name}/{part}".encode())
    return np.random.default_rng([key, int(fresh), seed])


def half(rows: int, fresh: bool) -> NDArray[np.int64]:
    """The old study's half of so many real rows, or the new search's: the same for every seed."""
    order = np.random.default_rng(zlib.crc32(b"halves")).permutation(rows)
    return order[rows // 2 :] if fresh else order[: rows // 2]


def generated(
    name: str,
    seed: int,
    fresh: bool,
    sizes: tuple[int, int, int],
    draw: Callable[[np.random.Generator, int, str], Part],
) -> Rows:
    """Rows that are drawn, each part from a `stream` of its own.

    Args:
        name: Of the objective.
        seed: Of the study.
        fresh: Whether the rows are the new search's.
        sizes: Numbers of training, validation and test rows.
        draw: (random numbers, number of rows, name of the part) to those rows.
    """
    parts = zip(("train", "validation", "test"), sizes, strict=True)
    return Rows(*(draw(stream(name, seed, fresh, part), rows, part) for part, rows in parts))


def mean_loss(net: nn.Module, part: Part, loss: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Mean loss per row in eval mode; the net is in train mode afterwards."""
    net.eval()
    with torch.no_grad():
        value = float(loss(net(part.x), part.y))
    net.train()
    return value


def report_epoch(
    trial: BaseTrial, net: nn.Module, rows: Rows, loss: Callable[[Tensor, Tensor], Tensor], epoch: int
) -> None:
    """Report the validation loss after an epoch, and ask the study's pruner whether to go on.

    Raises:
        TrialPruned: It said no.
    """
    trial.report(mean_loss(net, rows.validation, loss), epoch)
    if trial.should_prune():
        raise optuna.TrialPruned


def losses(net: nn.Module, rows: Rows, loss: Callable[[Tensor, Tensor], Tensor]) -> Losses:
    """Mean losses of a trained net on the validation and the test rows."""
    return Losses(mean_loss(net, rows.validation, loss), mean_loss(net, rows.test, loss))
