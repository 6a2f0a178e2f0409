"""Steps that are not probed read nothing back from the device: on a GPU they would wait for it.

Counted without one: every way from a tensor's values to Python that torch can see, beside the same training
without control, whose optimizer may read as well (a step count on the CPU).
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, RAdam, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils._python_dispatch import TorchDispatchMode

from galatune import attach
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.controller.rule.guard import Guard
from galatune.controller.torch_hooks import loss

from .training import batches, classifier

READING = {torch.ops.aten._local_scalar_dense, torch.ops.aten.equal, torch.ops.aten.nonzero}
STEPS = 40


@pytest.fixture(autouse=True)
def _losses_on_a_device(monkeypatch):
    """Losses are copied to the host while the next step runs, as from a GPU."""

    class OnItsWay:
        def __init__(self, number):
            self._host = number.numpy()

        def value(self):
            return float(self._host)

    monkeypatch.setattr(loss, "is_on_host", lambda number: False)
    monkeypatch.setattr(loss, "HostCopy", OnItsWay)


class Reads(TorchDispatchMode):
    """Counts operations whose result is Python's, or has a shape that depends on values."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket in READING
        return function(*args, **(kwargs or {}))


def reads_by_step(monkeypatch, kind, *, control, closure=False, schedule=False, lr=0.1, options=(), **given):
    net = classifier()
    optimizer = kind(net.parameters(), lr=lr, **given)
    scheduler = CosineAnnealingLR(optimizer, STEPS) if schedule else None
    schedule_of_probes = {"probe_schedule": ProbeSchedule(first=12, every=10, thinning=0.0)}
    controller = attach(optimizer, **schedule_of_probes, **dict(options)) if control else None
    counts, mode = [], Reads()

    def tolist(tensor, plain=torch.Tensor.tolist):
        mode.count += 1
        return plain(tensor)

    for inputs, labels in batches(STEPS):

        def evaluate(inputs=inputs, labels=labels):
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(inputs), labels)
            loss.backward()
            return loss

        mode.count = 0
        with monkeypatch.context() as patch, mode:
            patch.setattr(torch.Tensor, "tolist", tolist)
            if closure:
                optimizer.step(evaluate)
            else:
                evaluate()
                optimizer.step()
        counts.append(mode.count)
        if scheduler is not None:
            scheduler.step()
    return counts, {record.step - 1 for record in controller.history} if controller else set()


@pytest.mark.parametrize("probe", ["closure", "graph", "consecutive"])
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (SGD, {"momentum": 0.9, "fused": True}),
        (Adam, {"fused": True, "weight_decay": 0.01}),
        (AdamW, {"foreach": True, "amsgrad": True}),
        (Adagrad, {"maximize": True}),
        (RMSprop, {"centered": True}),
        (NAdam, {}),
        (RAdam, {}),
    ],
)
def test_steps_that_are_not_probed_read_nothing(monkeypatch, kind, given, probe):
    closure = probe == "closure"
    guard = Guard(spike=10.0, confidence=1.0, smoothing=0.5)
    options = {"probe": probe, "guard": guard, "per_group": True}
    own, _ = reads_by_step(monkeypatch, kind, control=False, closure=closure, schedule=True, **given)
    seen, probed = reads_by_step(
        monkeypatch, kind, control=True, closure=closure, schedule=True, options=options, **given
    )
    assert probed == {*range(1, 13), 20, 30}
    extra = [step for step in range(STEPS) if seen[step] > own[step]]
    assert extra == sorted({0} | probed)  # the first one sets the first rate


def test_tensor_rate_is_read_only_if_the_schedule_moved_it(monkeypatch):
    def extra(schedule):
        own, seen = (
            reads_by_step(
                monkeypatch, SGD, control=control, lr=torch.tensor(0.1), schedule=schedule, fused=True
            )[0]
            for control in (False, True)
        )
        return [step for step in range(STEPS) if seen[step] > own[step]]

    assert extra(schedule=False) == [*range(13), 20, 30]
    assert extra(schedule=True) == list(range(STEPS))
