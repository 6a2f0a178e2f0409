"""One row an optimizer: the metric is that of its update, and the controller follows its literal twin."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from reference import net as reference_net
from reference import optimizers as twins
from torch.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
)
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from galatune import attach
from galatune.errors import ControlError

from . import test_reference_rule
from .test_invariance import controlled_run
from .test_optimizer_metrics import METRICS

CASES: dict[str, tuple[type[Optimizer], dict[str, Any], Any]] = {
    "nadam": (NAdam, {}, twins.NAdam),
    "nadam coupled": (NAdam, {"weight_decay": 0.05, "momentum_decay": 0.1}, twins.NAdam),
    "nadam decoupled": (
        NAdam,
        {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
        twins.NAdam,
    ),
    "radam": (RAdam, {}, twins.RAdam),
    "radam coupled": (RAdam, {"weight_decay": 0.05, "betas": (0.8, 0.9)}, twins.RAdam),
    "radam decoupled": (
        RAdam,
        {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
        twins.RAdam,
    ),
    "adamax": (Adamax, {}, twins.Adamax),
    "adamax decay": (Adamax, {"weight_decay": 0.05, "maximize": True, "eps": 1e-4}, twins.Adamax),
    "adagrad": (Adagrad, {}, twins.Adagrad),
    "adagrad decay": (
        Adagrad,
        {"weight_decay": 0.05, "initial_accumulator_value": 0.1, "maximize": True},
        twins.Adagrad,
    ),
    "rmsprop": (RMSprop, {}, twins.RMSprop),
    "rmsprop momentum": (RMSprop, {"momentum": 0.9, "weight_decay": 0.05}, twins.RMSprop),
    "rmsprop centered": (RMSprop, {"centered": True, "alpha": 0.9, "maximize": True}, twins.RMSprop),
    "adadelta": (Adadelta, {}, twins.Adadelta),
    "adadelta decay": (Adadelta, {"weight_decay": 0.05, "maximize": True, "rho": 0.95}, twins.Adadelta),
    "adam decoupled": (
        Adam,
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        lambda weight_decay, decoupled_weight_decay: twins.Adam(
            weight_decay=weight_decay, decoupled=decoupled_weight_decay
        ),
    ),
    "adamw amsgrad": (
        AdamW,
        {"weight_decay": 0.1, "amsgrad": True, "maximize": True},
        functools.partial(twins.Adam, decoupled=True),
    ),
}


@pytest.mark.parametrize("probe", ["closure", pytest.param("graph", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
def test_attach_follows_the_literal_rule(case, probe):
    decaying = probe == "graph"
    kind, options, twin = CASES[case]
    sign = -1.0 if options.get("maximize") else 1.0
    net, batches = reference_net.module(), reference_net.minibatches(test_reference_rule.STEPS)
    expected = test_reference_rule.literal(
        net, batches, twin(**options), sign=sign, decaying=decaying, probe=probe
    )
    optimizer = kind(net.parameters(), lr=0.3, **options)
    rates, controller = test_reference_rule.train(optimizer, net, batches, probe, sign, decaying)
    assert rates == pytest.approx(expected.rates, rel=1e-6, abs=0)
    assert reference_net.flat(net).numpy() == pytest.approx(expected.x, rel=2e-6, abs=1e-8)
    seen = [record for record in controller.history if record.alignment is not None]
    assert [r.alignment for r in seen] == pytest.approx(expected.alignments, rel=1e-5)
    assert [r.lipschitz for r in seen] == pytest.approx(expected.lipschitz, rel=1e-5)


MORE: dict[str, tuple[type[Optimizer], dict[str, Any], Any]] = {
    "sgd nesterov decay": (
        SGD,
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05, "maximize": True},
        twins.SGD,
    ),
    "adam amsgrad decay": (
        Adam,
        {"weight_decay": 0.05, "amsgrad": True, "maximize": True},
        twins.Adam,
    ),
    "adamw": (AdamW, {"weight_decay": 0.1}, functools.partial(twins.Adam, decoupled=True)),
    "adagrad": (Adagrad, {"weight_decay": 0.05}, twins.Adagrad),
    "nadam decoupled plain": (
        NAdam,
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        twins.NAdam,
    ),
    "rmsprop centered decay": (
        RMSprop,
        {"centered": True, "momentum": 0.5, "weight_decay": 0.05, "maximize": True},
        twins.RMSprop,
    ),
}
FUSED = {SGD, Adam, AdamW, Adagrad}
IMPLEMENTATIONS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "tensor rate": {"lr": torch.tensor(0.3, dtype=torch.float64), "foreach": False},
    "fused tensor rate": {"lr": torch.tensor(0.3, dtype=torch.float64), "fused": True},
}
"""What `capturable` keeps on the device, fused optimizers keep there as well; itself it wants a GPU."""


@pytest.mark.parametrize(
    ("implementation", "case"),
    [
        (name, case)
        for name, given in IMPLEMENTATIONS.items()
        for case, (kind, _, _) in MORE.items()
        if kind in FUSED or "fused" not in given
    ],
)
def test_every_implementation_follows_the_literal_rule(implementation, case):
    kind, options, twin = MORE[case]
    sign = -1.0 if options.get("maximize") else 1.0
    net, batches = reference_net.module(), reference_net.minibatches(test_reference_rule.STEPS)
    expected = test_reference_rule.literal(net, batches, twin(**options), sign=sign)
    optimizer = kind(
        net.parameters(), **{"lr": 0.3, **copy.deepcopy(IMPLEMENTATIONS[implementation])}, **options
    )
    rates, _ = test_reference_rule.train(optimizer, net, batches, "closure", sign, False)
    assert rates == pytest.approx(expected.rates, rel=1e-6, abs=0)
    assert reference_net.flat(net).numpy() == pytest.approx(expected.x, rel=1e-6, abs=1e-8)


def test_lr_decay_of_adagrad_is_a_schedule_of_the_users_own():
    net, batches = reference_net.module(), reference_net.minibatches(test_reference_rule.STEPS)
    expected = test_reference_rule.literal(net, batches, twins.Adagrad(lr_decay=0.05), scale=2.5)
    optimizer = Adagrad(net.parameters(), lr=0.3, lr_decay=0.05)
    rates, _ = test_reference_rule.train(optimizer, net, batches, "closure", 1.0, False)
    assert rates == pytest.approx(expected.rates, rel=1e-6, abs=0)


def test_radam_begins_anew_when_it_becomes_adaptive():
    net, batches = reference_net.module(), reference_net.minibatches(20)
    optimizer = RAdam(net.parameters(), lr=0.3)
    _, controller = test_reference_rule.train(optimizer, net, batches, "closure", 1.0, False)
    assert [event.step for event in controller.events if event.kind == "start"] == [1, 6]


def test_optimizer_whose_rate_only_starts_it_is_refused():
    with pytest.raises(ControlError, match="Rprop cannot be controlled"):
        attach(Rprop([torch.nn.Parameter(torch.ones(2))]))


ROWS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    **{case: (kind, options) for case, (kind, options, _) in CASES.items() if "maximize" not in options},
    "adagrad lr_decay": (Adagrad, {"lr_decay": 0.01}),
}


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[] if c in METRICS else [pytest.mark.slow]) for c in ROWS]
)
def test_initial_rate_does_not_matter_to_the_last_digit(case):
    kind, options = ROWS[case]
    first, first_rates = controlled_run(kind, 1e-3, **options)
    other, other_rates = controlled_run(kind, 10.0, **options)
    assert max(first_rates) > 100 * first_rates[0]  # it did rise
    assert other_rates == first_rates
    assert torch.equal(other, first)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SGD, NAdam, RAdam, Adamax, Adagrad, RMSprop, Adadelta])
def test_implementations_of_one_optimizer_agree(kind):
    loop, _ = controlled_run(kind, 0.1, dtype=torch.float64, foreach=False)
    other, _ = controlled_run(kind, 0.1, dtype=torch.float64, foreach=True)
    assert other.numpy() == pytest.approx(loop.numpy(), rel=1e-6, abs=1e-8)


@pytest.mark.slow
def test_fused_adagrad_agrees():
    loop, _ = controlled_run(Adagrad, 0.1, dtype=torch.float64)
    other, _ = controlled_run(Adagrad, 0.1, dtype=torch.float64, fused=True)
    assert other.numpy() == pytest.approx(loop.numpy(), rel=1e-6, abs=1e-8)


def muon_run(lr):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(5, 8, bias=False), torch.nn.Tanh(), torch.nn.Linear(8, 3, bias=False)
    )
    optimizer = Muon(net.parameters(), lr=lr)
    scheduler = CosineAnnealingLR(optimizer, 70)
    _ = attach(optimizer)
    losses = []
    for inputs, labels in reference_net.minibatches(70, size=32):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(inputs.float()), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


def test_muon_learns_whatever_its_rate():
    first = muon_run(1e-3)
    assert muon_run(10.0) == first
    assert sum(first[-5:]) < 0.7 * sum(first[:5])


CYCLED: dict[str, tuple[type[Optimizer], dict[str, Any], Any]] = {
    "sgd": (SGD, {"momentum": 0.9}, twins.SGD),
    "sgd nesterov": (SGD, {"momentum": 0.9, "nesterov": True}, twins.SGD),
    "rmsprop": (RMSprop, {"momentum": 0.9}, twins.RMSprop),
    "adam": (Adam, {}, twins.Adam),
    "adamw": (AdamW, {"weight_decay": 0.1}, functools.partial(twins.Adam, decoupled=True)),
    "nadam": (NAdam, {}, twins.NAdam),
    "radam": (RAdam, {}, twins.RAdam),
    "adamax": (Adamax, {}, twins.Adamax),
}


def one_cycle(optimizer, steps):
    return OneCycleLR(optimizer, max_lr=0.1, total_steps=steps, base_momentum=0.5, max_momentum=0.95)


def cycled_groups(kind, options, steps):
    """What OneCycleLR writes into a group, by step."""
    optimizer = kind([torch.nn.Parameter(torch.zeros(1))], lr=0.1, **options)
    scheduler, seen = one_cycle(optimizer, steps), []
    for _ in range(steps):
        seen.append(dict(optimizer.param_groups[0]))
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("case", CYCLED)
def test_momentum_that_a_scheduler_moves_follows_the_literal_rule(case):
    kind, options, twin = CYCLED[case]
    steps = 60
    groups, literal = cycled_groups(kind, options, steps + 1), twin(**options)

    def schedule(t):
        group = groups[t]
        if "momentum" in group:
            literal.momentum = group["momentum"]
        else:
            literal.betas = tuple(group["betas"])
        if kind is RMSprop:
            literal.factor = 1 - literal.momentum
        return group["lr"]

    net, batches = reference_net.module(), reference_net.minibatches(steps)
    expected = test_reference_rule.literal(net, batches, literal, decaying=True, schedule=schedule)
    optimizer = kind(net.parameters(), lr=0.1, **options)
    scheduler = one_cycle(optimizer, steps + 1)
    rates, _ = test_reference_rule.train(optimizer, net, batches, "closure", 1.0, False, scheduler)
    assert groups[30] != groups[0]
    assert rates == pytest.approx(expected.rates, rel=1e-6, abs=0)
    assert reference_net.flat(net).numpy() == pytest.approx(expected.x, rel=2e-5, abs=1e-7)
