"""Gradient pairs: right numbers, no trace left in the loop, and a way out where a probe cannot serve."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop

from galatune import attach
from galatune.controller.closure import ClosureProbe
from galatune.controller.graph import GraphProbe
from galatune.errors import ProbeError

from .training import OnceOnly, batches, classifier, steps, train, weights


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
    assert probe.evaluate(closure) == 2  # the first is made twice
    closure()
    changes = probe.pair()
    assert torch.equal(stacked(changes, "before"), gradient_at(net, before, evaluate))
    assert torch.equal(stacked(changes, "after"), gradient_at(net, after, evaluate))
    assert not probe.ready


@pytest.mark.parametrize("set_to_none", [True, False])
def test_backward_calls_before_zero_grad_do_not_count(set_to_none):
    def run(attack):
        net = classifier(dtype=torch.float64)
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer, probe="graph")
        for x, y in batches(60, dtype=torch.float64):
            if attack:
                x = x.clone().requires_grad_()
                functional.cross_entropy(net(x), y).mul(50).backward()
                x = x.detach()
            optimizer.zero_grad(set_to_none=set_to_none)
            functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        return controller.learning_rate, weights(net)

    (rate, values), (attacked_rate, attacked_values) = run(False), run(True)
    assert attacked_rate == rate
    assert torch.equal(attacked_values, values)


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


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_scaled_loss_that_is_unscaled_before_the_step_does_not_matter(kind):
    def run(enabled):
        net = classifier()
        optimizer = kind(net.parameters(), lr=0.1)
        controller = attach(optimizer, probe="graph")
        scaler = torch.amp.GradScaler("cpu", enabled=enabled)
        for x, y in batches(60):
            optimizer.zero_grad()
            scaler.scale(functional.cross_entropy(net(x), y)).backward()
            scaler.step(optimizer)
            scaler.update()
        return [rate for _, rate in controller.trace.points()]

    assert run(True) == pytest.approx(run(False), rel=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda loss, net: loss.backward(retain_graph=True),
        lambda loss, net: loss.backward(inputs=list(net.parameters())),
        lambda loss, net: loss.backward(inputs=net.parameters()),  # a generator, read once
        lambda loss, net: torch.autograd.backward([loss]),
        lambda loss, net: torch.autograd.backward(t for t in (loss,)),
        lambda loss, net: torch.autograd.backward(loss, torch.ones_like(loss)),
        lambda loss, net: torch.autograd.backward(torch.autograd.graph.get_gradient_edge(loss)),
        lambda loss, net: loss.backward(torch.tensor(1.0)),
    ],
)
def test_every_spelling_of_backward_is_seen(call):
    def run(call):
        net = classifier()
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer, probe="graph")
        for x, y in batches(45):
            optimizer.zero_grad()
            call(functional.cross_entropy(net(x), y), net)
            optimizer.step()
        return controller.probes, controller.learning_rate

    assert run(call) == run(lambda loss, net: loss.backward())


@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph=True:UserWarning")
def test_gradient_penalty_through_create_graph_is_served():
    net = classifier(dtype=torch.float64)
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe="graph")
    for x, y in batches(30, dtype=torch.float64):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward(create_graph=True)
        penalty = sum(p.grad.square().sum() for p in net.parameters())
        (0.01 * penalty).backward()
        optimizer.step()
        for p in net.parameters():
            p.grad = None
    assert controller.probes == 29
    gc.collect()


def test_backward_into_other_inputs_is_not_counted():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe="graph")
    for x, y in batches(20):
        x.requires_grad_()
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        functional.cross_entropy(net(x), y).backward(inputs=[x])
        optimizer.step()
    assert controller.probes == 19
    assert controller.learning_rate > 0


def test_function_that_differentiates_once_falls_back_with_an_event():
    net = nn.Sequential(classifier(), OnceOnly())
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    losses = train(net, optimizer, batches(120))
    assert controller.probe == "consecutive"
    reasons = [event.reason for event in controller.events if event.kind == "probe"]
    assert "differentiated twice" in reasons[1]
    assert "no torch DataLoader" in reasons[2]
    assert not any("\n" in reason for reason in reasons)
    assert sum(losses[-20:]) < sum(losses[:20])


def test_function_that_differentiates_once_is_an_error_where_graph_was_asked():
    net = nn.Sequential(classifier(), OnceOnly())
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer, probe="graph")
    with pytest.raises(ProbeError, match="probe='auto'"):
        train(net, optimizer, batches(3))
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_fallback_changes_no_gradient():
    def gradients(control):
        net = nn.Sequential(classifier(dropout=True), OnceOnly())
        optimizer = SGD(net.parameters(), lr=0.1)
        if control:
            attach(optimizer, min_lr=0.1, max_lr=0.1)
        train(net, optimizer, batches(10))
        return weights(net)

    assert torch.equal(gradients(True), gradients(False))


def test_gradients_set_by_hand_are_served_by_consecutive():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    for x, y in batches(60):
        parameters = list(net.parameters())
        for p, g in zip(
            parameters, torch.autograd.grad(functional.cross_entropy(net(x), y), parameters), strict=True
        ):
            p.grad = g
        optimizer.step()
    assert controller.probe == "consecutive"
    assert controller.probes > 30


def drawing(net, optimizer, data):
    """A closure that takes the next minibatch at each call."""
    stream = iter(data)

    def closure():
        x, y = next(stream)
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), y)
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("zeros", [False, True], ids=["", "zero-initialized"])
def test_closure_that_draws_a_minibatch_is_refused(zeros):
    net = nn.Linear(4, 3)
    if zeros:  # then the loss of every minibatch is ln 3
        for p in net.parameters():
            nn.init.zeros_(p)
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer, probe="closure")
    closure = drawing(net, optimizer, batches(10))
    optimizer.step(closure)
    with pytest.raises(ProbeError, match="drew a new minibatch") as error:
        optimizer.step(closure)
    assert "\n" not in str(error.value)


def test_closure_that_draws_a_minibatch_is_served_by_the_graph_under_auto():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    closure = drawing(net, optimizer, batches(150))
    losses = [float(optimizer.step(closure).detach()) for _ in range(140)]
    assert controller.probe == "graph"
    assert controller.probes > 40
    assert sum(losses[-10:]) < sum(losses[:10])


def test_closure_that_returns_nothing_is_served():
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    for x, y in batches(20):

        def closure(x=x, y=y):
            optimizer.zero_grad()
            functional.cross_entropy(net(x), y).backward()

        optimizer.step(closure)
    assert controller.probe == "closure"
    assert controller.probes == 19


def test_step_without_closure_after_closures_falls_back():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    train(net, optimizer, batches(10), closure=True)
    assert controller.probe == "closure"
    train(net, optimizer, batches(10))
    assert controller.probe == "graph"


def test_extra_evaluation_leaves_no_trace():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 3)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls = self.calls + 1  # another tensor takes the buffer's place
            return self.inner(x)

    net = Counting()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe="closure")
    seen = []
    for x, y in batches(20):

        def closure(x=x, y=y):
            optimizer.zero_grad()
            noise = random.random() + np.random.rand() + torch.rand(()).item()
            loss = functional.cross_entropy(net(x + 0.01 * noise), y)
            loss.backward()
            seen.append(noise)
            return loss

        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        optimizer.step(closure)
    assert controller.probes == 19
    assert net.calls.item() == 20
    assert len(seen) == 20 + 19 + 1
    assert len(set(seen)) == 1


def test_extra_evaluation_leaves_other_gradients_alone():
    def run(control):
        torch.manual_seed(0)
        generator, critic, embedding = nn.Linear(4, 4), nn.Linear(4, 1), torch.ones(4, requires_grad=True)
        first, second = SGD(generator.parameters(), lr=0.1), SGD(critic.parameters(), lr=0.1)
        controllers = []
        if control:
            pinned = {"probe": "closure", "min_lr": 0.1, "max_lr": 0.1}
            controllers = [attach(first, **pinned), attach(second, **pinned)]
        for x, _ in batches(30):

            def generate(x=x):
                first.zero_grad()
                loss = -critic(generator(x * embedding)).tanh().mean()
                loss.backward()
                return loss

            def criticize(x=x):
                loss = critic(generator(x * embedding)).tanh().mean() - critic(x).tanh().mean()
                second.zero_grad()
                loss.backward()
                return loss

            first.step(generate)
            second.step(criticize)
        return controllers, [
            tensor.grad for tensor in (*generator.parameters(), *critic.parameters(), embedding)
        ]

    _, expected = run(False)
    controllers, gradients = run(True)
    assert [controller.probes for controller in controllers] == [29, 29]
    assert all(torch.equal(one, other) for one, other in zip(gradients, expected, strict=True))


def test_reentrant_checkpoint_inside_a_closure_leaves_other_gradients_alone():
    from torch.utils.checkpoint import checkpoint

    def run(control):
        torch.manual_seed(0)
        body, other = nn.Linear(4, 4), nn.Linear(4, 3)
        optimizer = SGD(body.parameters(), lr=0.1)
        controller = attach(optimizer, min_lr=0.1, max_lr=0.1) if control else None
        for x, y in batches(10):

            def closure(x=x, y=y):
                optimizer.zero_grad()
                hidden = checkpoint(lambda t: other(t).tanh(), body(x), use_reentrant=True)
                loss = functional.cross_entropy(hidden, y)
                loss.backward()
                return loss

            optimizer.step(closure)
        return controller, weights(body), other.weight.grad

    _, expected, gradient = run(False)
    controller, values, other_gradient = run(True)
    assert controller.probes == 9
    assert torch.equal(values, expected)
    assert torch.equal(other_gradient, gradient)


def test_two_optimizers_in_an_ordinary_loop_are_each_probed():
    torch.manual_seed(0)
    actor, critic = nn.Linear(4, 3), nn.Linear(4, 3)
    first, second = SGD(actor.parameters(), lr=0.1), AdamW(critic.parameters(), lr=0.1)
    a, b = attach(first), attach(second)
    losses = []
    for x, y in batches(100):
        first.zero_grad()
        functional.cross_entropy(actor(x), y).backward()
        first.step()
        second.zero_grad()
        loss = functional.cross_entropy(critic(x) + actor(x).detach(), y)
        loss.backward()
        second.step()
        losses.append(loss.item())
    assert a.probe == b.probe == "graph"
    assert a.probes == b.probes == 45
    assert losses[-1] < losses[0] / 2


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
    controller = attach(second)
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
    controller = attach(optimizer)
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
        rates.append(optimizer.param_groups[0]["galatune"]["rate"])
    assert rates[1:] == [2 * rate for rate in rates[:-1]]
    assert controller.learning_rate == 1e-12


@pytest.mark.parametrize("probe", ["graph", "closure"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_loss_divides_the_rate_and_training_recovers(bad, probe):
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe=probe)

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
