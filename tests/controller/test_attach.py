"""The life of a controller: attached, saved, copied, detached, gone."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch.optim import SGD, AdamW, lr_scheduler

from galatune import attach
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.errors import ControlError, ProbeError

from .training import OFTEN, batches, classifier, steps, train, weights


def test_attaching_twice_is_refused():
    optimizer = SGD(classifier().parameters(), lr=0.1)
    controller = attach(optimizer)
    with pytest.raises(ControlError, match="already under control"):
        attach(optimizer)
    controller.detach()
    attach(optimizer)


def test_attaching_to_shared_groups_is_refused():
    optimizer = SGD(classifier().parameters(), lr=0.1)
    _ = attach(optimizer)
    other = SGD(classifier().parameters(), lr=0.1)
    other.param_groups = optimizer.param_groups
    with pytest.raises(ControlError, match="shares its parameter groups"):
        attach(other)


def _sparse(kind=SGD):
    torch.manual_seed(0)
    net = torch.nn.Embedding(5, 3, sparse=True)
    return net, kind(net.parameters(), lr=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.optim.LBFGS(classifier().parameters()),
        lambda: torch.optim.SparseAdam(classifier().parameters()),
        lambda: type("Mine", (torch.optim.LBFGS,), {})(classifier().parameters()),
    ],
)
def test_optimizer_that_cannot_be_controlled_is_refused_in_one_line(make):
    with pytest.raises(ControlError) as error:
        attach(make())
    assert "cannot be controlled" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("closure", [False, True])
def test_sparse_gradients_are_refused_in_one_line(closure):
    net, optimizer = _sparse()
    _ = attach(optimizer)

    def evaluate():
        optimizer.zero_grad()
        loss = net(torch.tensor([1, 3])).square().sum()
        loss.backward()
        return loss

    if not closure:
        evaluate()
    with pytest.raises(ControlError, match="sparse gradients") as error:
        optimizer.step(evaluate if closure else None)
    assert "\n" not in str(error.value)
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_detach_leaves_the_optimizer_as_it_was(kind, closure):
    net = classifier()
    optimizer = kind(net.parameters(), lr=0.1)
    gc.collect()  # of other tests, whose controllers may still listen
    backward = torch.autograd.backward
    before = [set(group) for group in optimizer.param_groups]
    controller = attach(optimizer)
    train(net, optimizer, batches(15), closure=closure)
    rate, steps_taken = controller.learning_rate, controller.steps
    controller.detach()
    assert torch.autograd.backward is backward
    assert "step" not in optimizer.__dict__
    assert [set(group) for group in optimizer.param_groups] == before
    assert optimizer.param_groups[0]["lr"] == 0.1
    for hooks in (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        optimizer._optimizer_load_state_dict_post_hooks,
        optimizer._optimizer_state_dict_post_hooks,
    ):
        assert not hooks
    assert (controller.learning_rate, controller.steps) == (rate, steps_taken)
    controller.detach()  # once more does no harm
    train(net, optimizer, batches(3), closure=closure)


def test_detach_below_a_scheduler_that_came_later_lets_the_rate_go():
    def run(control):
        net = classifier()
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer) if control else None
        schedule = lr_scheduler.StepLR(optimizer, 4)
        start = copy.deepcopy(net.state_dict())
        train(net, optimizer, batches(5), scheduler=schedule)
        if controller is not None:
            controller.detach()
        net.load_state_dict(start)
        train(net, optimizer, batches(5), scheduler=schedule)
        return weights(net)

    assert torch.equal(run(control=True), run(control=False))


def test_attach_after_detach_starts_anew():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    train(net, optimizer, batches(30))
    rate = controller.learning_rate
    controller.detach()
    again = attach(optimizer)
    train(net, optimizer, batches(1))
    assert again.steps == 1
    assert again.learning_rate < rate / 10


@pytest.mark.parametrize("closure", [False, True])
def test_optimizer_and_net_are_freed_without_the_garbage_collector(closure):
    def run(scheduled: bool):
        net = classifier()
        optimizer = AdamW(net.parameters(), lr=0.1)
        schedule = lr_scheduler.StepLR(optimizer, 4) if scheduled else None
        controller = attach(optimizer)
        run = steps(net, optimizer, batches(5), closure=closure)
        for _ in range(5):
            next(run)
        run.close()
        del schedule
        return controller, weakref.ref(optimizer), weakref.ref(net[0].weight)

    gc.collect()
    backward = torch.autograd.backward
    run(False)  # torch imports the rest of itself
    gc.collect()
    gc.disable()
    try:
        for scheduled in (False, True):
            controller, *gone = run(scheduled)
            assert [reference() for reference in gone] == [None, None]
            assert controller.steps == 5
            with pytest.raises(ControlError, match="gone"):
                _ = controller.optimizer
    finally:
        gc.enable()
    assert torch.autograd.backward is backward


@pytest.mark.parametrize("probe", ["closure", "graph", "consecutive"])
def test_nothing_per_parameter_is_kept_between_probes(probe):
    net = torch.nn.Linear(123, 7)
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe=probe, probe_schedule=ProbeSchedule(first=5, every=10, thinning=0.0))

    def copies():
        shape = net.weight.shape
        return sum(type(o) is torch.Tensor and o.shape == shape for o in gc.get_objects())

    def advance(count):
        data = [(torch.ones(2, 123), torch.tensor([0, 1]))] * count
        train(net, optimizer, data, closure=probe == "closure")
        optimizer.zero_grad()

    advance(12)  # step 10 was probed
    assert controller.probes == 6
    assert copies() == 0
    advance(8)  # step 20 will be, and its d begins here
    assert copies() > 0
    advance(1)
    assert copies() == 0


def test_events_say_what_was_decided():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    told = []
    controller = attach(optimizer, on_event=told.append)
    train(net, optimizer, batches(5))
    assert told == controller.events
    assert [event.kind for event in told] == ["probe", "schedule", "start", "limit"]
    assert [event.step for event in told] == [1, 1, 1, 2]


def test_evaluations_are_counted():
    def spent(probe, closure):
        net = classifier()
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer, **OFTEN, probe=probe)
        train(net, optimizer, batches(61), closure=closure)
        return controller.probes, controller.gradient_evaluations

    assert spent("graph", False) == (42, 61 + 3 * 42)
    assert spent("closure", True) == (42, 61 + 42 + 1)  # one more, to see that the closure repeats itself
    assert spent("consecutive", False) == (42, 61)


def test_history_holds_one_record_per_probe():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe_schedule=ProbeSchedule(first=3, every=5, thinning=0.0))
    train(net, optimizer, batches(12))
    assert [record.step for record in controller.history] == [2, 3, 4, 6, 11]
    last = controller.history[-1]
    assert last.learning_rate == controller.learning_rate
    assert last.lipschitz > 0


def test_subclass_whose_step_calls_its_base_is_decided_once_a_step():
    class Clipped(SGD):
        def step(self, closure=None):
            return super().step(closure)

    plain, mine = classifier(), classifier()
    a, b = SGD(plain.parameters(), lr=0.1), Clipped(mine.parameters(), lr=0.1)
    first, second = attach(a), attach(b)
    assert train(plain, a, batches(30)) == train(mine, b, batches(30))
    assert (first.steps, first.learning_rate) == (second.steps, second.learning_rate)
    with pytest.raises(ZeroDivisionError):
        b.step(lambda: 1 / 0)
    train(mine, b, batches(5), closure=True)
    assert second.steps == 35


def test_asked_probe_that_cannot_serve_is_an_error():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer, probe="closure")
    with pytest.raises(ProbeError, match="needs optimizer"):
        train(net, optimizer, batches(3))


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(("steps", "short"), [(30, True), (200, False)])
def test_a_training_that_ends_while_its_rate_still_grows_is_told(steps, short, gone):
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    train(net, optimizer, batches(steps), closure=False)
    if gone:  # as in an objective, whose optimizer does not outlive it
        del optimizer
    controller.detach()
    controller.detach()
    told = [event.reason for event in controller.events if event.kind == "short"]
    assert len(told) == short
    assert all(f"after {steps} steps the rate was still growing: train longer" in reason for reason in told)
