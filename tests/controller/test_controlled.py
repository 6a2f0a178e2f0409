"""`controlled`: code that nobody changed."""

from __future__ import annotations

import copy
import gc
import threading

import pytest
import torch
from torch.nn import functional
from torch.optim import SGD, AdamW, lr_scheduler

from galatune import attach, controlled
from galatune.controller.controlled import Choice
from galatune.controller.probes.graph import GraphProbe
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.errors import ControlError

from .training import OFTEN, batches, classifier, steps, train, weights


def objective(lr, kind=SGD, steps=60, seed=0):
    """A training function that knows nothing of control."""
    net = classifier(seed)
    optimizer = kind(net.parameters(), lr=lr)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = train(net, optimizer, batches(steps), scheduler=scheduler)
    return weights(net), losses


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_rate_in_the_code_does_not_matter(kind):
    with controlled() as capture:
        first, losses = objective(1e-6, kind)
    with controlled():
        second, _ = objective(10.0, kind)
    assert torch.equal(first, second)
    assert losses[-1] < losses[0]
    assert capture.names == [kind.__name__]
    assert capture.reasons == ["every optimizer is controlled"]
    assert capture.left_alone == []
    assert capture.device == "cpu"
    assert capture.controllers[0].steps == 60
    assert capture.learning_rate == capture.controllers[0].learning_rate


def test_result_is_that_of_attach():
    with controlled(probe_schedule=ProbeSchedule(first=20)):
        values, _ = objective(0.1)
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer, probe_schedule=ProbeSchedule(first=20))
    train(net, optimizer, batches(60), scheduler=lr_scheduler.CosineAnnealingLR(optimizer, 60))
    assert torch.equal(values, weights(net))


def test_optimizers_made_before_are_controlled_inside_and_let_go_outside():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    with controlled() as capture:
        train(net, optimizer, batches(5))
    assert len(capture.controllers) == 1
    assert "galatune" not in optimizer.param_groups[0]
    assert "step" not in optimizer.__dict__
    assert optimizer.param_groups[0]["lr"] == 0.1
    applied = []
    optimizer.register_step_pre_hook(lambda *_: applied.append(optimizer.param_groups[0]["lr"]))
    train(net, optimizer, batches(2))
    assert applied == [0.1, 0.1]


def test_everything_global_is_put_back():
    gc.collect()
    constructor, backward = torch.optim.Optimizer.__init__, torch.autograd.backward
    with controlled():
        objective(0.1, steps=3)
        assert torch.optim.Optimizer.__init__ is not constructor
    assert torch.optim.Optimizer.__init__ is constructor
    assert torch.autograd.backward is backward
    with pytest.raises(ZeroDivisionError), controlled():
        objective(0.1 / 0)
    assert torch.optim.Optimizer.__init__ is constructor


def test_innermost_wins():
    with controlled() as outer:
        with controlled(probe="consecutive") as inner:
            objective(0.1, steps=3)
        objective(0.1, steps=4)
    assert [controller.steps for controller in inner.controllers] == [3]
    assert [controller.steps for controller in outer.controllers] == [4]
    assert inner.controllers[0].probe == "consecutive"


def test_blocks_closed_in_any_order_leave_nothing_behind():
    constructor = torch.optim.Optimizer.__init__
    first, second = controlled(), controlled()
    first.__enter__()
    capture = second.__enter__()
    first.__exit__(None, None, None)
    objective(0.1, steps=3)
    assert len(capture.controllers) == 1
    second.__exit__(None, None, None)
    assert torch.optim.Optimizer.__init__ is constructor


def test_generator_that_is_left_early_leaves_nothing_behind():
    constructor = torch.optim.Optimizer.__init__

    def training():
        with controlled() as capture:
            net = classifier()
            for loss in steps(net, SGD(net.parameters(), lr=0.1), batches(10)):
                yield capture, loss

    run = training()
    capture, _ = next(run)
    assert torch.optim.Optimizer.__init__ is not constructor
    run.close()
    assert torch.optim.Optimizer.__init__ is constructor
    assert capture.controllers[0].steps == 1


def test_constructor_wrapped_by_others_is_survived(monkeypatch):
    constructor = torch.optim.Optimizer.__init__
    with controlled():
        ours = torch.optim.Optimizer.__init__

        def theirs(self, *args, **kwargs):
            ours(self, *args, **kwargs)

        monkeypatch.setattr(torch.optim.Optimizer, "__init__", theirs)
    assert torch.optim.Optimizer.__init__ is theirs
    with controlled() as capture:
        objective(0.1, steps=3)
    assert len(capture.controllers) == 1
    monkeypatch.undo()
    torch.optim.Optimizer.__init__ = constructor


def test_select_decides_with_the_rates_of_all_optimizers():
    asked = []

    def select(rates, everybody):
        asked.append((list(rates), [list(one) for one in everybody]))
        return Choice(rates[0] > 0.05, "as told")

    with controlled(select=select) as capture:
        objective(0.1, SGD, steps=3)
        objective(0.01, AdamW, steps=3)
    assert asked == [([0.1], [[0.1]]), ([0.01], [[0.1], [0.01]])]
    assert capture.names == ["SGD"]
    assert [(one.name, one.reason) for one in capture.left_alone] == [("AdamW", "as told")]


def test_rates_that_a_warmup_changed_are_told_as_they_were_made():
    asked = []

    def select(rates, everybody):
        asked.append(list(rates))
        return Choice(True, "")

    with controlled(select=select):
        net = classifier()
        optimizer = SGD(net.parameters(), lr=0.3)
        train(net, optimizer, batches(2), scheduler=lr_scheduler.LambdaLR(optimizer, lambda t: t / 10))
    assert asked == [[0.3]]


def test_optimizers_that_cannot_be_controlled_are_left_alone():
    def quadratic():
        parameter = torch.nn.Parameter(torch.ones(2))
        optimizer = torch.optim.LBFGS([parameter], lr=0.5)

        def closure():
            optimizer.zero_grad()
            loss = parameter.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return parameter.detach()

    expected = quadratic()
    with controlled() as capture:
        assert torch.equal(quadratic(), expected)
        embedding = torch.nn.Embedding(4, 2, sparse=True)
        optimizer = SGD(embedding.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            embedding(torch.tensor([1])).sum().backward()
            optimizer.step()
        frozen = SGD(classifier().parameters(), lr=0.1, momentum=0.9, dampening=1.0)
        frozen.step()
    assert capture.controllers == []
    assert capture.learning_rate is None
    reasons = [one.reason for one in capture.left_alone]
    assert "searches along its own line" in reasons[0]
    assert "sparse gradients" in reasons[1]
    assert "dampening" in reasons[2]


@pytest.mark.parametrize("stop", [3, 22])
def test_resume_inside_is_bit_equal_if_the_next_step_is_probed(stop):
    data, halves = batches(40), (slice(stop), slice(stop, None))
    whole, half, rest = classifier(), classifier(), classifier()
    with controlled(**OFTEN):
        train(whole, AdamW(whole.parameters(), lr=0.1), data)
    with controlled(**OFTEN):
        optimizer = AdamW(half.parameters(), lr=0.1)
        train(half, optimizer, data[halves[0]])
        saved = copy.deepcopy((half.state_dict(), optimizer.state_dict()))
    with controlled(**OFTEN) as capture:
        optimizer = AdamW(rest.parameters(), lr=0.1)
        rest.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        train(rest, optimizer, data[halves[1]])
    assert torch.equal(weights(rest), weights(whole))
    assert capture.controllers[0].steps == 40
    assert capture.controllers[0].probe == "graph"


def test_optimizer_that_is_attached_already_is_left_alone():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    with controlled() as capture:
        train(net, optimizer, batches(5))
    assert "already under control" in capture.left_alone[0].reason
    train(net, optimizer, batches(5))
    assert controller.steps == 10


def test_optimizer_around_another_is_controlled_once():
    class Around(torch.optim.Optimizer):
        def __init__(self, params, base, **options):
            super().__init__(params, options)
            self.base = base(self.param_groups, **options)
            self.param_groups = self.base.param_groups

        def step(self, closure=None):
            return self.base.step(closure)

    with controlled() as capture:
        net = classifier()
        losses = train(net, Around(net.parameters(), SGD, lr=0.1), batches(100))
    assert capture.names == ["SGD"]
    assert capture.left_alone == []
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("wrong", "refusal"), [({"speed": 3}, TypeError), ({"step_scale": -1.0}, ControlError)]
)
def test_wrong_option_is_refused_before_anything_is_changed(wrong, refusal):
    constructor = torch.optim.Optimizer.__init__
    with pytest.raises(refusal, match=next(iter(wrong))), controlled(**wrong):
        pass
    assert torch.optim.Optimizer.__init__ is constructor


def in_threads(work, count=3):
    """What ``work(net, k)`` returns, called in threads at once; the nets are equal."""
    nets, results, failures = [classifier() for _ in range(count)], {}, []
    barrier = threading.Barrier(count)

    def run(k):
        try:
            barrier.wait()
            results[k] = work(nets[k], k)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    return [results[k] for k in range(count)]


def test_threads_that_train_inside_one_block_are_controlled():
    def trial(net, k):
        train(net, SGD(net.parameters(), lr=10.0**-k), batches(45))
        return weights(net)

    with controlled() as capture:
        results = in_threads(trial)
    assert len(capture.controllers) == 3
    assert all(controller.probe == "graph" for controller in capture.controllers)
    assert all(torch.equal(results[0], result) for result in results)


def test_threads_with_blocks_of_their_own_do_not_meet():
    constructor = torch.optim.Optimizer.__init__

    def trial(net, k):
        with controlled(probe="graph") as capture:
            train(net, SGD(net.parameters(), lr=10.0**-k), batches(45))
        assert [controller.steps for controller in capture.controllers] == [45]
        return weights(net)

    results = in_threads(trial)
    assert all(torch.equal(results[0], result) for result in results)
    assert torch.optim.Optimizer.__init__ is constructor


def test_probe_object_is_not_shared_between_optimizers():
    given = GraphProbe()
    with controlled(**OFTEN, probe=given) as capture:
        a, b = classifier(0), classifier(1)
        first, second = SGD(a.parameters(), lr=0.1), SGD(b.parameters(), lr=0.1)
        for x, y in batches(20):
            first.zero_grad()
            second.zero_grad()
            functional.cross_entropy(a(x), y).backward()
            functional.cross_entropy(b(x), y).backward()
            first.step()
            second.step()
    assert [controller.probes for controller in capture.controllers] == [19, 19]
    assert not given.ready


def test_copy_of_a_controlled_optimizer_is_taken_over_without_a_warning():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer)
    train(net, optimizer, batches(5))
    other, copied = copy.deepcopy((net, optimizer))
    with controlled() as capture:
        train(other, copied, batches(5))
    assert capture.controllers[0].steps == 10


def test_closure_is_probed_inside():
    with controlled(**OFTEN) as capture:
        net = classifier()
        train(net, AdamW(net.parameters(), lr=0.1), batches(20), closure=True)
    assert capture.controllers[0].probe == "closure"
    assert capture.controllers[0].probes == 19


def test_backward_wrapped_by_others_is_survived():
    torch_backward = torch.autograd.backward
    try:
        with controlled() as first:
            net = classifier()
            run = steps(net, SGD(net.parameters(), lr=0.1), batches(10))
            next(run)
            ours, calls = torch.autograd.backward, []

            def theirs(*args, **kwargs):
                calls.append(args)
                ours(*args, **kwargs)

            torch.autograd.backward = theirs
            list(run)
        assert first.controllers[0].probes == 9
        assert torch.autograd.backward is theirs  # it is not ours to take away
        with controlled() as second:
            objective(0.1, steps=10)
        assert second.controllers[0].probe == "graph"
        assert second.controllers[0].probes == 9
        assert len(calls) == 9 + 10
        assert torch.autograd.backward is theirs
    finally:
        torch.autograd.backward = torch_backward
