"""Copies of parameters and optimizer state, for a guard that rolls back."""

from __future__ import annotations

import torch
from torch.optim import SGD, Adam

from galatune.controller.rollback import Snapshot


def test_copies_do_not_survive_a_checkpoint():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer, snapshot = SGD([weight], lr=1.0), Snapshot()
    snapshot.take(optimizer)
    snapshot.forget()
    snapshot.ask()
    with torch.no_grad():
        weight.zero_()
    assert not snapshot.settle(optimizer)
    assert weight.tolist() == [0.0, 0.0]


def test_state_that_is_new_since_the_copy_is_dropped():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer, snapshot = Adam([weight], lr=1.0), Snapshot()
    snapshot.take(optimizer)
    weight.grad = torch.ones(2)
    optimizer.step()
    snapshot.ask()
    assert snapshot.settle(optimizer)
    assert weight not in optimizer.state
    assert weight.tolist() == [1.0, 1.0]
