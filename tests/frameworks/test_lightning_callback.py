"""`GalatuneCallback` in Lightning: the first example, what is logged, resume, several optimizers."""

from __future__ import annotations

import copy
import csv
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import galatune
from galatune.errors import ControlError

from .training import OFTEN, digits, load, make_net, weights

EPOCHS = 3


def callback(**options):
    load("lightning")
    from galatune_lightning import GalatuneCallback

    return GalatuneCallback(**{"probe_schedule": OFTEN, **options})


def optimizer_of(kind, rate, groups, net):
    made = getattr(torch.optim, kind)
    if groups:
        return made(
            [{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": rate / 10}], lr=rate
        )
    return made(net.parameters(), lr=rate)


class Watched:
    """Notes the rate that each step is really taken with, from what plain SGD does to the first weight."""

    def __init__(self, parameter):
        self.parameter, self.rates, self.before = parameter, [], None

    def on(self, optimizer):
        optimizer.register_step_pre_hook(self._before)
        optimizer.register_step_post_hook(self._after)

    def _before(self, *_):
        self.before = self.parameter.detach().clone()

    def _after(self, *_):
        gradient = self.parameter.grad
        moved = (self.before - self.parameter.detach()).double()
        self.rates.append((moved.norm() / gradient.double().norm()).item())


def make_module(*, rate=0.1, kind="AdamW", groups=False, cosine=False, name=None, seed=0, watch=False):
    lightning = load("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = make_net(seed)
            self.watched = Watched(self.net[0].weight) if watch else None

        def training_step(self, batch, number):
            return functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch, number):
            self.log("held_out", functional.cross_entropy(self.net(batch[0]), batch[1]))

        test_step = validation_step

        def configure_optimizers(self):
            optimizer = optimizer_of(kind, rate, groups, self.net)
            if self.watched is not None:
                self.watched.on(optimizer)
            if not cosine:
                return optimizer
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 14 * EPOCHS)
            config = {"scheduler": scheduler, "interval": "step", **({"name": name} if name else {})}
            return {"optimizer": optimizer, "lr_scheduler": config}

    return Module()


def make_trainer(callbacks, *, folder=None, epochs=EPOCHS, **options):
    lightning = load("lightning")
    logger = load("lightning.pytorch.loggers").CSVLogger(folder) if folder else False
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {"max_epochs": epochs, "accelerator": "cpu", "logger": logger, **quiet, **options}
    return lightning.Trainer(callbacks=callbacks, **options)


def logged(folder):
    """{name: {step: value}} of a CSV log."""
    (path,) = Path(folder).rglob("metrics.csv")
    found = {}
    with path.open() as lines:
        for row in csv.DictReader(lines):
            step = int(row.pop("step"))
            for name, value in row.items():
                if value:
                    found.setdefault(name, {})[step] = float(value)
    return found


def test_first_example_is_controlled_in_one_line():
    """Lightning's autoencoder; the rate that was chosen does not matter any more."""
    lightning = load("lightning")

    class LitAutoEncoder(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))
            self.decoder = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 64))

        def training_step(self, batch, batch_idx):
            x = batch[0].view(batch[0].size(0), -1)
            loss = functional.mse_loss(self.decoder(self.encoder(x)), x)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=self.rate)

    def fit(rate, callbacks):
        torch.manual_seed(0)
        module = LitAutoEncoder()
        module.rate = rate
        trainer = make_trainer(callbacks, epochs=10)
        trainer.fit(module, digits().loader())
        return weights(module), float(trainer.callback_metrics["train_loss"])

    (first, loss), (second, _) = (fit(rate, [callback()]) for rate in (1e-7, 10.0))
    assert torch.equal(first, second)
    assert loss < 0.6 * fit(1e-7, [])[1]


def test_pinned_training_is_the_fixed_one():
    plain, pinned = make_module(rate=0.01), make_module(rate=0.5)
    make_trainer([]).fit(plain, digits().loader())
    make_trainer([callback(min_lr=0.01, max_lr=0.01)]).fit(pinned, digits().loader())
    assert torch.equal(weights(plain), weights(pinned))


LOGGED = {
    "every step": {"log_every_n_steps": 1},
    "every fifth": {"log_every_n_steps": 5},
    "accumulation": {"log_every_n_steps": 1, "accumulate_grad_batches": 2},
    "bf16": {"log_every_n_steps": 1, "precision": "bf16-mixed"},
    "fp16": {"log_every_n_steps": 1, "precision": "16-mixed"},  # Lightning takes bf16 on CPUs
    "clip by norm": {"log_every_n_steps": 1, "gradient_clip_val": 0.1},
    "clip by value": {
        "log_every_n_steps": 1,
        "gradient_clip_val": 0.01,
        "gradient_clip_algorithm": "value",
    },
}


@pytest.mark.parametrize("name", LOGGED)
def test_logged_rate_is_the_applied_one(name, tmp_path):
    monitor = load("lightning.pytorch.callbacks").LearningRateMonitor("step")
    module, own = make_module(kind="SGD", watch=True), callback()
    trainer = make_trainer([monitor, own], folder=tmp_path, **LOGGED[name])
    trainer.fit(module, digits().loader())
    rates, every = logged(tmp_path), LOGGED[name]["log_every_n_steps"]
    applied, schedule = rates["lr-SGD-applied"], rates["lr-SGD"]
    assert set(applied) == set(schedule)
    assert set(schedule.values()) == {0.1}
    steps = trainer.global_step
    assert len(module.watched.rates) == steps
    assert list(applied) == list(range(every - 1, steps, every))
    for step, rate in applied.items():
        assert rate == pytest.approx(module.watched.rates[step], rel=1e-3)
    assert trainer.callback_metrics["lr-SGD-applied"].item() == pytest.approx(list(applied.values())[-1])
    assert own.controllers[0].steps == steps
    assert max(applied.values()) > 2 * min(applied.values())


NAMES = {
    "one": {},
    "groups": {"groups": True},
    "scheduler": {"cosine": True},
    "named scheduler": {"cosine": True, "name": "rate", "groups": True},
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_the_monitors(name, tmp_path):
    monitor = load("lightning.pytorch.callbacks").LearningRateMonitor("step")
    trainer = make_trainer([callback(), monitor], folder=tmp_path, log_every_n_steps=1, epochs=1)
    trainer.fit(make_module(**NAMES[name]), digits().loader())
    rates = logged(tmp_path)
    applied = {one for one in rates if one.endswith("-applied")}
    assert {one.removesuffix("-applied") for one in applied} == set(monitor.lrs)
    assert applied <= set(rates)
    assert len(applied) == (2 if NAMES[name].get("groups") else 1)
    if NAMES[name].get("groups"):
        first, second = sorted(applied)
        assert rates[second][5] == pytest.approx(rates[first][5] / 10)


class Pair:
    """Builds a module of two optimizers that step by turns, by hand."""

    def __new__(cls, **kinds):
        lightning = load("lightning")

        class Module(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.nets = nn.ModuleList([make_net(0), make_net(1)])
                self.automatic_optimization = False

            def training_step(self, batch, number):
                for turn, optimizer in enumerate(self.optimizers()):
                    if turn and number % 3:
                        continue
                    loss = functional.cross_entropy(self.nets[turn](batch[0]), batch[1])
                    optimizer.zero_grad()
                    self.manual_backward(loss)
                    self.clip_gradients(optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="norm")
                    optimizer.step()

            def configure_optimizers(self):
                second = getattr(torch.optim, kinds.get("second", "Adam"))
                return [
                    torch.optim.Adam(self.nets[0].parameters(), lr=0.1),
                    second(self.nets[1].parameters(), lr=0.2),
                ]

        return Module()


def test_two_optimizers_by_hand(tmp_path):
    monitor, own = load("lightning.pytorch.callbacks").LearningRateMonitor("step"), callback()
    trainer = make_trainer([own, monitor], folder=tmp_path, log_every_n_steps=1)
    trainer.fit(Pair(), digits().loader())
    rates = logged(tmp_path)
    first, second = rates["lr-Adam-applied"], rates["lr-Adam-1-applied"]
    assert set(first) == set(range(14 * EPOCHS))
    assert set(second) == {step for step in first if step % 14 % 3 == 0}
    assert {"lr-Adam", "lr-Adam-1"} == set(monitor.lrs)
    assert [one.steps for one in own.controllers] == [len(first), len(second)]
    for rate, controller in zip((first, second), own.controllers, strict=True):
        assert rate[max(rate)] == pytest.approx(controller.learning_rate)


def test_one_that_cannot_be_controlled_trains_on():
    def fit(callbacks):
        module = Pair(second="Rprop")
        make_trainer(callbacks).fit(module, digits().loader())
        return module

    own = callback()
    with pytest.warns(UserWarning, match="a Rprop is not controlled"):
        controlled = fit([own])
    assert [one.name for one in own.left_alone] == ["Rprop"]
    assert len(own.controllers) == 1
    assert torch.equal(weights(controlled.nets[1]), weights(fit([]).nets[1]))


@pytest.mark.parametrize("how", ["callback", "by hand"])
@pytest.mark.parametrize("cosine", [False, True])
def test_resume_is_bit_equal(how, cosine, tmp_path):
    """From a checkpoint of ModelCheckpoint, and from one that is saved after the fit."""

    def fit(epochs, path=None, save=None):
        module, own, callbacks = make_module(rate=0.1, cosine=cosine), callback(), []
        options = {"epochs": epochs}
        if save is not None and how == "callback":
            checkpoint = load("lightning.pytorch.callbacks").ModelCheckpoint(save, filename="half")
            callbacks, options["enable_checkpointing"] = [checkpoint], True
        trainer = make_trainer([own, *callbacks], **options)
        trainer.fit(module, digits().loader(shuffle=False), ckpt_path=path)
        if save is not None and how == "by hand":
            trainer.save_checkpoint(save / "half.ckpt")
        return weights(module), own.controllers[0]

    whole, controller = fit(4)
    fit(2, save=tmp_path)
    rest, other = fit(4, path=tmp_path / "half.ckpt")
    assert other.steps == controller.steps == 14 * 4
    assert torch.equal(rest, whole)


def test_two_optimizers_resume_bit_equal(tmp_path):
    def fit(epochs, path=None, save=None):
        module = Pair()
        trainer = make_trainer([callback()], epochs=epochs)
        trainer.fit(module, digits().loader(shuffle=False), ckpt_path=path)
        if save is not None:
            trainer.save_checkpoint(save)
        return weights(module)

    whole = fit(4)
    fit(2, save=tmp_path / "half.ckpt")
    assert torch.equal(fit(4, path=tmp_path / "half.ckpt"), whole)


def test_checkpoint_loads_as_weights_only(tmp_path):
    trainer = make_trainer([callback()], epochs=1)
    trainer.fit(make_module(), digits().loader())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    held = torch.load(tmp_path / "end.ckpt", weights_only=True)
    assert held["callbacks"]["GalatuneCallback"]["optimizers"]


def test_testing_is_untouched_and_optimizers_are_let_go():
    module, own = make_module(), callback()
    trainer = make_trainer([own])
    trainer.fit(module, digits().loader())
    (optimizer,) = trainer.optimizers
    assert "galatune" not in optimizer.param_groups[0]
    assert optimizer.param_groups[0]["lr"] == 0.1
    steps, before = own.controllers[0].steps, weights(module)
    first = trainer.test(module, digits().loader(shuffle=False), verbose=False)
    second = make_trainer([]).test(module, digits().loader(shuffle=False), verbose=False)
    assert first == second
    assert own.controllers[0].steps == steps
    assert torch.equal(weights(module), before)


def test_second_fit_begins_anew():
    own = callback()
    trainer = make_trainer([own])
    trainer.fit(make_module(), digits().loader())
    other = make_module()
    trainer.fit_loop.epoch_progress.reset()
    trainer.fit_loop.epoch_loop.batch_progress.reset()
    trainer.fit(other, digits().loader())
    fresh = make_module()
    make_trainer([callback()]).fit(fresh, digits().loader())
    assert torch.equal(weights(other), weights(fresh))


def test_a_training_that_fails_lets_the_optimizer_go():
    module, own = make_module(), callback()
    module.on_train_epoch_end = lambda: 1 / 0
    trainer = make_trainer([own])
    with pytest.raises(ZeroDivisionError):
        trainer.fit(module, digits().loader())
    assert "galatune" not in trainer.optimizers[0].param_groups[0]


def test_within_a_controlled_block_the_block_controls(tmp_path):
    own = callback(min_lr=5.0)
    with galatune.controlled(probe_schedule=OFTEN) as capture:
        trainer = make_trainer([own], folder=tmp_path, log_every_n_steps=1)
        trainer.fit(make_module(), digits().loader())
    assert not own.controllers
    assert [one.steps for one in capture.controllers] == [14 * EPOCHS]
    applied = logged(tmp_path)["lr-AdamW-applied"]
    assert applied[max(applied)] == pytest.approx(capture.controllers[0].learning_rate)
    assert max(applied.values()) < 5.0


def test_copies_and_the_other_package():
    load("lightning")
    own = callback(max_lr=0.5)
    for again in (copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        assert type(again) is type(own)
        assert again._control.options == own._control.options
    other = load("pytorch_lightning")
    assert isinstance(callback(), other.Callback)
    assert isinstance(callback(), load("lightning").Callback)


def test_wrong_option_is_said_at_once():
    with pytest.raises(ControlError, match="max_lr"):
        callback(max_lr=-1.0)
