"""`GalatuneCallback` in skorch: the first example, history, partial_fit, clones, pipelines, checkpoints."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import galatune
from galatune.controller.options import Options
from galatune.errors import ControlError

from .training import BATCH, OFTEN, digits, load, make_net, weights

EPOCHS = 4


class Net(nn.Module):
    """A module that can be pickled."""

    def __init__(self, hidden=32):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, hidden), nn.Tanh(), nn.Linear(hidden, 10))

    def forward(self, pixels):
        return self.layers(pixels)


def callback(**options):
    load("skorch")
    from galatune_skorch import GalatuneCallback

    return GalatuneCallback(**{"probe_schedule": OFTEN, **options})


def estimator(rate=1e-6, callbacks=None, *, epochs=EPOCHS, optimizer=torch.optim.AdamW, seed=0, **options):
    torch.manual_seed(seed)
    return load("skorch").NeuralNetClassifier(
        Net,
        criterion=nn.CrossEntropyLoss,
        optimizer=optimizer,
        lr=rate,
        max_epochs=epochs,
        batch_size=BATCH,
        callbacks=[callback()] if callbacks is None else callbacks,
        **{"train_split": None, "verbose": 0, **options},
    )


def data():
    return digits().inputs.numpy(), digits().labels.numpy()


def fitted(*arguments, **options):
    net = estimator(*arguments, **options)
    torch.manual_seed(0)
    return net.fit(*data())


def controller_of(net):
    (own,) = [one for one in net.callbacks if type(one).__name__ == "GalatuneCallback"]
    (controller,) = own.controllers
    return controller


def test_first_example_is_controlled_in_one_line():
    first, second, plain = (fitted(*given, epochs=12) for given in ((1e-6,), (10.0,), (1e-6, [])))
    assert torch.equal(weights(first.module_), weights(second.module_))
    assert first.history[-1, "train_loss"] < 0.6 * plain.history[-1, "train_loss"]
    assert controller_of(first).steps == 14 * 12


def test_pinned_training_is_the_fixed_one():
    plain, pinned = fitted(0.01, []), fitted(0.5, [callback(min_lr=0.01, max_lr=0.01)])
    assert torch.equal(weights(plain.module_), weights(pinned.module_))


@pytest.mark.parametrize("schedule", [False, True])
def test_logged_rate_is_the_applied_one(schedule):
    """Of plain SGD, whose steps show it."""
    load("skorch")
    from skorch import callbacks

    rates = []

    class Noting(torch.optim.SGD):
        def step(self, closure=None):
            first, before = self.param_groups[0]["params"][0], []

            def noting():
                loss = closure()
                before[:] = [first.detach().clone()]
                return loss

            result = super().step(noting)
            moved = (before[0] - first.detach()).double().norm()
            rates.append((moved / first.grad.double().norm()).item())
            return result

    printed = []
    others = [callbacks.LRScheduler("CosineAnnealingLR", T_max=14 * EPOCHS, step_every="batch")]
    others = [*(others if schedule else []), callbacks.PrintLog(sink=printed.append)]
    net = fitted(0.1, [callback(), *others], optimizer=Noting, verbose=1, callbacks__print_log=None)
    logged = np.concatenate([epoch["batches"] for epoch in net.history])
    logged = [batch["lr_applied"] for batch in logged]
    assert len(logged) == len(rates) == 14 * EPOCHS
    assert logged == pytest.approx(rates, rel=1e-3)
    assert net.history[:, "lr_applied"] == [epoch["batches"][-1]["lr_applied"] for epoch in net.history]
    assert "lr_applied" in printed[0]


def test_validation_batches_have_no_rate():
    skorch = load("skorch")
    net = fitted(train_split=skorch.dataset.ValidSplit(3, stratified=True))
    assert all("lr_applied" in batch or "valid_loss" in batch for batch in net.history[0]["batches"])
    assert len(net.predict(data()[0])) == len(data()[1])


def test_partial_fit_goes_on():
    whole, net = fitted(), estimator(epochs=2)
    torch.manual_seed(0)
    net.partial_fit(*data()).partial_fit(*data())
    assert torch.equal(weights(net.module_), weights(whole.module_))
    assert controller_of(net).steps == 14 * EPOCHS


def test_rate_that_is_set_between_fits_does_not_matter():
    """`set_params` makes the optimizer anew over the same parameters: control goes on."""
    net = fitted(epochs=2, warm_start=True)
    before = controller_of(net).steps
    net.set_params(lr=0.1, optimizer__weight_decay=0.01)
    net.fit(*data())
    assert controller_of(net).steps == before + 2 * 14


def test_second_fit_begins_anew():
    net = fitted()
    torch.manual_seed(0)
    other = estimator()
    for one in (net, other):
        torch.manual_seed(1)
        one.fit(*data())
    assert torch.equal(weights(net.module_), weights(other.module_))
    assert controller_of(net).steps == 14 * EPOCHS


@pytest.mark.parametrize("how", ["callback", "by hand", "pickle", "copy"])
def test_resume_is_bit_equal(how, tmp_path):
    load("skorch")
    from skorch.callbacks import Checkpoint

    names = {"f_params": tmp_path / "p", "f_optimizer": tmp_path / "o", "f_history": tmp_path / "h"}
    names = {name: str(path) for name, path in names.items()}
    whole = fitted()
    saving = Checkpoint(monitor=None, f_criterion=None, **names)
    half = fitted(callbacks=[callback(), saving] if how == "callback" else None, epochs=2)
    if how == "pickle":
        rest = pickle.loads(pickle.dumps(half))
    elif how == "copy":
        rest = copy.deepcopy(half)
    else:
        if how == "by hand":
            half.save_params(**names)
        rest = estimator(seed=5, epochs=2).initialize()
        rest.load_params(**names)
    rest.partial_fit(*data())
    assert controller_of(rest).steps == 14 * EPOCHS
    assert torch.equal(weights(rest.module_), weights(whole.module_))
    assert rest.history[:, "lr_applied"] == whole.history[:, "lr_applied"]


def test_pipeline_and_grid_search():
    net = estimator(epochs=2)
    pipe = make_pipeline(StandardScaler(), net)
    grid = {
        "neuralnetclassifier__module__hidden": [8, 32],
        "neuralnetclassifier__callbacks__GalatuneCallback__max_lr": [1e-4, 1.0],
    }
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise")
    search.fit(*data())
    best = search.best_estimator_[-1]
    (own,) = [one for _, one in best.callbacks_ if type(one).__name__ == "GalatuneCallback"]
    assert (
        search.best_params_["neuralnetclassifier__callbacks__GalatuneCallback__max_lr"] == own.max_lr == 1.0
    )
    assert own.controllers[0].steps == best.history[-1, "epoch"] * 14
    assert best.history[-1, "lr_applied"] == pytest.approx(own.controllers[0].learning_rate)
    assert not hasattr(net, "module_")
    assert search.score(*data()) > 0.5


def test_clone_has_the_same_options():
    own = callback(max_lr=0.5)
    assert clone(own).get_params() == own.get_params()
    assert clone(estimator(callbacks=[own])).callbacks[0].max_lr == 0.5


def test_detach_lets_the_optimizer_go():
    net = fitted(0.1)
    assert "galatune" in net.optimizer_.param_groups[0]
    net.callbacks[0].detach()
    assert "galatune" not in net.optimizer_.param_groups[0]
    assert net.optimizer_.param_groups[0]["lr"] == 0.1


def test_one_that_cannot_be_controlled_trains_on():
    own = callback()
    with pytest.warns(UserWarning, match="Rprop is not controlled"):
        net = fitted(0.01, [own], optimizer=torch.optim.Rprop)
    assert torch.equal(weights(net.module_), weights(fitted(0.01, [], optimizer=torch.optim.Rprop).module_))
    assert "lr_applied" not in net.history[-1]


def test_within_a_controlled_block_the_block_controls():
    own = callback(min_lr=5.0)
    with galatune.controlled(probe_schedule=OFTEN) as capture:
        net = fitted(callbacks=[own])
    assert not own.controllers
    assert net.history[-1, "lr_applied"] == pytest.approx(capture.controllers[0].learning_rate)


def test_two_optimizers_have_a_column_each():
    skorch = load("skorch")

    class Two(skorch.NeuralNetClassifier):
        def initialize_module(self):
            super().initialize_module()
            self.second_ = make_net(1)
            return self

        def initialize_optimizer(self, *arguments, **options):
            super().initialize_optimizer(*arguments, **options)
            self.optimizer2_ = torch.optim.SGD(self.second_.parameters(), lr=0.1)
            return self

        def infer(self, x, **options):
            return self.module_(x) + self.second_(x)

    torch.manual_seed(0)
    net = Two(
        Net,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        max_epochs=2,
        batch_size=BATCH,
        train_split=None,
        verbose=0,
        callbacks=[callback()],
    ).fit(*data())
    assert net.history[-1, "lr_applied"] > 0
    assert net.history[-1, "optimizer2_lr_applied"] > 0
    assert [one.steps for one in net.callbacks[0].controllers] == [28, 28]


def test_wrong_option_is_said_when_training_begins():
    with pytest.raises(ControlError, match="max_lr"):
        estimator(callbacks=[callback(max_lr=-1.0)]).fit(*data())


def test_the_options_are_those_of_attach():
    from galatune_skorch import GalatuneCallback

    taken = {name: one.default for name, one in inspect.signature(GalatuneCallback).parameters.items()}
    assert taken == {field.name: field.default for field in dataclasses.fields(Options)}
