"""The closure probe: its extra evaluation leaves no trace, and a closure that draws is found out."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, AdamW

from controller.training import OFTEN, batches, classifier, train, weights
from galatune import attach
from galatune.errors import ProbeError


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
    controller = attach(optimizer, **OFTEN)
    closure = drawing(net, optimizer, batches(150))
    losses = [float(optimizer.step(closure).detach()) for _ in range(140)]
    assert controller.probe == "graph"
    assert controller.probes > 40
    assert sum(losses[-10:]) < sum(losses[:10])


def test_closure_that_returns_nothing_is_served():
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=0.1)
    controller = attach(optimizer, **OFTEN)
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
    controller = attach(optimizer, **OFTEN, probe="closure")
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
            controllers = [attach(first, **OFTEN, **pinned), attach(second, **OFTEN, **pinned)]
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
