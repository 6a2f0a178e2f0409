"""What stands around a loop: averaging, scaling, compilation, checkpointing, workers, frozen parameters."""

from __future__ import annotations

import multiprocessing

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import swa_utils
from torch.utils import checkpoint

import galatune

from . import loop
from .training import OFTEN, PINNED, Result, assert_unchanged, control, digits, load, make_net, weights


def adamw(net, rate):
    return torch.optim.AdamW(net.parameters(), lr=rate)


def averages(net):
    """Every kind of weight averaging at once; each only reads."""
    averaged = swa_utils.AveragedModel(net)
    moving = swa_utils.AveragedModel(net, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    ema = load("torch_ema").ExponentialMovingAverage(net.parameters(), decay=0.9)
    return averaged, moving, ema


def train_averaged(rate, seed, how, *, schedule=False, epochs=4):
    net = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 10))
    net.load_state_dict(make_batchnorm_net(seed).state_dict())
    averaged, moving, ema = averages(net)
    rates = []
    with control(how) as capture:
        optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
        scheduler = swa_utils.SWALR(optimizer, swa_lr=rate / 2, anneal_epochs=2) if schedule else None
        for epoch in range(epochs):
            for inputs, labels in digits().batches(100 * seed + epoch):
                optimizer.zero_grad()
                functional.cross_entropy(net(inputs), labels).backward()
                optimizer.step()
                moving.update_parameters(net)
                ema.update()
            if epoch >= epochs // 2:
                averaged.update_parameters(net)
                if scheduler is not None:
                    scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
    swa_utils.update_bn(digits().loader(seed), averaged)
    with ema.average_parameters():
        own = weights(net)
    every = torch.cat([weights(net), weights(averaged.module), weights(moving.module), own])
    return Result(every, digits().loss(averaged.module), capture, {"rates": rates})


def make_batchnorm_net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 10))


def test_averages_of_the_pinned_training_are_those_of_the_fixed_one():
    assert_unchanged(train_averaged)
    assert_unchanged(train_averaged, left_alone=True, schedule=True)


def test_averaged_training_is_controlled():
    first, second = (train_averaged(rate, 0, "often", schedule=True) for rate in (1e-6, 8.0))
    # Mean of rounded schedule factors: SWALR interpolates between rates of very different size.
    assert torch.allclose(first.weights, second.weights, rtol=1e-3, atol=1e-5)
    assert first.controller.steps == 14 * 4


def train_scaled(rate, seed, how, *, kind="AdamW", overflow=False, fused=False, epochs=4):
    net = make_net(seed)
    scaler, scales = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=20), []
    with control(how) as capture:
        optimizer = getattr(torch.optim, kind)(
            net.parameters(), lr=rate, **({"fused": True} if fused else {})
        )
        for epoch in range(epochs):
            for number, (inputs, labels) in enumerate(digits().batches(100 * seed + epoch)):
                optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss = functional.cross_entropy(net(inputs), labels)
                if overflow and number == 5:
                    loss = loss * float("inf")
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
                scales.append(scaler.get_scale())
    return Result(weights(net), digits().loss(net), capture, {"scales": scales})


SCALED = {"plain": {}, "overflow": {"overflow": True}, "fused": {"fused": True}}


@pytest.mark.parametrize("name", SCALED)
def test_scaled_pinned_training_is_the_fixed_one(name):
    assert_unchanged(train_scaled, **SCALED[name])


@pytest.mark.parametrize("name", SCALED)
def test_scaled_training_is_controlled(name):
    first, second = (train_scaled(rate, 0, "often", **SCALED[name]) for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    skipped = 4 if name == "overflow" else 0
    assert first.controller.steps == 14 * 4 - skipped
    assert first.controller.probes > 5


class Recomputing(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.first, self.last, self.reentrant = nn.Linear(64, 32), nn.Linear(32, 10), reentrant

    def forward(self, inputs):
        if self.reentrant:
            inputs = inputs.clone().requires_grad_()
        hidden = checkpoint.checkpoint(lambda x: self.first(x).tanh(), inputs, use_reentrant=self.reentrant)
        return self.last(hidden)


class Adapted(nn.Module):
    """A frozen layer with a trained product of two thin matrices beside it, which starts at 0 (LoRA)."""

    def __init__(self, rank=4):
        super().__init__()
        self.frozen, self.last = nn.Linear(64, 32), nn.Linear(32, 10)
        self.frozen.requires_grad_(False)
        self.down = nn.Parameter(0.1 * torch.randn(rank, 64))
        self.up = nn.Parameter(torch.zeros(32, rank))

    def forward(self, inputs):
        return self.last((self.frozen(inputs) + inputs @ self.down.T @ self.up.T).tanh())


def seeded(make):
    def make_seeded(seed):
        torch.manual_seed(seed)
        return make()

    return make_seeded


class Trainable:
    """Only what is trained is given to the optimizer, as people do with adapters."""

    def __call__(self, net, rate):
        return torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=rate)


NETS = {
    "checkpointing": {"net": seeded(lambda: Recomputing(reentrant=False)), "make": adamw},
    "reentrant checkpointing": {"net": seeded(lambda: Recomputing(reentrant=True)), "make": adamw},
    "adapter": {"net": seeded(Adapted), "make": Trainable()},
    "adapter, all given": {"net": seeded(Adapted), "make": adamw},
    "dropout": {
        "net": seeded(lambda: nn.Sequential(nn.Linear(64, 32), nn.Dropout(0.2), nn.Linear(32, 10))),
        "make": adamw,
    },
    "batch norm": {"net": make_batchnorm_net, "make": adamw},
    "weight norm": {
        "net": seeded(
            lambda: nn.Sequential(
                nn.utils.parametrizations.weight_norm(nn.Linear(64, 32)), nn.Tanh(), nn.Linear(32, 10)
            )
        ),
        "make": adamw,
    },
    "spectral norm": {
        "net": seeded(
            lambda: nn.Sequential(
                nn.utils.parametrizations.spectral_norm(nn.Linear(64, 32)), nn.Tanh(), nn.Linear(32, 10)
            )
        ),
        "make": adamw,
    },
    "compiled": {"net": lambda seed: torch.compile(make_net(seed), backend="aot_eager"), "make": adamw},
}


CANNOT_REPEAT = ("compiled",)
"""Not differentiated twice, so that minibatches are repeated: another training than the fixed one."""


@pytest.mark.parametrize("name", [name for name in NETS if name not in CANNOT_REPEAT])
def test_pinned_training_is_the_fixed_one(name):
    assert_unchanged(loop.train, **NETS[name])


@pytest.mark.parametrize("name", NETS)
def test_is_controlled(name):
    first, second = (loop.train(rate, 0, "often", **NETS[name]) for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    assert first.controller.steps == 14 * 4
    assert first.controller.probes > 5


def train_moved(rate, seed, how):
    """The optimizer is made before the net changes its type, which keeps its parameters."""
    net = make_net(seed)
    with control(how) as capture:
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
        net.double()
        for inputs, labels in digits().batches(seed):
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs.double()), labels).backward()
            optimizer.step()
    net.float()
    return Result(weights(net), digits().loss(net), capture)


def test_optimizer_made_before_the_net_changes_its_type():
    assert_unchanged(train_moved)
    first, second = (train_moved(rate, 0, "often") for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    assert first.controller.steps == 14


def test_attached_before_the_net_changes_its_type():
    def train(attached):
        net = make_net(0)
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
        controller = galatune.attach(optimizer, **PINNED) if attached else None
        net.double()
        for inputs, labels in digits().batches():
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs.double()), labels).backward()
            optimizer.step()
        return weights(net), controller

    own, controller = train(attached=True)
    assert controller.steps == 14
    assert torch.equal(own, train(attached=False)[0])


def train_with_workers(rate, seed, how, *, persistent, probe="auto"):
    net = make_net(seed)
    context = multiprocessing.get_context("fork")
    loader = digits().loader(
        seed, num_workers=1, persistent_workers=persistent, multiprocessing_context=context
    )
    drawn = 0
    options = {
        "off": None,
        "pinned": {**PINNED, "probe": probe},
        "often": {"probe_schedule": OFTEN, "probe": probe},
    }
    given = options.get(how)
    with control(how) if given is None else galatune.controlled(**given) as capture:
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
        for _ in range(2):
            for inputs, labels in loader:
                drawn += 1
                optimizer.zero_grad()
                functional.cross_entropy(net(inputs), labels).backward()
                optimizer.step()
    return Result(weights(net), digits().loss(net), capture, {"drawn": drawn})


@pytest.mark.parametrize("persistent", [False, True])
def test_workers(persistent):
    assert_unchanged(train_with_workers, persistent=persistent)
    first, second = (
        train_with_workers(rate, 0, "often", persistent=persistent, probe="echo") for rate in (1e-6, 10.0)
    )
    assert torch.equal(first.weights, second.weights)
    assert first.controller.probe == "echo"
    assert first.controller.probes > 5
