"""Low precision: bfloat16 parameters, float16 gradients under a GradScaler."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from galatune import attach

from .test_convergence import STEPS, Perceptron
from .training import batches, classifier, weights


def bfloat16_loss(kind, lr, *, control, closure=False, **options):
    task = Perceptron()
    net, x, y = task.net.bfloat16(), task.x.bfloat16(), task.y.bfloat16()
    optimizer = kind(net.parameters(), lr=lr, **options)
    scheduler = CosineAnnealingLR(optimizer, STEPS)
    if control:
        attach(optimizer)
    for step in range(STEPS):

        def evaluate(step=step):
            optimizer.zero_grad()
            loss = functional.mse_loss(net(x[task.order[step]]), y[task.order[step]])
            loss.backward()
            return loss

        if closure:
            optimizer.step(evaluate)
        else:
            evaluate()
            optimizer.step()
        scheduler.step()
    final = functional.mse_loss(net(x).float(), task.y).item()
    return final if math.isfinite(final) else math.inf


@pytest.mark.parametrize("closure", [False, True], ids=["graph", "closure"])
@pytest.mark.parametrize(("kind", "options"), [(SGD, {}), (SGD, {"momentum": 0.9}), (AdamW, {})])
def test_bfloat16_net_is_trained_about_as_well_as_with_a_tuned_rate(kind, options, closure):
    best = min(
        bfloat16_loss(kind, 10.0**e, control=False, **options) for e in (-3, -2.5, -2, -1.5, -1, -0.5, 0)
    )
    assert bfloat16_loss(kind, 123.0, control=True, closure=closure, **options) <= 1.3 * best + 0.02


def scaled_run(init_scale, *, clip=None, kind=SGD):
    net = classifier(dtype=torch.float64)
    optimizer = kind(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=init_scale, growth_interval=10, enabled=init_scale > 0)
    for inputs, labels in batches(60, dtype=torch.float64):
        optimizer.zero_grad()
        scaler.scale(functional.cross_entropy(net(inputs), labels)).backward()
        if clip is not None:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()
    return weights(net), [rate for _, rate in controller.trace.points()]


@pytest.mark.parametrize("kind", [SGD, AdamW])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_loss_scale_that_grows_leaves_the_rate_alone(kind, clip):
    plain, rates = scaled_run(0, clip=clip, kind=kind)
    scaled, scaled_rates = scaled_run(2.0**10, clip=clip, kind=kind)
    assert scaled_rates == pytest.approx(rates, rel=1e-6)
    assert scaled.numpy() == pytest.approx(plain.numpy(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_float16_step_that_overflows_is_skipped_and_control_goes_on(kind):
    net = classifier()
    optimizer = kind(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    losses = []
    for inputs, labels in batches(80):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = functional.cross_entropy(net(inputs), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert controller.steps < 80  # the first ones overflowed
    assert "non-finite" not in [event.kind for event in controller.events]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
