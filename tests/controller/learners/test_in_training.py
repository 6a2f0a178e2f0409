"""Alignments and learners in a training."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW

from controller.test_guarded_training import run
from controller.training import batches, classifier, train, weights
from galatune import attach
from galatune.controller.learners import (
    FTRL,
    CoinBetting,
    OnlineGradientDescent,
    OptimisticFTRL,
)
from galatune.errors import ControlError

# -- what the gradient is compared with


def test_direction_alignment_is_that_of_its_equation():
    """SGD with momentum: u is the buffer over what one step of it is worth."""
    net, data = classifier(dtype=torch.float64), batches(8, dtype=torch.float64)
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    controller = attach(optimizer, alignment="previous_update")
    expected, before, direction = [], {}, []
    for inputs, target in data:
        if before:
            loss = cross_entropy(torch.func.functional_call(net, before, (inputs,)), target)
            g0 = torch.autograd.grad(loss, list(before.values()))
            dot = sum(float((a * b).sum()) for a, b in zip(g0, direction, strict=True))
            expected.append(dot / sum(float((b * b).sum()) for b in direction))
        before = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
        optimizer.zero_grad()
        cross_entropy(net(inputs), target).backward()
        optimizer.step()
        direction = [0.1 * optimizer.state[p]["momentum_buffer"] for p in net.parameters()]
    # d is the difference of parameters a step of 1e-5 apart.
    assert [record.alignment for record in controller.history] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_direction_alignment_leaves_the_curvature_as_it_is(kind):
    found = {}
    for alignment in ("same_minibatch", "previous_update"):
        _, _, controller, training = run(count=3, kind=kind, alignment=alignment)
        list(training)
        found[alignment] = controller.history[0]
    one, other = found.values()
    assert (one.lipschitz, one.curvature) == (other.lipschitz, other.curvature)
    assert one.alignment != other.alignment
    assert one.gradient_norm_squared == other.gradient_norm_squared


def test_unknown_alignment_is_refused():
    with pytest.raises(ControlError, match="auto, previous_update, same_minibatch"):
        attach(SGD(classifier().parameters(), lr=0.1), alignment="sideways")


# -- learners in a run


@pytest.mark.parametrize(
    "learner", [FTRL(), OptimisticFTRL(), OnlineGradientDescent(discount=0.9), CoinBetting()]
)
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_every_learner_trains(kind, learner):
    net, _, _, training = run(count=150, kind=kind, learner=learner)
    losses = list(training)
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])
    assert weights(net).isfinite().all()


def test_a_learner_with_a_first_rate_starts_with_it():
    _, _, controller, training = run(count=5, learner=FTRL(initial_rate=0.05))
    next(training)
    assert controller.learning_rate == 0.05
    next(training)
    assert controller.history[0].played_rate == 0.05
    assert [event.reason for event in controller.events if event.kind == "start"] == [
        "the first rate is the learner's own"
    ]


def test_played_rate_is_before_group_ratios_and_momentum():
    net, data = classifier(), batches(6)
    groups = [{"params": net[0].parameters(), "lr": 0.02}, {"params": net[2].parameters(), "lr": 0.2}]
    optimizer = SGD(groups, momentum=0.9)
    controller = attach(optimizer)
    train(net, optimizer, data)
    applied = [record.learning_rate for record in controller.history]
    played = [record.played_rate for record in controller.history]
    assert [0.1 * rate for rate in played[1:]] == pytest.approx(applied[:-1])
