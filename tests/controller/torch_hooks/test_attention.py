"""Attention under the graph probe: the math kernel for the forward of a probed step, and for nothing else."""

from __future__ import annotations

import copy
import gc
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import SGD
from torch.utils.checkpoint import checkpoint

from controller.training import batches, weights
from galatune import attach
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.controller.torch_hooks.attention import MathForwards, math_kernel
from galatune.errors import ProbeError

UNTOUCHED = nn.Module.__call__


def fused_is_on() -> bool:
    return torch.backends.cuda.flash_sdp_enabled()


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    gc.collect()  # of other tests, whose controllers may still live
    yield
    gc.collect()
    assert nn.Module.__call__ is UNTOUCHED
    assert fused_is_on()
    assert torch.backends.cuda.math_sdp_enabled()


class Block(nn.Module):
    """Causal attention over 4 places; notes whether it was computed by a fused kernel."""

    def __init__(self):
        super().__init__()
        self.mix, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.fused: list[bool] = []

    def forward(self, x):
        if torch.is_grad_enabled():
            self.fused.append(fused_is_on())
        q, k, v = self.mix(x).unflatten(-1, (3, 2, 4)).movedim(-3, 0).transpose(-2, -3)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(-2, -3).flatten(-2))


class Transformer(nn.Module):
    """One block; ``checkpointed`` computes it again in the backward pass, as a module or as a function."""

    def __init__(self, checkpointed=None):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.block, self.head = nn.Linear(4, 8), Block(), nn.Linear(8, 3)
        self.checkpointed = checkpointed

    def forward(self, x):
        x = self.embed(x.unflatten(0, (-1, 4)))
        if self.checkpointed is None:
            x = x + self.block(x)
        else:
            again = self.block if self.checkpointed == "module" else self.block.forward
            x = x + checkpoint(again, x, use_reentrant=False)
        return self.head(x).flatten(0, 1)


def train(net, optimizer, data, forward=None):
    forward, losses = forward or net, []
    for x, y in data:
        optimizer.zero_grad()
        loss = functional.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def controlled(checkpointed=None, **options):
    net = Transformer(checkpointed)
    optimizer = SGD(net.parameters(), lr=0.1)
    return net, optimizer, attach(optimizer, probe="graph", **options)


def test_forwards_of_probed_steps_alone_use_the_math_kernel():
    net, optimizer, controller = controlled(probe_schedule=ProbeSchedule(first=3, every=5, thinning=0.0))
    train(net, optimizer, batches(12))
    probed = [record.step for record in controller.history]
    assert probed == [3, 4, 6, 11]  # the probe of step 2 was the one that found out
    assert [step for step, fused in enumerate(net.block.fused, start=1) if not fused] == probed
    told = [event for event in controller.events if "math kernel" in event.reason]
    assert len(told) == 1
    assert "\n" not in told[0].reason


@pytest.mark.parametrize("checkpointed", [None, "module", "function"])
def test_gradients_of_the_math_kernel_are_those_of_the_fused_one(checkpointed):
    net, optimizer, controller = controlled(
        checkpointed, min_lr=0.1, max_lr=0.1, probe_schedule=ProbeSchedule(first=30)
    )
    losses = train(net, optimizer, batches(30))
    other = Transformer(checkpointed)
    expected = train(other, SGD(other.parameters(), lr=0.1), batches(30))
    assert losses == pytest.approx(expected, rel=1e-4)
    assert weights(net).numpy() == pytest.approx(weights(other).numpy(), rel=1e-4, abs=1e-5)
    assert len([r for r in controller.history if r.alignment is not None]) == 28


def test_net_without_attention_never_meets_the_math_kernel(monkeypatch):
    monkeypatch.setattr(
        "galatune.controller.probes.graph.MathForwards", None
    )  # would raise where it is called
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe="graph")
    train(net, optimizer, batches(10))
    assert controller.probes == 9


def test_validation_and_other_threads_keep_their_kernel():
    net, optimizer, _ = controlled()
    train(net, optimizer, batches(5))
    other, seen = Transformer(), []
    other.block.register_forward_hook(lambda *_: seen.append(fused_is_on()))
    x = torch.zeros(4, 4)
    with torch.no_grad():
        other(x)
    thread = threading.Thread(target=other, args=(x,))
    thread.start()
    thread.join()
    assert seen == [True, True]
    other(x)
    assert seen == [True, True, False]  # for a gradient, before a probed step


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_forward_that_raises_puts_the_kernel_back(stop):
    net, optimizer, controller = controlled()
    train(net, optimizer, batches(5))

    def fail(*_):
        assert not fused_is_on()
        raise stop

    handle = net.head.register_forward_pre_hook(fail)
    with pytest.raises(stop):
        train(net, optimizer, batches(1))
    assert fused_is_on()
    handle.remove()
    train(net, optimizer, batches(5))
    assert controller.steps == 10


def test_step_that_raises_ends_the_forwards():
    net, optimizer, _ = controlled()
    train(net, optimizer, batches(5))
    handle = optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(net, optimizer, batches(1))
    handle.remove()
    assert nn.Module.__call__ is UNTOUCHED


@pytest.mark.parametrize("end", ["freeze", "detach", "forget"])
def test_end_of_control_ends_the_forwards(end):
    net, optimizer, controller = controlled()
    train(net, optimizer, batches(5))
    assert nn.Module.__call__ is not UNTOUCHED
    if end == "forget":
        del optimizer
    else:
        getattr(controller, end)()
    assert nn.Module.__call__ is UNTOUCHED


def test_choices_of_the_user_win_and_come_back():
    net, optimizer, controller = controlled()
    train(net, optimizer, batches(5))
    inner = net.block.forward

    def forced(x):
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return inner(x)

    net.block.forward = forced
    with pytest.raises(ProbeError, match="could not replace it") as error:
        train(net, optimizer, batches(2))
    assert "\n" not in str(error.value)
    assert controller.steps == 5


def test_math_kernel_that_is_switched_off_stays_off():
    data = batches(20)
    net = Transformer()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]):
        train(net, optimizer, data[:10])
        assert not torch.backends.cuda.math_sdp_enabled()
    assert all(net.block.fused)
    assert controller.probe != "graph"
    assert sum("could not replace it" in event.reason for event in controller.events) == 1


def test_attention_outside_any_module_falls_back():
    net = Transformer()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)

    def forward(x):
        x = net.embed(x.unflatten(0, (-1, 4)))
        return net.head(x + net.block.forward(x)).flatten(0, 1)

    train(net, optimizer, batches(20), forward)
    assert controller.probe != "graph"
    assert sum("could not replace it" in event.reason for event in controller.events) == 1


def test_two_optimizers_share_the_forwards():
    one, two = Transformer(), Transformer()
    optimizers = SGD(one.parameters(), lr=0.1), SGD(two.parameters(), lr=0.1)
    controllers = [attach(optimizer, probe="graph") for optimizer in optimizers]
    for x, y in batches(10):
        for optimizer in optimizers:
            optimizer.zero_grad()
        functional.cross_entropy(one(x) + two(x), y).backward()
        for optimizer in optimizers:
            optimizer.step()
    assert [controller.probes for controller in controllers] == [8, 8]
    for controller in controllers:
        controller.detach()


@pytest.mark.parametrize("cut", [1, 2, 6, 45])
def test_training_that_is_cut_continues_bit_for_bit(cut):
    data = batches(55)
    net, optimizer, whole = controlled()
    train(net, optimizer, data)
    first, one, begun = controlled()
    train(first, one, data[:cut])
    begun_state = copy.deepcopy((first.state_dict(), one.state_dict()))
    begun.detach()
    second, two, controller = controlled()
    second.load_state_dict(begun_state[0])
    two.load_state_dict(begun_state[1])
    train(second, two, data[cut:])
    assert torch.equal(weights(second), weights(net))
    assert controller.learning_rate == whole.learning_rate


def test_blocks_and_forwards_nest():
    outer, inner = MathForwards(), MathForwards()
    with math_kernel(), math_kernel():
        assert not fused_is_on()
    outer.close()
    outer.close()
    assert nn.Module.__call__ is not UNTOUCHED
    inner.close()
