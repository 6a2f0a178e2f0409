"""A rate above what curvature allows is found and taken back between two probes.

An accident is a loss above twice the first one on a fixed batch.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, RMSprop

from galatune import Guard, attach

OPTIMIZERS = {"sgd": SGD, "momentum": partial(SGD, momentum=0.9), "adamw": AdamW, "rmsprop": RMSprop}
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "linear": None}
LOSSES = {"regression": nn.MSELoss(), "classification": nn.CrossEntropyLoss()}


class Training:
    """A small net on 256 rows, trained under control; `losses` are those of all rows after each step."""

    def __init__(
        self, kind: Any, activation: Any, loss: str, batch: int | None, seed: int, **options: Any
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(256, 8, generator=generator)
        total = self.inputs.sum(1, keepdim=True)
        noisy = total + 0.5 * torch.randn(256, 1, generator=generator)
        self.targets = total if loss == "regression" else (noisy > 0).long().squeeze(1)
        self.loss, self.batch = LOSSES[loss], batch
        torch.manual_seed(seed)
        outputs = 1 if loss == "regression" else 2
        wide = [] if activation is None else [nn.Linear(8, 16), activation()]
        self.net = nn.Sequential(*wide, nn.Linear(16 if wide else 8, outputs))
        self.optimizer = kind(self.net.parameters(), lr=1.0)
        self.controller = attach(self.optimizer, **options)
        self._rows = torch.Generator().manual_seed(100 + seed)
        self.losses: list[float] = []

    def run(self, steps: int) -> Training:
        for _ in range(steps):
            rows = (
                slice(None)
                if self.batch is None
                else torch.randint(0, 256, (self.batch,), generator=self._rows)
            )
            self.optimizer.zero_grad()
            self.loss(self.net(self.inputs[rows]), self.targets[rows]).backward()
            self.optimizer.step()
            with torch.no_grad():
                self.losses.append(self.loss(self.net(self.inputs), self.targets).item())
        return self

    @property
    def rise(self) -> float:
        return max(self.losses) / self.losses[0]

    @property
    def accidents(self) -> list[Any]:
        return [event for event in self.controller.events if event.kind == "accident"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("batch", [None, 32], ids=["all", "32"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_no_loss_rises_to_twice_the_first(kind, batch, seed):
    rises = {
        (activation, loss): Training(OPTIMIZERS[kind], ACTIVATIONS[activation], loss, batch, seed)
        .run(300)
        .rise
        for activation in ACTIVATIONS
        for loss in LOSSES
    }
    assert {key: rise for key, rise in rises.items() if rise > 2} == {}


@pytest.mark.parametrize("seed", range(5))
def test_all_rows_at_once_do_not_explode(seed):
    training = Training(SGD, nn.Tanh, "regression", None, seed).run(300)
    assert training.rise <= 2
    assert training.losses[-1] < 0.1 * training.losses[0]


def test_accident_is_said_and_taken_back():
    training = Training(partial(SGD, momentum=0.9), None, "regression", None, 1).run(60)
    first = training.accidents[0]
    assert first.values["rate"] > 0
    assert first.values["loss"] > 0.3 * first.values["first_loss"]
    assert training.controller.probes > 0


def test_training_goes_on_bit_for_bit_right_after_an_accident():
    whole = Training(partial(SGD, momentum=0.9), None, "regression", None, 1).run(60)
    at = whole.accidents[0].step
    for steps in (at - 2, at - 1, at):
        part = Training(partial(SGD, momentum=0.9), None, "regression", None, 1).run(steps)
        resumed = Training(partial(SGD, momentum=0.9), None, "regression", None, 1)
        resumed.net.load_state_dict(part.net.state_dict())
        resumed.optimizer.load_state_dict(copy.deepcopy(part.optimizer.state_dict()))
        assert resumed.run(60 - steps).losses == whole.losses[steps:]


def test_pinned_rate_stays_whatever_the_loss_does():
    trainings = [
        Training(SGD, nn.Tanh, "regression", None, 1, min_lr=0.4, max_lr=0.4).run(200),
        Training(SGD, nn.Tanh, "regression", None, 1, min_lr=0.4, max_lr=0.4, guard=Guard(shrink=1.0)).run(
            200
        ),
    ]
    assert trainings[0].losses == trainings[1].losses


def test_frozen_rate_stays():
    training = Training(SGD, nn.Tanh, "regression", None, 1).run(99)
    training.controller.freeze()
    rate = training.controller.learning_rate
    assert training.run(60).controller.learning_rate == rate
