"""Which optimizers follow the dropped rate by what their own rate was computed from, inside a real run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from tiny_search import RATE, make, optimizer_of, recorded, run_once, train

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("rate", "rates"),
    [
        (lambda t: 3 * t.suggest_float("lr", 1e-5, 1.0, log=True), {"lr": RATE}),
        (lambda t: t.suggest_float("lr", 1e-5, 1.0, log=True) * np.sqrt(6), {"lr": RATE}),
        (lambda t: np.sqrt(6) * t.suggest_float("lr", 1e-5, 1.0, log=True), {"lr": RATE}),
        (
            lambda t: min(0.5, copy.deepcopy({"a": t.suggest_float("lr", 1e-5, 1.0, log=True)})["a"] * 1.1),
            {"lr": RATE},
        ),
        (
            lambda t: 3 * t.suggest_categorical("lr", [0.1, 0.01]),
            {"lr": CategoricalDistribution([0.1, 0.01])},
        ),
        (lambda t: 3.0 * t.suggest_categorical("lr", [1, 2]) ** -3, {"lr": CategoricalDistribution([1, 2])}),
        (lambda t: 5 * 10 ** -t.suggest_int("lr_exponent", 1, 5), {"lr_exponent": IntDistribution(1, 5)}),
        (
            lambda t: 5 * 10 ** -t.params.get("x", t.suggest_int("lr_exponent", 1, 5)),
            {"lr_exponent": IntDistribution(1, 5)},
        ),
    ],
)
def test_arithmetic_keeps_the_origin_beside_a_fixed_rate(
    rate: Callable[[Any], Any], rates: Mapping[str, BaseDistribution]
) -> None:
    def beside(trial: Any) -> float:
        one, net = optimizer_of(trial, rate(trial))
        other, extra = optimizer_of(trial, 0.05)
        return train(one, net) + train(other, extra)

    trial = run_once(beside, rates, lr=tuple(rates))
    name = next(iter(rates))
    assert [(o.controlled, o.reason) for o in recorded(trial).optimizers] == [
        (True, f"its initial rate follows {name}"),
        (False, f"its initial rate 0.05 does not follow {name}"),
    ]
    assert recorded(trial).steps == 12


def test_a_fixed_rate_that_equals_the_constant_by_chance_is_left_alone() -> None:
    def beside(trial: Any) -> float:
        one, net = optimizer_of(trial, trial.suggest_categorical("lr", [0.05]))
        other, extra = optimizer_of(trial, 0.05)
        return train(one, net) + train(other, extra)

    trial = run_once(beside, {"lr": CategoricalDistribution([0.05])}, lr=("lr",))
    assert [o.controlled for o in recorded(trial).optimizers] == [True, False]


def tripled(trial: Any) -> float:
    rate = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    (one, net), (other, extra) = optimizer_of(trial, rate), optimizer_of(trial, 3 * rate)
    return train(one, net) + train(other, extra)


def anew_each_epoch(trial: Any) -> float:
    rate, net = trial.suggest_float("lr", 1e-5, 1.0, log=True), make(trial)
    epochs = [torch.optim.SGD(net.parameters(), lr=rate * 0.8 ** (epoch / 3)) for epoch in range(6)]
    return [train(optimizer, net) for optimizer in epochs][-1]


@pytest.mark.parametrize(("objective", "controlled"), [(tripled, 2), (anew_each_epoch, 6)])
def test_each_optimizer_with_a_rate_that_comes_from_it_is_controlled(objective: Any, controlled: int) -> None:
    assert [o.controlled for o in recorded(run_once(objective)).optimizers] == [True] * controlled


def nested_groups(trial: Any, rate: Any) -> torch.optim.Optimizer:
    net = make(trial)
    return torch.optim.Adam(
        [{"params": net[0].parameters(), "lr": 2 * rate}, {"params": net[2].parameters()}], lr=0.1
    )


def added_group(trial: Any, rate: Any) -> torch.optim.Optimizer:
    net = make(trial)
    optimizer = torch.optim.Adam(net[0].parameters(), lr=0.1)
    optimizer.add_param_group({"params": list(net[2].parameters()), "lr": rate / 3})
    return optimizer


def by_hand(trial: Any, rate: Any) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(make(trial).parameters())
    for group in optimizer.param_groups:
        group["lr"] = 0.3 * rate
    return optimizer


def one_cycle(trial: Any, rate: Any) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(make(trial).parameters())
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3 * rate, total_steps=30)
    return optimizer


@pytest.mark.filterwarnings("ignore:Detected call of")
@pytest.mark.parametrize("build", [nested_groups, added_group, by_hand, one_cycle])
def test_the_rate_of_any_group_may_follow_however_it_is_set(build: Callable[[Any, Any], Any]) -> None:
    def objective(trial: Any) -> float:
        optimizer = build(trial, trial.suggest_float("lr", 1e-5, 1.0, log=True))
        for _ in range(3):
            loss = sum(p.square().sum() for group in optimizer.param_groups for p in group["params"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert all(type(group["lr"]) is float for group in optimizer.param_groups)
        other, net = optimizer_of(trial, 0.05)
        train(other, net)
        return float(loss.detach())

    assert [o.controlled for o in recorded(run_once(objective)).optimizers] == [True, False]
