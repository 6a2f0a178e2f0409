"""skorch: estimators, callbacks that set rates, warm start, cross-validation, grid search, checkpoints."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from sklearn.base import clone

from .training import BATCH, Result, assert_unchanged, control, digits, load, make_net, weights

EPOCHS = 4


def estimator(rate, seed, *, kind="AdamW", callbacks=(), epochs=EPOCHS, **options):
    skorch = load("skorch")
    return skorch.NeuralNetClassifier(
        lambda: make_net(seed),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=getattr(torch.optim, kind),
        lr=rate,
        max_epochs=epochs,
        batch_size=BATCH,
        train_split=None,
        verbose=0,
        callbacks=list(callbacks),
        **options,
    )


def watcher():
    skorch, seen = load("skorch"), Counter()

    class Watch(skorch.callbacks.Callback):
        def on_batch_end(self, net, **kwargs):
            seen["batch_end"] += bool(kwargs.get("training"))

        def on_grad_computed(self, net, named_parameters, **kwargs):
            seen["grad_computed"] += 1

    return Watch(), seen


def data():
    return digits().inputs, digits().labels


def train(rate, seed, how, *, schedule=False, clip=False, partial=False, **options):
    load("skorch")
    from skorch import callbacks

    watch, seen = watcher()
    given = [watch]
    if schedule:
        policy = callbacks.LRScheduler(
            "CosineAnnealingLR", T_max=14 * options.get("epochs", EPOCHS), step_every="batch"
        )
        given.append(policy)
    if clip:
        given.append(callbacks.GradientNormClipping(0.1))
    net = estimator(rate, seed, callbacks=given, **options)
    with control(how) as capture:
        if partial:
            for _ in range(2):
                net.partial_fit(*data())
        else:
            net.fit(*data())
    noted = {**seen, "train_loss": net.history[:, "train_loss"], "count": len(net.history)}
    noted["batches"] = [len(epoch["batches"]) for epoch in net.history]
    return Result(weights(net.module_), digits().loss(net.module_), capture, noted)


CASES = {"plain": {}, "sgd": {"kind": "SGD"}, "clip": {"clip": True}}


@pytest.mark.parametrize("name", CASES)
def test_pinned_training_is_the_fixed_one(name):
    assert_unchanged(train, **CASES[name])


@pytest.mark.parametrize("name", [*CASES, "schedule", "partial"])
def test_is_controlled(name):
    options = {**CASES, "schedule": {"schedule": True}, "partial": {"partial": True, "epochs": 2}}[name]
    first, second = (train(rate, 0, "often", **options) for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    assert first.controller.steps == first.seen["batch_end"] == 14 * EPOCHS
    assert first.controller.probes > 5


def test_warm_start_goes_on():
    with control("often") as capture:
        net = estimator(1e-6, 0, warm_start=True, epochs=2)
        net.fit(*data()).fit(*data())
    whole = train(10.0, 0, "often")
    assert torch.equal(weights(net.module_), whole.weights)
    assert [one.steps for one in capture.controllers] == [14 * EPOCHS]


def test_cross_validation_and_grid_search():
    load("skorch")
    from sklearn.model_selection import GridSearchCV, cross_val_score

    inputs, labels = (t.numpy() for t in data())
    with control("on") as capture:
        scores = cross_val_score(estimator(1e-6, 0, epochs=12), inputs, labels, cv=3)
    assert len(capture.controllers) == 3
    assert scores.min() > 0.5
    with control("on") as capture:
        search = GridSearchCV(estimator(1e-6, 0, epochs=2), {"optimizer__weight_decay": [0.0, 0.1]}, cv=2)
        search.fit(inputs, labels)
    assert capture.names == ["AdamW"] * 5


def test_checkpoint_goes_on(tmp_path):
    whole = train(0.01, 0, "often")
    names = {"f_params": tmp_path / "p", "f_optimizer": tmp_path / "o", "f_history": tmp_path / "h"}
    with control("often"):
        half = estimator(0.01, 0, epochs=2).fit(*data())
        half.save_params(**names)
    with control("often") as capture:
        rest = clone(half).initialize()
        rest.load_params(**names)
        rest.partial_fit(*data())
    assert [one.steps for one in capture.controllers] == [14 * EPOCHS]
    assert torch.equal(weights(rest.module_), whole.weights)
