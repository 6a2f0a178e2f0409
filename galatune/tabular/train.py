"""The training loop: minibatches, the controller, and the averaged weights of the best epoch.

There is no learning rate here either: the controller sets that of AdamW from a second gradient of the same
minibatch, on a few of the steps. There is no schedule, so the number of steps need not be known beforehand;
the moving average of the weights has the effect of a decaying rate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galatune.controller import attach
from galatune.tabular.best import EVIDENCE, Best
from galatune.tabular.fixed_rate import FixedRate
from galatune.tabular.loss import Loss
from galatune.tabular.net import MLP, Inputs
from galatune.tabular.progress import Progress, epoch_line
from galatune.tabular.state import TrainingState, on_cpu

__all__ = ["Metric", "Rows", "Stopped", "Training", "TrainingOptions", "train"]

Metric: TypeAlias = Callable[[Tensor], float]
"""Outputs of the validation rows, (n_rows, n_outputs), to a score; greater is better."""

Stopped: TypeAlias = Literal["patience", "epochs", "time", "interrupt"]
"""What ends a training."""

BUILT_WITH = 1e-3
"""Rate that AdamW is built with; the controller overrides it from the first step on."""

BETAS = (0.9, 0.95)
"""Decay per step of AdamW's two moments; a short second one suits the few steps of small tables."""

AVERAGE = 0.99
"""Decay per step of the moving average of the weights; it is smaller in the first steps."""

STEP_SCALE = 2.0
"""Of the controller. With 1, its default without a schedule, the rate of this network falls without end."""

UNSETTLED = 4
"""So many times longer is the patience while the rate has not come to what gradients ask for."""

FEWEST_EPOCHS = 3
"""Training goes on for so many epochs without a better one, however many steps they have."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        batch_size: Approximate number of rows in a minibatch: the batches of an epoch are of equal size.
        max_iter: Largest number of epochs.
        patience: Training stops after this many steps, and at least 3 epochs, without a clearly better
            validation loss; four times as many until the rate first came to what gradients ask for. Steps
            count three times while the loss is clearly worse than the best.
        weight_decay: AdamW's decoupled weight decay, per step and unit of rate.
        verbose: Whether to show where the training is.
        deadline: When to stop, on the clock of `time.monotonic`.
        rate: A fixed learning rate, for comparisons; None lets the controller set it.
    """

    batch_size: int
    max_iter: int
    patience: int
    weight_decay: float
    verbose: bool = False
    deadline: float = math.inf
    rate: float | None = None


@dataclass(frozen=True)
class Rows:
    """Encoded rows.

    Attributes:
        inputs: Numbers and codes of the rows.
        targets: Class numbers (n_rows,), or standardized values (n_rows, n_outputs).
        weights: Shape (n_rows,), of mean 1.
    """

    inputs: Inputs
    targets: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Tensor) -> Rows:
        """Return the rows at index, shape (n_taken,)."""
        return Rows(self.inputs.take(index), self.targets[index], self.weights[index])

    def loss(self, outputs: Tensor, loss: Loss) -> Tensor:
        """Return the weighted loss of outputs (n_members, n_rows, n_outputs), a mean and a scalar."""
        return (loss.rows(outputs, self.targets) * self.weights).mean()


@dataclass(frozen=True)
class Training:
    """The history of a training.

    Attributes:
        state: What it needs to go on.
        losses: Mean loss of the minibatches, one per epoch.
        validation_scores: Minus the validation loss, or the metric, one per epoch; empty without validation
            rows.
        best_epoch: The epoch, from 1, whose weights were kept.
        steps: Shape (n_steps, 3): the epoch of each step, from 1, its loss, and its rate as applied.
        stopped: What ended it.
        learned: False if the validation rows do not tell the network from a constant prediction.
    """

    state: TrainingState
    losses: list[float]
    validation_scores: list[float]
    best_epoch: int
    steps: NDArray[np.float64]
    stopped: Stopped
    learned: bool

    @property
    def learning_rates(self) -> NDArray[np.float64]:
        """The step, from 1, and the rate as applied, shape (n_steps, 2)."""
        return np.column_stack([np.arange(1.0, len(self.steps) + 1), self.steps[:, 2]])

    @property
    def finished(self) -> bool:
        """Whether patience was spent, or every epoch was run without validation rows."""
        return self.stopped == ("patience" if self.validation_scores else "epochs")


def train(
    network: MLP,
    rows: Rows,
    validation: Rows | None,
    loss: Loss,
    options: TrainingOptions,
    generator: torch.Generator,
    *,
    state: TrainingState | None = None,
    metric: Metric | None = None,
) -> Training:
    """Train the network in place; it ends with the weights of its best epoch, and its best members.

    An interrupt (Ctrl-C) ends the training as its last epoch does, once there was a step.

    Args:
        network: Network on the device of the rows; its weights are initial ones, or anything with a state.
        rows: Training rows.
        validation: Rows that choose the epoch and when to stop; None runs every epoch and keeps the last.
        loss: What is minimized.
        options: How to train.
        generator: Source of batches and dropout masks, on the same device.
        state: Where an earlier training of the same network ended; this one goes on from there.
        metric: Chooses the epoch and when to stop in place of the loss.

    Returns:
        The history of the training.
    """
    constant = _constant_losses(rows, validation or rows, loss)
    loop = _Loop(network, loss, options, generator, state)
    too_little = EVIDENCE / len(constant) if loss.is_likelihood and metric is None else 0.0
    best = Best(_constant_level(rows, validation, loss, metric, constant), too_little)
    best.members = state.members if state is not None else best.members
    losses: list[float] = []
    scores: list[float] = []
    try:
        with Progress(options.verbose, options.max_iter, options.deadline) as progress:
            loop.on_step = progress.step
            for epoch in range(1, options.max_iter + 1):
                losses.append(loop.run_epoch(rows, epoch))
                if validation is not None:
                    offers = _evaluate(loop.average.network, validation, loss, metric)
                    scores.append(best.offer(epoch, loop.steps, offers, loop.average.network))
                    loop.stop_if_waited(best, epoch)
                score = scores[-1] if scores else None
                progress.epoch(epoch_line(epoch, losses[-1], loop.rates[-1], score, metric is None))
                if loop.stopped:
                    break
        after = _state(loop, best)
    finally:
        loop.controller.detach()
    network.load_state_dict(after.network.state_dict())
    network.keep(best.members)
    learned = validation is None or _learned(network, validation, loss, constant)
    return Training(
        after, losses, scores, best.epoch or len(losses), loop.history(), loop.stopped or "epochs", learned
    )


class _Loop:
    """Takes steps under the controller and keeps an averaged copy of the network."""

    def __init__(
        self,
        network: MLP,
        loss: Loss,
        options: TrainingOptions,
        generator: torch.Generator,
        state: TrainingState | None,
    ) -> None:
        self.network, self.loss, self.generator, self.options = network, loss, generator, options
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=BUILT_WITH, betas=BETAS, weight_decay=options.weight_decay, fused=True
        )
        self.controller = (
            attach(self.optimizer, probe="closure", step_scale=STEP_SCALE)
            if options.rate is None
            else FixedRate(self.optimizer, options.rate)
        )
        self.average = _Average(network)
        self.rates: list[float] = []
        self.epochs: list[int] = []
        self.losses: list[Tensor] = []
        self.steps_before = 0
        self.stopped: Stopped | None = None
        self.on_step: Callable[[float], None] = lambda epochs: None
        if state is not None:
            self._go_on(state)

    def _go_on(self, state: TrainingState) -> None:
        self.network.load_state_dict(state.weights)
        self.optimizer.load_state_dict(on_cpu(state.optimizer))
        self.average.network.load_state_dict(state.network.state_dict())
        self.average.steps, self.steps_before = state.averaged_steps, state.steps
        if state.device == self.generator.device.type:
            self.generator.set_state(state.generator)
        else:  # no device understands the generator of another
            self.generator.manual_seed(state.steps)

    @property
    def steps(self) -> int:
        """Steps taken."""
        return len(self.rates)

    @property
    def settled(self) -> bool:
        """Whether the rate came to what gradients ask for."""
        return all(state.settled for state in self.controller.rates_chosen)

    def run_epoch(self, rows: Rows, epoch: int) -> float:
        """Take one pass over the rows, in minibatches of equal size; return their mean loss.

        The pass ends early once time is up or on an interrupt, which sets `stopped`.
        """
        order = torch.randperm(len(rows), generator=self.generator, device=self.generator.device)
        total, done = torch.zeros((), device=self.generator.device), 0
        try:
            for index in order.tensor_split(max(1, round(len(rows) / self.options.batch_size))):
                total += self._step(rows.take(index)) * len(index)
                done += len(index)
                self.epochs.append(epoch)
                self.on_step(epoch - 1 + done / len(rows))
                if time.monotonic() >= self.options.deadline:
                    self.stopped = "time"
                    break
        except KeyboardInterrupt:
            if not self.epochs:
                raise
            self.stopped = "interrupt"
        return float(total) / max(1, done)

    def stop_if_waited(self, best: Best, epoch: int) -> None:
        """Stop if there was no clearly better epoch for as long as patience lasts."""
        patience = self.options.patience if self.settled else UNSETTLED * self.options.patience
        if not self.stopped and best.waited >= patience and epoch - best.progress_epoch >= FEWEST_EPOCHS:
            self.stopped = "patience"

    def history(self) -> NDArray[np.float64]:
        """Return epoch, loss and rate of each step, shape (n_steps, 3)."""
        done = len(self.epochs)
        losses = torch.stack(self.losses[:done]).cpu().numpy()
        return np.column_stack([self.epochs, losses, self.rates[:done]]).astype(np.float64)

    def _step(self, batch: Rows) -> Tensor:
        # Drawn outside the closure: a probe evaluates it twice, and both evaluations need the same masks.
        masks = self.network.draw_masks(len(batch), self.generator)

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = batch.loss(self.network(batch.inputs, masks), self.loss)
            loss.backward()
            return loss

        loss: Tensor = self.optimizer.step(closure)
        self.average.update()
        self.rates.append(float(self.controller.learning_rate))  # type: ignore[arg-type]
        self.losses.append(loss.detach())
        return self.losses[-1]


@torch.no_grad()
def _evaluate(network: MLP, rows: Rows, loss: Loss, metric: Metric | None) -> list[tuple[float, slice]]:
    """Return minus the loss of the members' mean, or its metric, for each choice of members."""
    outputs = network(rows.inputs)
    means = [(loss.mean(outputs[members]), members) for members in network.halves]
    if metric is not None:
        return [(metric(mean), members) for mean, members in means]
    return [(-float(rows.loss(mean[None], loss)), members) for mean, members in means]


def _constant_level(
    rows: Rows, validation: Rows | None, loss: Loss, metric: Metric | None, constant: Tensor
) -> float:
    """Return minus the score of a constant prediction."""
    if metric is None or validation is None:
        return float(constant.mean())
    return -metric(loss.constant(rows.targets, rows.weights).expand(len(validation), -1))


def _state(loop: _Loop, best: Best) -> TrainingState:
    """Return where the training ended: at its best epoch, if one was chosen, else at its last step."""
    chosen = bool(best.weights) or loop.stopped == "interrupt"
    average = deepcopy(loop.average.network)
    average.load_state_dict(best.weights or loop.average.network.state_dict())
    return TrainingState(
        average.cpu(),
        on_cpu(average.state_dict() if chosen else loop.network.state_dict()),
        best.members,
        on_cpu(loop.optimizer.state_dict()),
        loop.generator.get_state(),
        loop.generator.device.type,
        loop.average.steps,
        loop.steps_before + loop.steps,
    )


def _constant_losses(rows: Rows, validation: Rows, loss: Loss) -> Tensor:
    """Return the weighted losses of the best constant prediction of rows, (n_validation_rows,)."""
    outputs = loss.constant(rows.targets, rows.weights).expand(1, len(validation), -1)
    return loss.rows(outputs, validation.targets)[0] * validation.weights


@torch.no_grad()
def _learned(network: MLP, validation: Rows, loss: Loss, constant: Tensor) -> bool:
    """Whether the network's losses are clearly lower than a constant's: by two standard errors."""
    outputs = loss.mean(network(validation.inputs))[None]
    gain = constant - loss.rows(outputs, validation.targets)[0] * validation.weights
    nothing_to_learn = not bool(constant.any())
    return nothing_to_learn or bool(gain.mean() > 2 * gain.std(correction=0) / len(gain) ** 0.5)


class _Average:
    """A second network whose weights are the moving average of the first network's."""

    def __init__(self, network: MLP) -> None:
        self.source, self.network = network, deepcopy(network)
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Include the weights of one more step; the early average is short, to forget the initial weights."""
        self.steps += 1
        decay = min(AVERAGE, self.steps / (9 + self.steps))
        torch._foreach_lerp_(list(self.network.parameters()), list(self.source.parameters()), 1 - decay)
