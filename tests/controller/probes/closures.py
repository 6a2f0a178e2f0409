"""A loop whose closures tests make."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.optim import SGD

from controller.training import OFTEN, batches, classifier
from galatune import attach

STEPS = 24


class Loop:
    """A net, its optimizer, and what a closure of each step is made from."""

    def __init__(self, kind: Any = SGD, **options: Any) -> None:
        self.net = classifier()
        self.optimizer = kind(self.net.parameters(), lr=0.1)
        self.controller = attach(self.optimizer, **{**OFTEN, **options})
        self.data = batches(STEPS)

    def loss(self, number: int, part: slice = slice(None)) -> torch.Tensor:
        x, y = self.data[number]
        return functional.cross_entropy(self.net(x[part]), y[part])

    def evaluate(self, number: int, zero: bool = True) -> torch.Tensor:
        if zero:
            self.optimizer.zero_grad()
        loss = self.loss(number)
        loss.backward()
        return loss

    def reasons(self) -> list[str]:
        return [event.reason for event in self.controller.events if event.kind == "probe"]
