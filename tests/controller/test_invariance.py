"""What must not matter: the rate in the code, the scale of the loss, that probes fire."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from galatune import attach
from galatune.controller.groups.controlled_groups import ControlledGroups

from .test_reference_rule import SignDescent
from .training import OFTEN, batches, classifier, train, weights

STEPS = 70


def controlled_run(kind, lr, *, weight=1.0, cosine=True, dtype=torch.float32, closure=False, **options):
    net = classifier(dtype=dtype)
    optimizer = kind(net.parameters(), lr=lr, **options)
    scheduler = CosineAnnealingLR(optimizer, STEPS) if cosine else None
    controller = attach(optimizer)
    train(net, optimizer, batches(STEPS, dtype=dtype), scheduler=scheduler, weight=weight, closure=closure)
    return weights(net), [rate for _, rate in controller.rate_curve.points()]


@pytest.mark.parametrize("closure", [False, True], ids=["graph", "closure"])
@pytest.mark.parametrize("cosine", [False, True], ids=["constant", "cosine"])
@pytest.mark.parametrize(
    ("kind", "options"), [(SGD, {"momentum": 0.9, "weight_decay": 1e-3}), (AdamW, {}), (SignDescent, {})]
)
def test_initial_rate_does_not_matter_to_the_last_digit(kind, options, cosine, closure):
    first, first_rates = controlled_run(kind, 1e-3, cosine=cosine, closure=closure, **options)
    assert max(first_rates) > 100 * first_rates[0]  # it did rise
    for lr in (1e-6, 10.0):
        other, other_rates = controlled_run(kind, lr, cosine=cosine, closure=closure, **options)
        assert other_rates == first_rates
        assert torch.equal(other, first)


@pytest.mark.parametrize("closure", [False, True], ids=["graph", "closure"])
def test_loss_scaled_by_a_power_of_two_gives_the_same_sgd_to_the_last_digit(closure):
    plain, rates = controlled_run(SGD, 0.1, momentum=0.9, closure=closure)
    scaled, scaled_rates = controlled_run(SGD, 0.1, momentum=0.9, closure=closure, weight=2.0**-20)
    assert torch.equal(plain, scaled)
    assert [rate * 2.0**-20 for rate in scaled_rates] == rates


@pytest.mark.parametrize("weight", [1e-6, 1e4])
@pytest.mark.parametrize("closure", [False, True], ids=["graph", "closure"])
@pytest.mark.parametrize(("kind", "options"), [(SGD, {}), (Adam, {"eps": 1e-30}), (AdamW, {"eps": 1e-30})])
def test_scaled_loss_gives_the_same_training_to_four_digits(kind, options, closure, weight):
    setting = {"dtype": torch.float64, "closure": closure, **options}
    plain, _ = controlled_run(kind, 0.1, **setting)
    scaled, _ = controlled_run(kind, 0.1, weight=weight, **setting)
    assert scaled.numpy() == pytest.approx(plain.numpy(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("probe", ["closure", "graph", "consecutive"])
@pytest.mark.parametrize(
    ("kind", "options"), [(SGD, {"momentum": 0.9, "nesterov": True}), (AdamW, {}), (SignDescent, {})]
)
def test_probes_at_a_pinned_rate_change_no_bit(monkeypatch, probe, kind, options):
    monkeypatch.setattr(ControlledGroups, "_applied_rate", lambda self, group, state, factor: group["lr"])

    def run(control: bool):
        net = classifier(norm=True, dropout=True)
        random.seed(3)
        np.random.seed(3)
        optimizer = kind(net.parameters(), lr=0.02, **options)
        scheduler = CosineAnnealingLR(optimizer, STEPS)
        controller = attach(optimizer, **OFTEN, probe=probe) if control else None
        losses = train(
            net, optimizer, batches(STEPS), closure=probe == "closure", scheduler=scheduler, noisy=True
        )
        gradients = torch.cat([p.grad.flatten() for p in net.parameters()])
        drawn = (random.random(), np.random.rand(), torch.rand(1).item())
        return controller, losses, weights(net), gradients, drawn

    _, losses, values, gradients, drawn = run(control=False)
    controller, *pinned = run(control=True)
    assert controller.probe == probe
    assert controller.probes > 40
    assert pinned[0] == losses
    assert torch.equal(pinned[1], values)
    assert torch.equal(pinned[2], gradients)
    assert pinned[3] == drawn


@pytest.mark.parametrize("probe", ["closure", "graph"])
def test_equal_bounds_pin_the_rate_to_the_last_bit(probe):
    def run(**options):
        net = classifier(norm=True, dropout=True)
        optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
        if options:
            attach(optimizer, min_lr=0.05, max_lr=0.05, **options)
        return train(net, optimizer, batches(STEPS), closure=probe == "closure"), weights(net)

    losses, values = run()
    pinned_losses, pinned_values = run(probe=probe)
    assert pinned_losses == losses
    assert torch.equal(pinned_values, values)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_implementations_of_one_optimizer_agree(kind, fused):
    loop, _ = controlled_run(kind, 0.1, dtype=torch.float64, foreach=False)
    other, _ = controlled_run(
        kind, 0.1, dtype=torch.float64, **({"fused": True} if fused else {"foreach": True})
    )
    assert other.numpy() == pytest.approx(loop.numpy(), rel=1e-6, abs=1e-8)
