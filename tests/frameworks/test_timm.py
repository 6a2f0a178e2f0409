"""timm's optimizers and schedulers."""

from __future__ import annotations

import functools
import importlib.util
import sys
import types

import pytest
import torch

from . import loop
from .training import Result, assert_unchanged, control, digits, make_net, weights


@functools.cache
def load_timm():
    """`timm.optim` and `timm.scheduler` without timm's models.

    The models need torchvision, which does not import beside torch's CPU build (operator torchvision::nms
    does not exist). The optimizers need one function of theirs, for groups by layer, not called here.
    """
    spec = importlib.util.find_spec("timm")
    if spec is None:
        pytest.skip("timm is not installed: make .venv/.installed-frameworks")
    for name, path in (("timm", spec.submodule_search_locations), ("timm.models", [])):
        module = types.ModuleType(name)
        module.__path__ = list(path)
        sys.modules[name] = module
    sys.modules["timm.models"].group_parameters = None
    import timm.optim
    import timm.scheduler

    return timm


def make(name, **options):
    def made(net, rate):
        return load_timm().optim.create_optimizer_v2(net, opt=name, lr=rate, weight_decay=0.01, **options)

    return made


CONTROLLED = (
    *("adabelief", "adafactor", "adafactorbv", "adamp", "adamuon", "adamw", "adamwlegacy", "adan", "adopt"),
    *("lamb", "lambw", "laprop", "lars", "larc", "lion", "lookahead_adamw", "madgrad", "madgradw", "mars"),
    *("muon", "nadamw", "nlarc", "nlars", "novograd", "radam", "rmsproptf", "sgd", "sgdp", "sgdw", "nmuon"),
    *("cadamw", "clion", "cmars", "csgdw"),  # cautious: entries against the gradient are left out
)


@pytest.mark.parametrize("name", CONTROLLED)
def test_is_controlled(name):
    first, second = (loop.train(rate, 0, "often", make=make(name), epochs=2) for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    assert first.controller.steps == 28
    assert first.controller.probes > 5


@pytest.mark.parametrize("name", ["lamb", "lion", "adopt", "muon", "madgrad", "lookahead_adamw"])
def test_pinned_training_is_the_fixed_one(name):
    assert_unchanged(loop.train, make=make(name), epochs=2)


CORRECTED = ("adamc", "adafactorbvc", "adoptc", "lionc", "nadamc", "sgdc", "cadamc")


@pytest.mark.parametrize("name", CORRECTED)
def test_decay_relative_to_the_first_rate_is_left_alone(name):
    """Its decay is divided by the rate that it was built with."""
    result = loop.train(1e-6, 0, "on", make=make(name), epochs=2)
    assert torch.equal(result.weights, loop.train(1e-6, 0, "off", make=make(name), epochs=2).weights)
    assert not result.capture.controllers
    assert "decay" in result.capture.left_alone[0].reason


SCHEDULES = {
    "cosine": {"sched": "cosine", "warmup_epochs": 1, "warmup_lr": 1e-7},
    "step": {"sched": "step", "decay_milestones": [1, 2], "decay_epochs": 1},
    "poly": {"sched": "poly"},
    "tanh": {"sched": "tanh"},
}


def train_scheduled(rate, seed, how, *, schedule, per_step=True, epochs=4):
    net, rates = make_net(seed), []
    options = SCHEDULES[schedule]
    with control(how) as capture:
        optimizer = make("adamw")(net, rate)
        timm = load_timm()
        scheduler, _ = timm.scheduler.create_scheduler_v2(
            optimizer,
            num_epochs=epochs,
            min_lr=0.0,
            step_on_epochs=not per_step,
            updates_per_epoch=14,
            **options,
        )
        updates = 0
        for epoch in range(epochs):
            for inputs, labels in digits().batches(100 * seed + epoch):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(inputs), labels).backward()
                optimizer.step()
                updates += 1
                scheduler.step_update(updates)
                rates.append(optimizer.param_groups[0]["lr"])
            scheduler.step(epoch + 1)
    return Result(weights(net), digits().loss(net), capture, {"rates": rates})


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule_is_as_without_control(schedule, per_step):
    plain, run = (
        train_scheduled(0.1, 0, how, schedule=schedule, per_step=per_step) for how in ("off", "often")
    )
    assert run.seen == plain.seen
    assert run.controller.steps == 56
    assert run.loss < 2.3
