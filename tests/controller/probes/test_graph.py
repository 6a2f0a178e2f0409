"""The graph probe: every way to call backward is seen, and what cannot be differentiated twice falls back."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, AdamW

from controller.training import OFTEN, OnceOnly, batches, classifier, train, weights
from galatune import attach
from galatune.errors import ProbeError


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
        return [rate for _, rate in controller.rate_curve.points()]

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
    controller = attach(optimizer, **OFTEN, probe="graph")
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
    controller = attach(optimizer, **OFTEN, probe="graph")
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


def test_two_optimizers_in_an_ordinary_loop_are_each_probed():
    torch.manual_seed(0)
    actor, critic = nn.Linear(4, 3), nn.Linear(4, 3)
    first, second = SGD(actor.parameters(), lr=0.1), AdamW(critic.parameters(), lr=0.1)
    a, b = attach(first, **OFTEN), attach(second, **OFTEN)
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
