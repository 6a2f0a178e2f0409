"""Optimizers may be collected at any moment, also while galatune holds its own lock."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
import torch

import galatune
from galatune.controller.torch_hooks import backward
from galatune.controller.torch_hooks.backward import leaves


class CollectsWhenHeld:
    """The module's own lock, with a garbage collection as soon as it is held."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock

    def __enter__(self) -> None:
        self.lock.acquire()
        gc.collect()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def controlled_net() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    net = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    galatune.attach(optimizer)
    return net, optimizer


def test_an_optimizer_collected_under_the_lock_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gc.collect()  # optimizers of other tests that only a collection finds
    original, finished = torch.autograd.backward, threading.Event()
    gc.disable()
    try:
        cycle: list[Any] = [controlled_net()]
        cycle.append(cycle)
        del cycle  # garbage that only a collection finds
        monkeypatch.setattr(backward, "_lock", CollectsWhenHeld(backward._lock))

        def attach_another() -> None:
            controlled_net()
            finished.set()

        threading.Thread(target=attach_another, daemon=True).start()
        assert finished.wait(30)
    finally:
        gc.enable()
    gc.collect()
    assert torch.autograd.backward is original


def test_leaves_are_those_a_backward_call_reaches():
    a, b, c = (torch.ones(2, requires_grad=True) for _ in range(3))
    loss = (a * b.detach() + torch.ones(2)).sum() * a.sum()
    assert {id(leaf) for leaf in leaves((loss, c))} == {id(a), id(c)}
    assert leaves((torch.ones(1),)) == []
