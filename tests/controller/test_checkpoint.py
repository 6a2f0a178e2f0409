"""Save, load, continue: bit-equal wherever a run is cut."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import textwrap
import warnings
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import SGD, Adagrad, AdamW, RAdam
from torch.optim.lr_scheduler import CosineAnnealingLR

from galatune import attach
from galatune.controller import learners
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.errors import ControlError

from .training import OFTEN, batches, classifier, train, weights

REMEMBERING = ["closure", "graph", "consecutive"]
"""Probes that keep something between a step and its probe."""

MOMENTUM = partial(SGD, momentum=0.9)


def built(kind: Any) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    net = classifier(norm=True)
    optimizer = kind(net.parameters(), lr=0.1)
    return net, optimizer, CosineAnnealingLR(optimizer, 63)


def resumed_through_a_file(net, optimizer, scheduler, kind, **options):
    file = io.BytesIO()
    torch.save([thing.state_dict() for thing in (net, optimizer, scheduler)], file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    things = built(kind)
    controller = attach(things[1], **options)
    for thing, state in zip(things, saved, strict=True):
        thing.load_state_dict(state)
    return *things, controller


def loaded_before_attach(net, optimizer, scheduler, kind, **options):
    things = built(kind)
    for thing, old in zip(things, (net, optimizer, scheduler), strict=True):
        thing.load_state_dict(copy.deepcopy(old.state_dict()))
    return *things, attach(things[1], **options)


def copied(net, optimizer, scheduler, kind, **options):
    other, twin = copy.deepcopy((net, optimizer))
    return other, twin, rescheduled(twin, scheduler), attach(twin, **options)


def pickled(net, optimizer, scheduler, kind, **options):
    other, twin = pickle.loads(pickle.dumps((net, optimizer)))
    return other, twin, rescheduled(twin, scheduler), attach(twin, **options)


def rescheduled(optimizer, scheduler):
    rate = optimizer.param_groups[0]["lr"]
    again = CosineAnnealingLR(optimizer, 63)
    again.load_state_dict(scheduler.state_dict())
    optimizer.param_groups[0]["lr"] = rate  # a new scheduler takes its first step at once
    return again


def assert_continues(how, kind, cut, closure=False, **options):
    data = batches(63)
    net, optimizer, scheduler = built(kind)
    whole = attach(optimizer, **options)
    train(net, optimizer, data, closure=closure, scheduler=scheduler)

    first, one, begun = built(kind)
    _ = attach(one, **options)
    train(first, one, data[:cut], closure=closure, scheduler=begun)
    second, two, going, controller = how(first, one, begun, kind, **options)
    train(second, two, data[cut:], closure=closure, scheduler=going)
    assert torch.equal(weights(second), weights(net))
    assert controller.learning_rate == whole.learning_rate
    assert (controller.steps, controller.probes) == (whole.steps, whole.probes)
    tail = whole.history[len(whole.history) - len(controller.history) :]
    assert [(r.step, r.alignment, r.lipschitz) for r in controller.history] == [
        (r.step, r.alignment, r.lipschitz) for r in tail
    ]


@pytest.mark.parametrize("cut", [1, 20, 50])
@pytest.mark.parametrize("kind", [MOMENTUM, AdamW], ids=["momentum", "adamw"])
@pytest.mark.parametrize("probe", REMEMBERING)
def test_training_cut_before_a_probe_continues_bit_for_bit(probe, kind, cut):
    assert_continues(resumed_through_a_file, kind, cut, probe == "closure", probe=probe)


@pytest.mark.parametrize("how", [loaded_before_attach, copied, pickled])
@pytest.mark.parametrize("probe", REMEMBERING)
def test_every_way_to_continue_keeps_the_pending_step(probe, how):
    assert_continues(how, AdamW, 20, probe == "closure", probe=probe)


@pytest.mark.parametrize("cut", [4, 5, 6])
def test_cut_where_radam_becomes_adaptive_continues_bit_for_bit(cut):
    assert_continues(resumed_through_a_file, RAdam, cut)


def test_cut_of_adagrad_continues_bit_for_bit():
    assert_continues(resumed_through_a_file, Adagrad, 20)


LEARNERS = [
    learners.DiscountedFTRL(),
    learners.OptimisticFTRL(),
]


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
def test_learners_continue_bit_for_bit(learner):
    assert_continues(resumed_through_a_file, AdamW, 20, learner=learner)


class Once(torch.autograd.Function):
    """Cannot be differentiated twice."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient * (1 - ctx.saved_tensors[0].tanh().square())


class TwiceRefused(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = classifier()

    def forward(self, x):
        return Once.apply(self.net(x))


def test_probe_that_auto_fell_back_to_is_the_one_that_continues():
    data = batches(20)

    def fresh():
        torch.manual_seed(0)
        net = TwiceRefused()
        optimizer = SGD(net.parameters(), lr=0.1)
        return net, optimizer, attach(optimizer)

    net, optimizer, whole = fresh()
    train(net, optimizer, data)
    assert whole.probe == "consecutive"
    first, one, _ = fresh()
    train(first, one, data[:10])
    second, two, controller = fresh()
    second.load_state_dict(first.state_dict())
    two.load_state_dict(one.state_dict())
    assert controller.probe == "consecutive"
    train(second, two, data[10:])
    assert torch.equal(weights(second), weights(net))


def test_pending_step_is_gone_once_it_was_probed():
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=0.1)
    _ = attach(optimizer, probe_schedule=ProbeSchedule(first=3, every=10, thinning=0.0))
    data = batches(5)
    train(net, optimizer, data[:2])
    state = optimizer.param_groups[0]["galatune"]
    assert [old.shape for old in state.pending["old"]] == [p.shape for p in net.parameters()]
    assert "<old>" in repr(optimizer)
    assert set(optimizer.state[net[0].weight]) == {"step", "exp_avg", "exp_avg_sq"}
    train(net, optimizer, data[2:])
    assert not optimizer.param_groups[0]["galatune"].pending


def test_saved_step_stays_as_it_was():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe="closure")
    train(net, optimizer, batches(20), closure=True)
    saved, state = controller.state_dict()["groups"][0]["pending"], optimizer.state_dict()
    assert type(saved) is dict
    kept = copy.deepcopy((saved["old"], state["param_groups"]))
    train(net, optimizer, batches(5), closure=True)
    assert all(torch.equal(*pair) for pair in zip(saved["old"], kept[0], strict=True))
    assert state["param_groups"] == kept[1]


def test_step_of_other_parameters_loses_that_probe_only():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer, **OFTEN)
    data = batches(30)
    train(net, optimizer, data[:20])
    other, twin = copy.deepcopy((net, optimizer))
    other[0].bias.requires_grad_(False)
    controller = attach(twin, **OFTEN)
    train(other, twin, data[20:])
    assert controller.probes == 19 + 9


def test_frozen_and_detached_optimizers_hold_no_step():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    train(net, optimizer, batches(5))
    controller.freeze()
    assert not optimizer.param_groups[0]["galatune"].pending
    other = classifier()
    optimizer = SGD(other.parameters(), lr=0.1)
    controller = attach(optimizer)
    train(other, optimizer, batches(5))
    controller.detach()
    assert controller.steps == 5
    assert "galatune" not in optimizer.param_groups[0]


def test_state_of_another_schema_is_refused_whatever_brings_it():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    train(net, optimizer, batches(3))
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["galatune"]["schema"] = 99
    other = SGD(classifier().parameters(), lr=0.1)
    other.load_state_dict(state)
    with pytest.raises(ControlError, match="schema 99"):
        attach(other)
    with pytest.raises(ControlError, match="schema 99"):
        controller.optimizer.load_state_dict(state)


WAYS = [{}, {"flatten_optimizer_state_dict": True}, {"full_state_dict": True}]


@pytest.mark.parametrize("cut", [45, 50])  # one before a step that is not probed, one before a step that is
@pytest.mark.parametrize("way", WAYS, ids=lambda way: next(iter(way), "nested"))
def test_distributed_checkpoint_continues_bit_for_bit(way, cut, tmp_path):
    options = StateDictOptions(**way)

    def through_checkpoint(net, optimizer, scheduler, kind, **given):
        state = get_optimizer_state_dict(net, optimizer, options=options)
        checkpoint.save({"optimizer": state}, checkpoint_id=tmp_path, no_dist=True)
        other, twin, _ = built(kind)
        other.load_state_dict(net.state_dict())
        controller = attach(twin, **given)
        loaded = {"optimizer": get_optimizer_state_dict(other, twin, options=options)}
        checkpoint.load(loaded, checkpoint_id=tmp_path, no_dist=True)
        set_optimizer_state_dict(other, twin, loaded["optimizer"], options=options)
        return other, twin, rescheduled(twin, scheduler), controller

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torch.distributed")  # without processes it says so
        assert_continues(through_checkpoint, AdamW, cut)


@pytest.mark.parametrize("closure", [False, True])
def test_step_that_only_makes_a_state_does_not_count(closure):
    net = classifier()
    groups = [{"params": net[0].parameters(), "lr": 1.0}, {"params": net[2].parameters(), "lr": 0.25}]
    optimizer = AdamW(groups)
    controller = attach(optimizer)
    get_optimizer_state_dict(net, optimizer)  # takes a step at rate 0
    train(net, optimizer, batches(20), closure=closure)
    assert controller.probe == ("closure" if closure else "graph")
    assert controller.steps == 20
    assert [group["galatune"].group.ratio for group in optimizer.param_groups] == [1.0, 0.25]


SCRIPT = """
    import sys
    import torch
    import galatune

    def run(start, stop, path=None):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
        optimizer = torch.optim.AdamW(net.parameters(), lr=7.0)
        controller = galatune.attach(optimizer)
        if path:
            saved = torch.load(path, weights_only=True)
            net.load_state_dict(saved["net"])
            optimizer.load_state_dict(saved["optimizer"])
        generator = torch.Generator().manual_seed(1)
        for step in range(stop):
            x, y = torch.randn(16, 4, generator=generator), torch.randint(3, (16,), generator=generator)
            if step >= start:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()
        return net, optimizer

    path = sys.argv[2]
    if sys.argv[1] == "begin":
        net, optimizer = run(0, 20)
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, path)
    else:
        net, _ = run(*((20, 45, path) if sys.argv[1] == "continue" else (0, 45)))
        print([p.tolist() for p in net.parameters()])
"""


@pytest.mark.slow
def test_training_continues_bit_for_bit_in_another_process(tmp_path):
    def process(part: str) -> str:
        command = [sys.executable, "-c", textwrap.dedent(SCRIPT), part, str(tmp_path / "checkpoint.pt")]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    process("begin")
    assert process("continue") == process("whole")


def test_groups_with_rates_of_their_own_continue_bit_for_bit():
    assert_continues(resumed_through_a_file, own_groups, 20, per_group=True)


def own_groups(parameters, lr):
    parameters = list(parameters)
    return AdamW([{"params": parameters[:2], "lr": lr}, {"params": parameters[2:], "lr": 10 * lr}])
