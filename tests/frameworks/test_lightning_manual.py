"""Lightning: manual optimization with one and with two optimizers, and Fabric."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional

from .training import Result, assert_unchanged, control, digits, load, make_net, weights

EPOCHS = 4


def fit(module, how, seed, epochs=EPOCHS):
    lightning = load("lightning")
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", **quiet)
    with control(how) as capture:
        trainer.fit(module, digits().loader(seed))
    return trainer, capture


def train_manually(rate, seed, how, *, through_closure=False, accumulate=1, epochs=EPOCHS):
    lightning, net, seen = load("lightning"), make_net(seed), Counter()

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.automatic_optimization = net, False

        def training_step(self, batch, number):
            optimizer = self.optimizers()
            seen["training_step"] += 1

            def closure():
                seen["closure"] += 1
                loss = functional.cross_entropy(self.net(batch[0]), batch[1]) / accumulate
                if through_closure or number % accumulate == 0:
                    optimizer.zero_grad()
                self.manual_backward(loss)
                return loss

            if through_closure:
                optimizer.step(closure=closure)
                return
            closure()
            if (number + 1) % accumulate == 0:
                optimizer.step()

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=rate)

    trainer, capture = fit(Module(), how, seed, epochs)
    return Result(weights(net), digits().loss(net), capture, {"step": trainer.global_step, **seen})


MANUAL = {"step": {}, "closure": {"through_closure": True}, "accumulated": {"accumulate": 2}}


@pytest.mark.parametrize("name", MANUAL)
def test_manual_pinned_training_is_the_fixed_one(name):
    assert_unchanged(train_manually, **MANUAL[name])


@pytest.mark.parametrize("name", MANUAL)
def test_manual_training_is_controlled(name):
    first, second = (train_manually(rate, 0, "often", **MANUAL[name]) for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    assert first.controller.learning_rate > 1e-4
    assert first.controller.steps == first.seen["step"]


def train_pair(rate, seed, how, *, kind="Adam"):
    """A generator and a discriminator of digits, as in Lightning's own example."""
    lightning = load("lightning")
    torch.manual_seed(seed)
    generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid())
    discriminator = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    losses = []

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.generator, self.discriminator = generator, discriminator
            self.automatic_optimization = False

        def training_step(self, batch, number):
            first, second = self.optimizers()
            pixels, noise = batch[0], torch.randn(len(batch[0]), 8)
            real, fake = torch.ones(len(pixels), 1), torch.zeros(len(pixels), 1)
            judge = functional.binary_cross_entropy_with_logits
            self.toggle_optimizer(first)
            loss = judge(self.discriminator(self.generator(noise)), real)
            first.zero_grad()
            self.manual_backward(loss)
            first.step()
            self.untoggle_optimizer(first)
            self.toggle_optimizer(second)
            made = self.generator(noise).detach()
            loss = (judge(self.discriminator(pixels), real) + judge(self.discriminator(made), fake)) / 2
            second.zero_grad()
            self.manual_backward(loss)
            second.step()
            self.untoggle_optimizer(second)
            losses.append(loss.item())

        def configure_optimizers(self):
            make = getattr(torch.optim, kind)
            return [
                make(self.generator.parameters(), lr=rate),
                make(self.discriminator.parameters(), lr=rate),
            ]

    trainer, capture = fit(Module(), how, seed)
    both = torch.cat([weights(generator), weights(discriminator)])
    return Result(both, losses[-1], capture, {"step": trainer.global_step})


def test_two_optimizers_pinned_are_the_fixed_ones():
    assert_unchanged(train_pair)


def test_two_optimizers_are_controlled():
    first, second = (train_pair(rate, 0, "often") for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    assert first.capture.names == ["Adam", "Adam"]
    assert [one.steps for one in first.capture.controllers] == [14 * EPOCHS] * 2
    assert all(one.learning_rate > 1e-4 for one in first.capture.controllers)
    assert all(one.probes > 5 for one in first.capture.controllers)


def train_fabric(rate, seed, how, *, precision="32-true", clip=None, accumulate=1, epochs=EPOCHS):
    fabric_module, net = load("lightning.fabric"), make_net(seed)
    fabric = fabric_module.Fabric(accelerator="cpu", devices=1, precision=precision)
    rates = []
    with control(how) as capture:
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
        model, optimizer = fabric.setup(net, optimizer)
        loader = fabric.setup_dataloaders(digits().loader(seed))
        for _ in range(epochs):
            for number, (inputs, labels) in enumerate(loader):
                if number % accumulate == 0:
                    optimizer.zero_grad()
                with fabric.no_backward_sync(model, enabled=(number + 1) % accumulate != 0):
                    fabric.backward(functional.cross_entropy(model(inputs), labels) / accumulate)
                if (number + 1) % accumulate == 0:
                    if clip is not None:
                        fabric.clip_gradients(model, optimizer, max_norm=clip)
                    optimizer.step()
                    rates.append(optimizer.param_groups[0]["lr"])
    return Result(weights(net), digits().loss(net), capture, {"rates": rates})


FABRIC = {
    "plain": {},
    "bf16": {"precision": "bf16-mixed"},
    "clip": {"clip": 0.1},
    "accumulate": {"accumulate": 2},
}


@pytest.mark.parametrize("name", FABRIC)
def test_fabric_pinned_training_is_the_fixed_one(name):
    assert_unchanged(train_fabric, **FABRIC[name])


@pytest.mark.parametrize("name", FABRIC)
def test_fabric_training_is_controlled(name):
    first, second = (train_fabric(rate, 0, "often", **FABRIC[name]) for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    assert first.controller.steps == len(first.seen["rates"])
    assert first.controller.learning_rate > 1e-4
    assert first.capture.names == ["AdamW"]
