"""Metrics of the optimizers: what each update multiplies the gradient by."""

from __future__ import annotations

from typing import Any

import pytest
import torch
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
)

from galatune.controller.optimizers import metric_of

METRICS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "nadam": (NAdam, {"betas": (0.0, 0.9)}),
    "radam": (RAdam, {"betas": (0.0, 0.9)}),
    "adamax": (Adamax, {"betas": (0.0, 0.9)}),
    "adagrad": (Adagrad, {"initial_accumulator_value": 0.1}),
    "rmsprop": (RMSprop, {}),
    "rmsprop centered": (RMSprop, {"centered": True}),
    "adadelta": (Adadelta, {}),
}


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("case", METRICS)
def test_metric_is_what_the_update_multiplies_the_gradient_by(case, foreach):
    kind, options = METRICS[case]
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(6, dtype=torch.float64))
    optimizer = kind([parameter], lr=1.0, foreach=foreach, **options)
    group = optimizer.param_groups[0]
    for _ in range(30):
        parameter.grad = torch.randn(6, generator=generator, dtype=torch.float64)
        optimizer.step()
    # A gradient like the mean of those before leaves the second moment about where it is.
    metric = metric_of(optimizer).diagonal(group, optimizer.state[parameter])
    gradient = parameter.grad = torch.full((6,), 1e-6, dtype=torch.float64)
    before = parameter.detach().clone()
    optimizer.step()
    made = (before - parameter.detach()) / gradient
    assert metric.dtype == torch.float64
    assert (made / metric).numpy() == pytest.approx(1.0, rel=0.12)


@pytest.mark.parametrize("case", METRICS)
def test_metric_leaves_the_state_as_it_is(case):
    kind, options = METRICS[case]
    parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = kind([parameter], lr=1.0, **options)
    for _ in range(8):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    state = optimizer.state[parameter]
    kept = {name: value.clone() for name, value in state.items()}
    metric_of(optimizer).diagonal(optimizer.param_groups[0], state)
    assert all(torch.equal(state[name], value) for name, value in kept.items())


def test_metric_of_muon_is_unknown():
    assert not metric_of(Muon([torch.nn.Parameter(torch.ones(2, 2))])).known


def second_moments(optimizer, parameter, count=5):
    torch.manual_seed(0)
    for _ in range(count):
        parameter.grad = torch.randn_like(parameter)
        optimizer.step()


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_metric_of_adam_is_what_its_step_divides_by(kind, amsgrad):
    parameter = torch.nn.Parameter(torch.randn(6, dtype=torch.float64))
    optimizer = kind([parameter], lr=1.0, betas=(0.0, 0.9), weight_decay=0.0, amsgrad=amsgrad)
    second_moments(optimizer, parameter)
    before, gradient = parameter.detach().clone(), torch.full((6,), 1e-30, dtype=torch.float64)
    parameter.grad = gradient.clone()
    optimizer.step()  # a first moment of no memory: the step is the gradient times the metric after it
    group, state = optimizer.param_groups[0], optimizer.state[parameter]
    metric = metric_of(optimizer).diagonal(group, state)
    assert (before - parameter).detach().numpy() == pytest.approx((metric * gradient).numpy(), abs=1e-12)
    first = state["max_exp_avg_sq"] if amsgrad else state["exp_avg_sq"]
    assert metric.numpy() == pytest.approx((1 / ((first / (1 - 0.9**6)).sqrt() + 1e-8)).numpy(), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({}, 1.0),
        ({"momentum": 0.9}, 0.1),
        ({"momentum": 0.9, "nesterov": True}, 0.1),
        ({"momentum": 0.9, "dampening": 0.9}, 1.0),
        ({"momentum": 0.8, "dampening": 0.5}, 0.4),
    ],
)
def test_heavy_ball_factor_is_what_one_step_is_worth(options, factor):
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = SGD([parameter], lr=1.0, **options)
    assert metric_of(optimizer).momentum_factor(optimizer.param_groups[0]) == pytest.approx(factor)
    for _ in range(300):
        before = parameter.item()
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert (before - parameter.item()) * factor == pytest.approx(1.0)


def test_subclass_has_the_metric_of_its_base():
    class Mine(torch.optim.AdamW):
        pass

    optimizer = Mine([torch.nn.Parameter(torch.ones(1))])
    assert metric_of(optimizer).name == "AdamW"
    assert not metric_of(torch.optim.Adafactor([torch.nn.Parameter(torch.ones(1))])).known
