"""Optimizers whose weight decay is relative to a copy of the rate that they were built with."""

from __future__ import annotations

import pytest
import torch

from galatune import attach
from galatune.controller.optimizers import own_step
from galatune.errors import SelfTuningError


class Corrected(torch.optim.Optimizer):
    """AdamC's decay, Defazio 2025: rate**2 over the largest rate, the one that it is built with."""

    def __init__(self, parameters, lr, flag="corrected_weight_decay", weight_decay=0.1):
        super().__init__(
            parameters, {"lr": lr, "max_lr_snapshot": lr, "weight_decay": weight_decay, flag: True}
        )

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] ** 2 / group["max_lr_snapshot"] * group["weight_decay"])
                p.add_(p.grad, alpha=-group["lr"])


class AdamC(torch.optim.AdamW):
    """As in PyTorch-Optimizer: the copy is an attribute, and groups say whose decay it is."""

    def __init__(self, parameters, lr):
        super().__init__([{"params": list(parameters), "normalized": True}], lr=lr)
        self.max_lr = lr


def parameters():
    return [torch.nn.Parameter(torch.ones(3))]


@pytest.mark.parametrize("flag", ["corrected_weight_decay", "decouple_lr", "wd_schedule"])
def test_is_refused_if_it_decays(flag):
    with pytest.raises(SelfTuningError, match="relative to the rate that it was built with"):
        attach(Corrected(parameters(), 1e-6, flag))
    assert own_step(Corrected(parameters(), 1e-6, flag, weight_decay=0.0)) is None


def test_copy_as_an_attribute_is_found():
    assert "built with" in own_step(AdamC(parameters(), 1e-3))


def test_rates_that_a_scheduler_writes_are_no_copy():
    optimizer = torch.optim.AdamW(parameters(), lr=0.1)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    assert own_step(optimizer) is None
