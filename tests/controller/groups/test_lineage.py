"""Optimizers made anew over the same parameters: what control knows goes on, and nothing is kept alive."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch.nn import functional
from torch.optim import SGD, Adam, RAdam, RMSprop, lr_scheduler

from controller.training import batches, classifier, train, weights
from galatune import attach, controlled
from galatune.controller.groups.lineage import lineages
from galatune.controller.torch_hooks.backward import _listeners

STEPS = 120


@pytest.fixture(autouse=True)
def _alone():
    gc.collect()


def in_pieces(make, length, count=STEPS):
    """A training whose optimizer is made anew every so many steps."""
    net, data = classifier(), batches(count, size=32)
    losses = []
    for start in range(0, count, length):
        losses += train(net, make(net.parameters()), data[start : start + length])
    return net, losses


@pytest.mark.parametrize("length", [1, 2, 5, 20])
def test_plain_steps_are_those_of_one_optimizer(length):
    with controlled() as whole:
        expected, _ = in_pieces(lambda p: SGD(p, lr=0.1), STEPS)
    with controlled() as capture:
        net, _ = in_pieces(lambda p: SGD(p, lr=0.1), length)
    assert capture.names == ["SGD"] * (STEPS // length)
    assert capture.places == [0] * (STEPS // length)
    (controller,), (alone,) = capture.controllers, whole.controllers
    assert (controller.steps, controller.probes) == (STEPS, len(controller.history))
    if length < 5:  # longer pieces lose the pair at their end
        assert torch.equal(weights(net), weights(expected))
        assert controller.history == alone.history
        assert controller.events == alone.events
        assert controller.gradient_evaluations == alone.gradient_evaluations
    assert controller.rate_curve.points()[-1][0] == STEPS
    assert controller.learning_rate == pytest.approx(alone.learning_rate, rel=0.5)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("length", [1, 12])
@pytest.mark.parametrize(
    "kind",
    [Adam, RMSprop, RAdam, lambda p, lr: SGD(p, lr=lr, momentum=0.9)],
    ids=["adam", "rms", "radam", "sgd"],
)
def test_moments_that_begin_anew_do_no_harm(kind, length, seed):
    """Compared with the same loop whose optimizer is made anew at good fixed rates."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(512, 4, generator=generator)
    y = (x @ torch.randn(4, 3, generator=generator)).argmax(1)

    def final(lr, count=240):
        net = classifier(seed)
        for start in range(0, count, length):
            optimizer = kind(net.parameters(), lr=lr)
            for k in range(start, start + length):
                rows = torch.arange(32 * k, 32 * k + 32) % 512
                optimizer.zero_grad()
                functional.cross_entropy(net(x[rows]), y[rows]).backward()
                optimizer.step()
        with torch.no_grad():
            return functional.cross_entropy(net(x), y).item()

    fixed = [final(lr) for lr in (3e-3, 3e-2)]
    with controlled():
        assert final(1e-6) < 1.1 * max(fixed)


def test_smaller_rates_are_a_schedule_that_decays():
    with controlled() as capture:
        net = classifier()
        for epoch in range(6):
            train(net, SGD(net.parameters(), lr=0.5 * 0.8**epoch), batches(20, seed=epoch))
    (controller,) = capture.controllers
    reasons = [event.reason for event in controller.events if event.kind == "schedule"]
    assert "fell below its peak" in reasons[-1]
    applied = [record.learning_rate for record in controller.history if record.step > 100]
    assert applied
    with controlled() as constant:
        net = classifier()
        for epoch in range(6):
            train(net, SGD(net.parameters(), lr=0.5), batches(20, seed=epoch))
    assert applied[-1] < constant.controllers[0].history[-1].learning_rate


def test_scheduler_that_holds_the_one_before_changes_nothing():
    with controlled() as capture:
        net = classifier()
        for _ in range(4):
            optimizer = Adam(net.parameters(), lr=0.1)
            schedule = lr_scheduler.StepLR(optimizer, 5)
            train(net, optimizer, batches(15), scheduler=schedule)
    assert (len(capture.names), len(capture.controllers)) == (4, 1)
    assert capture.controllers[0].steps == 60


def test_two_that_take_turns_are_counted_once_each():
    with controlled() as capture:
        net = classifier()
        first, second = SGD(net.parameters(), lr=0.1), SGD(net.parameters(), lr=0.1)
        for batch in batches(20):
            train(net, first, [batch])
            train(net, second, [batch])
    assert [controller.steps for controller in capture.controllers] == [20, 20]
    assert capture.places == [0, 1]


def test_attach_goes_on_with_the_same_counts():
    net = classifier()
    steps = []
    for part in range(3):
        optimizer = Adam(net.parameters(), lr=0.1)
        controller = attach(optimizer, on_event=lambda event: None)
        train(net, optimizer, batches(20, seed=part))
        steps.append((controller.steps, controller.events[0].step))
        rate = controller.learning_rate
    assert steps == [(20, 1), (40, 1), (60, 1)]
    assert rate > 1e-3


def test_attach_every_step_learns():
    net, probes = classifier(), []
    for batch in batches(60):
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer)
        losses = train(net, optimizer, [batch])
        probes.append(controller.probes)
    assert probes[-1] > 20
    assert losses[-1] < 1.0


@pytest.mark.parametrize(
    "why", ["detached", "other class", "other net", "other options", "other block", "frozen"]
)
def test_it_begins_anew_if(why):
    net = classifier()
    first = SGD(net.parameters(), lr=0.1)
    controller = attach(first, max_lr=1.0) if why == "other options" else attach(first)
    train(net, first, batches(10))
    if why == "detached":
        controller.detach()
    if why == "frozen":
        controller.freeze()
    if why == "other block":
        controller.detach()
        with controlled():
            train(net, SGD(net.parameters(), lr=0.1), batches(10))
    other = classifier(1) if why == "other net" else net
    second = (Adam if why == "other class" else SGD)(other.parameters(), lr=0.1)
    assert attach(second).steps == 0


def test_net_of_each_fold_begins_anew():
    with controlled() as capture:
        for fold in range(3):
            net = classifier(fold)
            train(net, SGD(net.parameters(), lr=0.1), batches(30))
    assert [controller.steps for controller in capture.controllers] == [30, 30, 30]
    first = [controller.history[0].learning_rate for controller in capture.controllers]
    assert max(first) < 1e-3


def test_state_that_was_loaded_counts_more():
    net = classifier()
    first = SGD(net.parameters(), lr=0.1)
    _ = attach(first)
    train(net, first, batches(10))
    saved = first.state_dict()
    train(net, first, batches(5))
    del first
    second = SGD(net.parameters(), lr=0.1)
    second.load_state_dict(saved)
    assert attach(second).steps == 10


@pytest.mark.parametrize("length", [1, 4])
def test_nothing_is_kept_alive(length):
    net = classifier()
    gone = weakref.ref(next(net.parameters()))
    for start in range(0, 12, length):
        optimizer = SGD(net.parameters(), lr=0.1)
        attach(optimizer)
        train(net, optimizer, batches(length, seed=start))
    del optimizer
    assert len(lineages) == 1
    del net
    gc.collect()
    assert gone() is None
    assert len(lineages) == 0
    assert not _listeners


def test_hundreds_of_optimizers_leave_no_memory():
    net, data = classifier(), batches(4)
    sizes = []
    with controlled() as capture:
        for k in range(600):
            train(net, SGD(net.parameters(), lr=0.01), [data[k % 4]])
            if k in (299, 599):
                gc.collect()
                sizes.append(sum(type(one) is torch.Tensor for one in gc.get_objects()))
    assert sizes[1] <= sizes[0] + 4
    assert len(capture.controllers) == 1
    assert len(capture.controllers[0].rate_curve.points()) <= 401
    assert len(lineages) == 0
