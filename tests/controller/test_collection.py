"""Optimizers may be collected at any moment, also while galatune holds its own locks."""

from __future__ import annotations

import gc
import threading

import pytest
import torch

import galatune


@pytest.mark.filterwarnings("error")
def test_optimizers_in_cycles_may_die_at_any_allocation() -> None:
    original, before = torch.autograd.backward, gc.get_threshold()
    finished = threading.Event()

    def work() -> None:
        for _ in range(20):
            net = torch.nn.Linear(3, 1)
            optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
            galatune.attach(optimizer)
            net.cycle = [optimizer]  # type: ignore[assignment]
            net.cycle.append(net.cycle)  # type: ignore[operator]
            for _ in range(3):
                optimizer.zero_grad()
                net(torch.ones(2, 3)).square().mean().backward()
                optimizer.step()
        finished.set()

    gc.set_threshold(1)
    try:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert finished.wait(60), "a collection while a lock was held waits for ever"
        thread.join()
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert torch.autograd.backward is original
