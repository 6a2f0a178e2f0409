"""Gradient pairs: right numbers, no trace left in the loop, and a way out if a probe cannot serve."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop

from controller.training import OFTEN, batches, classifier, steps, train, weights
from galatune import attach
from galatune.controller.probes.closure import ClosureProbe
from galatune.controller.probes.graph import GraphProbe


def pair_of(probe, before, after, net):
    """What a probe hands over for the step between two sets of weights."""
    net.load_state_dict(before)
    parameters = list(net.parameters())
    probe.remember(parameters)
    net.load_state_dict(after)
    probe.stepped()
    return parameters


def stacked(changes, what):
    return torch.cat([getattr(change, what).flatten() for change in changes])


def two_points(**options):
    net = classifier(dtype=torch.float64, **options)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    after = {
        name: value + 1e-6 * torch.sin(torch.arange(value.numel()).view(value.shape) + 1.0).double()
        if value.is_floating_point() and "running" not in name
        else value.clone()
        for name, value in before.items()
    }
    return net, before, after


def gradient_at(net, state, evaluate):
    net.load_state_dict(state)
    return torch.cat([g.flatten() for g in torch.autograd.grad(evaluate(), list(net.parameters()))])


def test_graph_pair_of_several_backward_calls_is_that_of_the_summed_loss():
    net, before, after = two_points()
    (x1, y1), (x2, y2) = batches(2, dtype=torch.float64)

    def losses():
        return functional.cross_entropy(net(x1), y1), 0.3 * functional.cross_entropy(net(x2), y2)

    probe = GraphProbe()
    pair_of(probe, before, after, net)
    for loss in losses():
        probe.saw_backward((loss,), None, None)
        loss.backward()
    changes = probe.pair()
    total = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert torch.allclose(stacked(changes, "after"), total, rtol=1e-12)
    expected = gradient_at(net, before, lambda: sum(losses()))
    measured = stacked(changes, "after") - stacked(changes, "before")
    assert torch.allclose(measured, total - expected, rtol=1e-4, atol=1e-12)


def test_closure_pair_is_the_gradient_at_both_points():
    net, before, after = two_points(norm=True)
    ((x, y),) = batches(1, dtype=torch.float64)

    def evaluate():
        return functional.cross_entropy(net(x), y)

    def closure():
        net.zero_grad()
        loss = evaluate()
        loss.backward()
        return loss

    probe = ClosureProbe()
    pair_of(probe, before, after, net)
    assert probe.prepare(closure) == 2  # the first is made twice
    closure()
    changes = probe.pair()
    assert torch.equal(stacked(changes, "before"), gradient_at(net, before, evaluate))
    assert torch.equal(stacked(changes, "after"), gradient_at(net, after, evaluate))
    assert not probe.ready


@pytest.mark.parametrize("probe", ["graph", "closure"])
def test_accumulated_gradients_are_those_of_one_large_minibatch(probe):
    def run(parts):
        net = classifier(dtype=torch.float64)
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer, probe=probe)
        for x, y in batches(50, dtype=torch.float64):

            def closure(x=x, y=y):
                optimizer.zero_grad()
                for some_x, some_y in zip(x.chunk(parts), y.chunk(parts), strict=True):
                    (functional.cross_entropy(net(some_x), some_y) / parts).backward()
                return torch.zeros(())

            if probe == "closure":
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
        return controller.learning_rate

    assert run(4) == pytest.approx(run(1), rel=1e-6)


def test_gradients_set_by_hand_are_served_by_consecutive():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, **OFTEN)
    for x, y in batches(60):
        parameters = list(net.parameters())
        for p, g in zip(
            parameters, torch.autograd.grad(functional.cross_entropy(net(x), y), parameters), strict=True
        ):
            p.grad = g
        optimizer.step()
    assert controller.probe == "consecutive"
    assert controller.probes > 30


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_frozen_and_unused_parameters_are_served(kind, closure):
    net = classifier()
    net[0].weight.requires_grad_(False)
    net.register_parameter("unused", nn.Parameter(torch.ones(3)))
    held = net[0].weight.detach().clone()
    optimizer = kind(net.parameters(), lr=0.1)
    losses = train(net, optimizer, batches(80), closure=closure)
    other = classifier()
    other[0].weight.requires_grad_(False)
    other.register_parameter("unused", nn.Parameter(torch.ones(3)))
    second = kind(other.parameters(), lr=0.1)
    controller = attach(second, **OFTEN)
    controlled = train(other, second, batches(80), closure=closure)
    assert torch.equal(other[0].weight, held)
    assert torch.equal(other.unused, torch.ones(3))
    assert controlled[-1] < controlled[0]
    assert controller.probes > 40
    assert losses[0] == controlled[0]


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_zero_initialized_net_starts(kind, closure):
    net = nn.Linear(4, 3)
    for p in net.parameters():
        nn.init.zeros_(p)
    optimizer = kind(net.parameters(), lr=0.1)
    _ = attach(optimizer)
    losses = train(net, optimizer, batches(100), closure=closure)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_gradients_of_zero_are_waited_out(kind, closure):
    net = classifier()
    optimizer = kind(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    start = weights(net)
    train(net, optimizer, batches(5), closure=closure, weight=0.0)
    assert torch.equal(weights(net), start)
    losses = train(net, optimizer, batches(100), closure=closure)
    assert losses[-1] < 0.7 * losses[0]
    train(net, optimizer, batches(45), closure=closure, weight=0.0)
    assert 0 < controller.learning_rate < 1e6
    again = train(net, optimizer, batches(20), closure=closure)
    assert again[-1] < losses[0]


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, NAdam, RAdam, Adamax, Adagrad, RMSprop, Adadelta])
def test_zero_gradients_at_the_start_do_not_strand_the_rate(kind):
    parameter = nn.Parameter(torch.ones(5))
    optimizer = kind([parameter], lr=1e-3)
    controller = attach(optimizer, **OFTEN)
    losses, rates = [], []
    for step in range(130):
        optimizer.zero_grad()
        loss = (parameter - 3).square().sum() * float(step >= 50)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        rates.append(controller.learning_rate)
    assert controller.history[0].step == 52  # the first one with a gradient before and after
    assert rates[49] == 0.0
    assert rates[50] == pytest.approx(1e-5 * 5**0.5 / rates_unit(kind), rel=0.2)
    assert losses[-1] < 0.05 * losses[50]


def rates_unit(kind):
    """Length of the first step per unit of rate, where each of five gradients is -4."""
    entry = {SGD: 4.0, RMSprop: 10.0, NAdam: 1.05, Adadelta: 1e-3 / (0.1**0.5)}
    return entry.get(kind, 1.0) * 5**0.5


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_tiny_gradients_are_served(kind, closure):
    net = classifier()
    optimizer = kind(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 120)
    _ = attach(optimizer)
    losses = train(net, optimizer, batches(120), closure=closure, weight=1e-8, scheduler=scheduler)
    assert sum(losses[-10:]) < 0.35 * sum(losses[:10])


def test_dead_net_is_no_harm():
    net = classifier()
    with torch.no_grad():
        net[2].weight.zero_()
        net[2].bias.zero_()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    for x, _ in batches(60):
        optimizer.zero_grad()
        (net(x) * 0).sum().backward()
        optimizer.step()
    assert controller.learning_rate == 0.0
    assert controller.gradient_evaluations == 60  # nothing moved, so nothing was probed
    assert all(torch.isfinite(p).all() for p in net.parameters())


def test_step_that_rounds_away_makes_the_rate_double():
    parameter = nn.Parameter(torch.full((4,), 1e6))
    optimizer = SGD([parameter], lr=0.1)
    controller = attach(optimizer, probe="consecutive", max_lr=1e-12)
    rates = []
    for _ in range(10):
        parameter.grad = torch.ones(4)
        optimizer.step()
        rates.append(optimizer.param_groups[0]["galatune"].rate.rate)
    assert rates[1:] == [2 * rate for rate in rates[:-1]]
    assert controller.learning_rate == 1e-12


@pytest.mark.parametrize("probe", ["graph", "closure"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_loss_divides_the_rate_and_training_recovers(bad, probe):
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, **OFTEN, probe=probe)

    def step(x, y, weight=1.0):
        def closure():
            optimizer.zero_grad()
            loss = weight * functional.cross_entropy(net(x), y)
            loss.backward()
            return loss

        if probe == "closure":
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()

    data = batches(120)
    for x, y in data[:30]:
        step(x, y)
    rate, kept = controller.learning_rate, {k: v.clone() for k, v in net.state_dict().items()}
    step(*data[30], weight=bad)
    net.load_state_dict(kept)
    assert controller.learning_rate == pytest.approx(rate / 4)
    step(*data[31], weight=bad)
    net.load_state_dict(kept)
    assert [event.kind for event in controller.events].count("non-finite") == 1
    for x, y in data[32:]:
        step(x, y)
    assert controller.learning_rate > rate / 4
    assert functional.cross_entropy(net(data[-1][0]), data[-1][1]) < 0.6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_half_precision_parameters_do_not_fail(kind, dtype):
    for closure in (False, True):
        net = classifier(dtype=dtype)
        options = {"eps": 1e-4} if kind is AdamW else {}  # 1e-8 is 0 in float16
        optimizer = kind(net.parameters(), lr=0.1, **options)
        controller = attach(optimizer)
        train(net, optimizer, batches(50, dtype=dtype), closure=closure)
        assert all(torch.isfinite(p).all() for p in net.parameters())
        assert controller.learning_rate > 0


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_complex_parameters_are_pairs_of_real_ones(kind, closure):
    def run(is_complex):
        start = torch.tensor([[1.0, -2.0], [0.5, 3.0], [2.0, 0.1]], dtype=torch.float64)
        parameter = nn.Parameter(torch.view_as_complex(start.clone()) if is_complex else start.clone())
        optimizer = kind([parameter], lr=0.1)
        controller = attach(optimizer)
        target, curvature = torch.ones(3, 2).double(), torch.tensor([[1.0, 5.0]]).double()
        for _ in range(60):

            def closure_():
                optimizer.zero_grad()
                real = torch.view_as_real(parameter) if is_complex else parameter
                loss = (curvature * (real - target).square()).sum()
                loss.backward()
                return loss

            if closure:
                optimizer.step(closure_)
            else:
                closure_()
                optimizer.step()
        return controller.learning_rate

    assert run(True) == pytest.approx(run(False), rel=1e-9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("closure", [False, True], ids=["graph", "closure"])
def test_compiled_net_trains(closure):
    def run(control):
        net = classifier(norm=True)
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer, min_lr=0.1, max_lr=0.1) if control else None
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
        train(compiled, optimizer, batches(15), closure=closure)
        return controller, weights(net)

    _, expected = run(False)
    controller, values = run(True)
    assert controller.probe == ("closure" if closure else "consecutive")
    assert controller.probes > 5
    assert torch.equal(values, expected)


def test_closing_a_loop_early_leaves_the_optimizer_usable():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer)
    run = steps(net, optimizer, batches(10))
    next(run)
    run.close()
    assert len(train(net, optimizer, batches(5))) == 5
