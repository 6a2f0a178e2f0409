"""Accelerate: prepared optimizers and schedulers, accumulation, clipping, checkpoints."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import galatune
from galatune.errors import ControlError

from .training import OFTEN, Result, assert_unchanged, control, digits, load, make_net, weights

EPOCHS = 3


def train(
    rate,
    seed,
    how,
    *,
    accumulate=1,
    clip=None,
    cosine=False,
    precision="no",
    kind="AdamW",
    attach=None,
    save=None,
    resume=None,
    epochs=EPOCHS,
    shuffle=False,
):
    accelerate, net = load("accelerate"), make_net(seed)
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = accelerate.Accelerator(
        cpu=True, gradient_accumulation_steps=accumulate, mixed_precision=precision
    )
    rates, steps, applied = [], 0, []
    with control(how) as capture:
        inner = getattr(torch.optim, kind)(net.parameters(), lr=rate)
        total = 14 * epochs // accumulate
        curve = (
            (lambda step: 0.5 + 0.5 * torch.cos(torch.tensor(3.14159 * step / total)).item())
            if cosine
            else (lambda step: 1.0)
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(inner, curve)
        loader = digits().loader(seed, shuffle=shuffle)
        model, optimizer, loader, scheduler = accelerator.prepare(net, inner, loader, scheduler)
        controller = None if attach is None else attach(inner, optimizer)
        if resume is not None:
            accelerator.load_state(resume)
        for _ in range(epochs):
            for inputs, labels in loader:
                with accelerator.accumulate(model):
                    loss = functional.cross_entropy(model(inputs), labels)
                    accelerator.backward(loss)
                    if accelerator.sync_gradients and clip is not None:
                        accelerator.clip_grad_norm_(model.parameters(), clip)
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
                if accelerator.sync_gradients:
                    steps += 1
                    rates.append(scheduler.get_last_lr())
                    if controller is not None:
                        applied.append(controller.learning_rate)
        if save is not None:
            accelerator.save_state(save)
    noted = {"rates": rates, "steps": steps, **({"applied": applied} if attach is not None else {})}
    return Result(weights(net), digits().loss(net), capture, noted)


CASES = {
    "plain": {},
    "sgd": {"kind": "SGD"},
    "accumulate": {"accumulate": 2},
    "clip": {"clip": 0.1},
    "bf16": {"precision": "bf16"},
}


@pytest.mark.parametrize("name", CASES)
def test_pinned_training_is_the_fixed_one(name):
    assert_unchanged(train, **CASES[name])


@pytest.mark.parametrize("name", [*CASES, "cosine"])
def test_is_controlled(name):
    options = {**CASES, "cosine": {"cosine": True, "accumulate": 2}}[name]
    first, second = (train(rate, 0, "often", **options) for rate in (1e-6, 10.0))
    plain = train(1e-6, 0, "off", **options)
    assert torch.equal(first.weights, second.weights)
    assert first.seen == plain.seen
    assert first.controller.steps == first.seen["steps"]
    assert first.capture.names == [options.get("kind", "AdamW")]
    assert first.controller.probes > 5
    assert not first.capture.left_alone


def test_resume_is_bit_equal(tmp_path):
    whole = train(0.01, 0, "often", epochs=3)
    train(0.01, 0, "often", epochs=1, save=tmp_path)
    rest = train(0.01, 0, "often", epochs=2, resume=tmp_path)
    assert rest.controller.steps == whole.controller.steps
    assert torch.equal(rest.weights, whole.weights)


@pytest.mark.parametrize("which", ["inner", "wrapper"])
def test_attached_by_either_name(which):
    """The wrapper has the groups of the optimizer inside it; attaching to either controls the training."""
    made = []

    def attach(inner, wrapper):
        try:
            made.append(galatune.attach(inner if which == "inner" else wrapper, probe_schedule=OFTEN))
            return made[0]
        except ControlError as refusal:
            made.append(refusal)

    result = train(1e-6, 0, "off", attach=attach)
    other = train(10.0, 0, "often")
    if isinstance(made[0], ControlError):
        assert "AdamW" in str(made[0])
        assert "\n" not in str(made[0])
    else:
        assert torch.equal(result.weights, other.weights)
        assert made[0].steps == result.seen["steps"]


def attach_in_one_line(inner, optimizer):
    """After `accelerator.prepare`, which handed out the wrapper."""
    return galatune.attach(optimizer.optimizer, probe_schedule=OFTEN)


def test_attached_in_one_line_the_rate_read_is_the_applied_one():
    moved = []

    def attach(inner, optimizer):
        first = inner.param_groups[0]["params"][0]
        inner.register_step_pre_hook(lambda *_: moved.append(first.detach().clone()))

        def after(*_):
            moved[-1] = ((moved[-1] - first.detach()).double().norm() / first.grad.double().norm()).item()

        inner.register_step_post_hook(after)
        return attach_in_one_line(inner, optimizer)

    for options in ({}, {"accumulate": 2, "cosine": True}, {"clip": 0.1}):
        moved.clear()
        result = train(1e-6, 0, "off", kind="SGD", attach=attach, **options)
        assert len(moved) == len(result.seen["applied"]) == result.seen["steps"]
        assert result.seen["applied"] == pytest.approx(moved, rel=1e-3, abs=1e-12)


def test_attached_in_one_line_resume_is_bit_equal(tmp_path):
    whole = train(0.01, 0, "off", epochs=3, attach=attach_in_one_line)
    train(0.01, 0, "off", epochs=1, save=tmp_path, attach=attach_in_one_line)
    rest = train(0.01, 0, "off", epochs=2, resume=tmp_path, attach=attach_in_one_line)
    assert rest.seen["applied"] == whole.seen["applied"][14:]
    assert torch.equal(rest.weights, whole.weights)
