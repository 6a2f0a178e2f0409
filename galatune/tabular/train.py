"""The training loop: minibatches, the controller, and the averaged weights of the best epoch.

There is no learning rate here either: the controller sets that of AdamW from a second gradient of the same
minibatch, on a few of the steps. There is no schedule, so the number of steps need not be known beforehand;
the moving average of the weights has the effect of a decaying rate.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galatune.controller import attach
from galatune.tabular.net import MLP

__all__ = ["RowLoss", "Rows", "Training", "TrainingOptions", "train"]

RowLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Outputs (n_rows, n_outputs) and targets to one loss per row, (n_rows,)."""

BUILT_WITH = 1e-3
"""Rate that AdamW is built with; the controller overrides it from the first step on."""

BETAS = (0.9, 0.95)
"""Decay per step of AdamW's two moments; a short second one suits the few steps of small tables."""

AVERAGE = 0.99
"""Decay per step of the moving average of the weights; it is smaller in the first steps."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        batch_size: Approximate number of rows in a minibatch: the batches of an epoch are of equal size.
        max_iter: Largest number of epochs.
        n_iter_no_change: Training stops after this many epochs without a better validation loss.
        weight_decay: AdamW's decoupled weight decay, per step and unit of rate.
        verbose: Whether to print a line per epoch.
    """

    batch_size: int
    max_iter: int
    n_iter_no_change: int
    weight_decay: float
    verbose: bool = False


@dataclass(frozen=True)
class Rows:
    """Encoded rows.

    Attributes:
        inputs: Shape (n_rows, n_inputs).
        targets: Class numbers (n_rows,), or standardized values (n_rows, n_outputs).
        weights: Shape (n_rows,), of mean 1.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Tensor) -> Rows:
        """Return the rows at index, shape (n_taken,)."""
        return Rows(self.inputs[index], self.targets[index], self.weights[index])

    def loss(self, outputs: Tensor, row_loss: RowLoss) -> Tensor:
        """Return the weighted loss of outputs (n_rows, n_outputs), averaged over the rows, a scalar."""
        return (row_loss(outputs, self.targets) * self.weights).mean()


@dataclass(frozen=True)
class Training:
    """The history of a training.

    Attributes:
        losses: Mean loss of the minibatches, one per epoch.
        validation_scores: Minus the validation loss, one per epoch; empty without validation rows.
        best_epoch: The epoch, from 1, whose weights were kept.
        learning_rates: Shape (n_steps, 2): the step, from 1, and the rate as applied.
    """

    losses: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    best_epoch: int = 0
    learning_rates: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))


def train(
    network: MLP,
    rows: Rows,
    validation: Rows | None,
    row_loss: RowLoss,
    options: TrainingOptions,
    generator: torch.Generator,
) -> Training:
    """Train the network in place; it ends with the weights of its best epoch.

    Args:
        network: Fresh network, on the device of the rows.
        rows: Training rows.
        validation: Rows that choose the epoch and when to stop; None runs every epoch and keeps the last.
        row_loss: The loss, one value per row.
        options: How to train.
        generator: Source of batches and dropout masks, on the same device.

    Returns:
        The history of the training.
    """
    loop, best = _Loop(network, row_loss, options, generator), _Best(options.n_iter_no_change)
    losses: list[float] = []
    scores: list[float] = []
    try:
        for epoch in range(1, options.max_iter + 1):
            losses.append(loop.run_epoch(rows))
            if validation is not None:
                scores.append(-_evaluate(loop.average.network, validation, row_loss))
                best.offer(epoch, scores[-1], loop.average.network)
            if options.verbose:
                print(_line(epoch, losses, scores, loop.rates))
            if validation is not None and best.stale(epoch):
                break
    finally:
        loop.controller.detach()
    network.load_state_dict(best.weights or loop.average.network.state_dict())
    steps = np.arange(1, len(loop.rates) + 1)
    return Training(losses, scores, best.epoch or len(losses), np.column_stack([steps, loop.rates]))


class _Loop:
    """Takes steps under the controller and keeps an averaged copy of the network."""

    def __init__(
        self, network: MLP, row_loss: RowLoss, options: TrainingOptions, generator: torch.Generator
    ) -> None:
        self.network, self.row_loss, self.generator = network, row_loss, generator
        self.batch_size = options.batch_size
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=BUILT_WITH, betas=BETAS, weight_decay=options.weight_decay
        )
        self.controller = attach(self.optimizer, probe="closure")
        self.average = _Average(network)
        self.rates: list[float] = []

    def run_epoch(self, rows: Rows) -> float:
        """Take one pass over the rows, in minibatches of equal size; return their mean loss."""
        order = torch.randperm(len(rows), generator=self.generator, device=self.generator.device)
        total = torch.zeros((), device=self.generator.device)
        for index in order.tensor_split(max(1, round(len(rows) / self.batch_size))):
            total += self._step(rows.take(index)) * len(index)
        return float(total) / len(rows)

    def _step(self, batch: Rows) -> Tensor:
        # Drawn outside the closure: a probe evaluates it twice, and both evaluations need the same masks.
        masks = self.network.draw_masks(len(batch), self.generator)

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = batch.loss(self.network(batch.inputs, masks), self.row_loss)
            loss.backward()
            return loss

        loss: Tensor = self.optimizer.step(closure)
        self.average.update()
        self.rates.append(float(self.controller.learning_rate))  # type: ignore[arg-type]
        return loss.detach()


@torch.no_grad()
def _evaluate(network: MLP, rows: Rows, row_loss: RowLoss) -> float:
    return float(rows.loss(network(rows.inputs), row_loss))


def _line(epoch: int, losses: list[float], scores: list[float], rates: list[float]) -> str:
    validation = f", validation loss {-scores[-1]:.5f}" if scores else ""
    return f"Epoch {epoch}: loss {losses[-1]:.5f}{validation}, learning rate {rates[-1]:.3g}"


class _Average:
    """A second network whose weights are the moving average of the first network's."""

    def __init__(self, network: MLP) -> None:
        self.source, self.network = network, deepcopy(network)
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Include the weights of one more step; the early average is short, to forget the initial weights."""
        self._steps += 1
        decay = min(AVERAGE, self._steps / (9 + self._steps))
        torch._foreach_lerp_(list(self.network.parameters()), list(self.source.parameters()), 1 - decay)


class _Best:
    """The best epoch so far and its weights; an epoch whose score is not a number is never the best."""

    def __init__(self, patience: int) -> None:
        self.epoch, self.weights = 0, dict[str, Tensor]()
        self._score, self._patience = -float("inf"), patience

    def offer(self, epoch: int, score: float, network: MLP) -> None:
        """Keep a copy of the weights if no earlier score is as high."""
        if score > self._score:
            self._score, self.epoch = score, epoch
            self.weights = {name: value.clone() for name, value in network.state_dict().items()}

    def stale(self, epoch: int) -> bool:
        """Whether there was no better epoch for too long."""
        return epoch - self.epoch >= self._patience
