"""What a step costs: files that are entered, calls, and tensors that are kept."""

from __future__ import annotations

import gc
import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.optim import SGD, AdamW

import galatune
from galatune import attach
from galatune.controller import ProbeSchedule
from galatune.controller.probes.schedule import RateStart

from .training import batches, classifier, train

MOMENTUM = partial(SGD, momentum=0.9)


@pytest.fixture(autouse=True)
def _alone() -> None:
    """Optimizers of tests before are gone."""
    gc.collect()


@pytest.mark.parametrize("groups", [1, 3])
def test_schedule_that_makes_a_new_tensor_each_step_keeps_one_per_group(groups):
    nets = [classifier() for _ in range(groups)]
    optimizer = SGD([{"params": net.parameters()} for net in nets], lr=torch.tensor(0.1), momentum=0.9)
    _ = attach(optimizer, probe="consecutive", probe_schedule=ProbeSchedule(every=1, first=0, thinning=0.0))
    found = []
    for step, (inputs, labels) in zip(count(1), batches(121), strict=False):
        optimizer.zero_grad()
        sum(functional.cross_entropy(net(inputs), labels) for net in nets).backward()
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(0.1 / step)
        optimizer.step()
        if step in (40, 80, 120):
            gc.collect()
            found.append(sum(type(one) is torch.Tensor for one in gc.get_objects()))
    assert found[0] == found[1] == found[2]


class Entered:
    """Files of galatune that are entered, and calls of their functions."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.calls = 0
        self._root = str(Path(galatune.__file__).parent)

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(self._root):
            self.files.add(frame.f_code.co_filename)
            self.calls += 1

    def __enter__(self) -> Entered:
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


@pytest.mark.parametrize("closure", [False, True], ids=["graph", "closure"])
@pytest.mark.parametrize("kind", [AdamW, MOMENTUM], ids=["adamw", "momentum"])
def test_step_enters_few_files(kind, closure):
    net, schedule = classifier(), ProbeSchedule()
    optimizer = kind(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    steps, quiet, probed = 300, [], []
    for step, batch in enumerate(batches(steps)):
        events, probes = len(controller.events), controller.probes
        with Entered() as entered:
            train(net, optimizer, [batch], closure=closure)
        if controller.probes > probes and len(controller.events) == events and step > 40:
            probed.append(entered)
        # Neither probed nor remembered, nor told that the next one is.
        if not any(schedule.due(step + ahead, [RateStart()]) for ahead in range(3)):
            quiet.append(entered)
    assert len(quiet) > 0.6 * steps
    assert max(len(one.files) for one in quiet) <= 9
    assert max(one.calls for one in quiet) <= 52  # 40, and 12 to look at the loss
    assert len(probed) > 10
    # The closure probe also undoes what one more evaluation of the closure changes.
    assert max(len(one.files) for one in probed) <= (28 if closure else 26)
