"""Regret against the best fixed rate in hindsight, by hand and in the case that theory covers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from galatune import attach
from galatune.bench.controller.regret import ftrl_bound, regret
from galatune.controller import Guard, ProbeRecord, ProbeSchedule
from galatune.controller.learners import DEFAULT_LOSS, FTRL, Quadratic, Surrogate
from galatune.controller.rule.estimate import Observation
from galatune.errors import ControlError

UNIT = Surrogate(weight_power=0.0, curvature="lipschitz")
"""The loss of a normalized step: its direction has length 1, whatever the gradient's."""
BOUNDS = (1e-3, 0.5)
STEPS = 90


class NormalizedSGD(torch.optim.Optimizer):
    """``m <- momentum m + (1 - momentum) g;  x <- x - lr m / ||m||``, the case that theory covers."""

    def __init__(self, params: Any, lr: float = 0.1, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                average = self.state[p].setdefault("average", p.grad.clone())
                average.lerp_(p.grad, 1 - group["momentum"])
            whole = math.sqrt(sum(float(self.state[p]["average"].square().sum()) for p in group["params"]))
            for p in group["params"]:
                p.sub_(self.state[p]["average"], alpha=group["lr"] / whole)
        return loss


def quadratic(seed: int, noise: float):
    """A badly scaled bowl whose gradients are noisy."""
    draw = torch.Generator().manual_seed(seed)
    scales = torch.logspace(-1, 1, 12, dtype=torch.float64)
    x = torch.nn.Parameter(torch.randn(12, generator=draw, dtype=torch.float64))
    shifts = noise * torch.randn(STEPS, 12, generator=draw, dtype=torch.float64)
    return [x], lambda t: 0.5 * (scales * x * x).sum() + (shifts[t] * x).sum()


def net(seed: int, noise: float):
    """A small net with tanh on random minibatches; a share of the labels is random."""
    draw = torch.Generator().manual_seed(seed)
    module = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.3, generator=draw)
    inputs = torch.randn(STEPS, 16, 5, generator=draw, dtype=torch.float64)
    labels = inputs[..., :3].argmax(-1)
    wrong = torch.rand(labels.shape, generator=draw) < noise
    labels = torch.where(wrong, torch.randint(3, labels.shape, generator=draw), labels)
    return list(module.parameters()), lambda t: torch.nn.functional.cross_entropy(
        module(inputs[t]), labels[t]
    )


def controlled(problem, seed, learner, noise=0.3, **options):
    """History of a run in which the learner alone decides, by a probe each step."""
    parameters, loss = problem(seed, noise)
    optimizer = NormalizedSGD(parameters)
    every_step = ProbeSchedule(first=STEPS)
    options = {"guard": Guard(math.inf, math.inf), "step_scale": 1.0, "probe_schedule": every_step, **options}
    controller = attach(optimizer, probe="closure", learner=learner, **options)
    for t in range(STEPS):

        def closure(t=t):
            optimizer.zero_grad()
            value = loss(t)
            value.backward()
            return value

        optimizer.step(closure)
    return controller.history


def record(step: int, played: float | None, a: float | None, c: float | None, g: float | None = 1.0):
    return ProbeRecord(step, 9.9, a, c, c, step, gradient_norm_squared=g, played_rate=played)


def test_regret_of_the_best_fixed_rate_is_zero():
    history = [record(2, 0.25, 0.5, 4.0), record(3, 0.25, 1.5, 4.0)]
    found = regret(history)
    assert found.best_fixed_rate == 0.25
    assert found.regret == found.average == 0.0
    assert found.losses == found.best_losses == (0.0, -0.25)


def test_regret_is_what_it_says_by_hand():
    history = [record(2, 0.1, 1.0, 2.0, g=4.0), record(3, 0.6, 0.5, 1.0, g=2.0)]
    found = regret(history)
    first = -4 * 0.1 + 0.5 * 8 * 0.01
    second = -1 * 0.6 + 0.5 * 2 * 0.36
    assert found.losses == pytest.approx((first, second))
    assert found.best_fixed_rate == pytest.approx((4 + 1) / (8 + 2))
    assert found.regret == pytest.approx(first + second - (-5 * 0.5 + 0.5 * 10 * 0.25))
    assert found.average == pytest.approx(found.regret / 2)
    default = regret(history, surrogate=DEFAULT_LOSS)
    assert default.best_fixed_rate == pytest.approx((2 + 0.5 * 2**0.5) / (4 + 2**0.5))


@pytest.mark.parametrize("seed", range(5))
def test_best_fixed_rate_is_the_best_of_a_grid(seed):
    draw = np.random.default_rng(seed)
    history = [record(t, *draw.uniform(0.1, 1, 4)) for t in range(20)]
    found, grid = regret(history, bounds=(0.2, 0.9)), np.linspace(0.2, 0.9, 20001)
    sums = sum(-r.gradient_norm_squared * (r.alignment * grid - 0.5 * r.lipschitz * grid**2) for r in history)
    assert found.best_fixed_rate == pytest.approx(grid[sums.argmin()], abs=1e-4)
    assert sum(found.best_losses) == pytest.approx(sums.min(), abs=1e-8)


def test_moving_rates_may_beat_every_fixed_one():
    history = [record(2, 1.0, 1.0, 1.0), record(3, 0.01, 1.0, 100.0)]
    assert regret(history).regret < 0


@pytest.mark.parametrize(("bounds", "best"), [((0.0, 0.1), 0.1), ((0.7, 2.0), 0.7), ((0.0, 2.0), 0.5)])
def test_best_fixed_rate_lies_within_bounds(bounds, best):
    assert regret([record(2, 0.3, 1.0, 2.0)], bounds).best_fixed_rate == best


def test_rounds_that_saw_nothing_are_left_out():
    nothing = [record(2, 0.1, None, None, None), record(3, None, 1.0, 1.0)]
    empty = regret(nothing)
    assert (empty.losses, empty.best_fixed_rate, empty.regret, empty.average) == ((), None, 0.0, None)
    assert len(regret([*nothing, record(4, 0.1, 1.0, 1.0)]).losses) == 1
    assert ftrl_bound(nothing, Quadratic(1.0)) == 0.0


def test_losses_that_only_fall_need_bounds():
    flat = [record(2, 0.1, 1.0, 0.0)]
    with pytest.raises(ControlError, match="give bounds"):
        regret(flat)
    assert regret(flat, bounds=(0.0, 3.0)).best_fixed_rate == 3.0
    assert regret([record(2, 0.1, -1.0, 0.0)]).best_fixed_rate == 0.0


CASES = [(quadratic, 0.3), (quadratic, 3.0), (net, 0.0), (net, 0.3)]


@pytest.mark.parametrize("start", [BOUNDS[0], 0.05, BOUNDS[1]], ids=["low", "middle", "high"])
@pytest.mark.parametrize(("problem", "noise"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_regret_of_the_published_learner_stays_below_its_bound(problem, noise, seed, start):
    regularizer = Quadratic(0.1)
    learner = FTRL(start, *BOUNDS, regularizer=regularizer, surrogate=UNIT)
    history = controlled(problem, seed, learner, noise)
    found = regret(history, BOUNDS, UNIT)
    bound = ftrl_bound(history, regularizer, BOUNDS, UNIT)
    assert len(found.losses) == STEPS - 1
    assert 0 < bound < math.inf
    assert found.regret <= bound + 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_bound_holds_on_rounds_made_by_an_adversary(seed):
    """Gains that pull against the learner's present rate."""
    draw = np.random.default_rng(seed)
    regularizer = Quadratic(draw.uniform(0, 2), center=draw.uniform(0, 1))
    learner = FTRL(draw.uniform(0.1, 0.9), 0.1, 0.9, regularizer=regularizer, surrogate=UNIT)
    state, history = learner.init(), []
    for t in range(100):
        rate = learner.rate(state)
        cost = draw.uniform(0.1, 2)
        gain = cost * (0.1 if rate > 0.5 else 0.9)
        history.append(record(t, rate, gain, cost))
        state = learner.update(state, Observation(gain, cost, cost, 1.0))
    assert regret(history, (0.1, 0.9), UNIT).regret <= ftrl_bound(history, regularizer, (0.1, 0.9), UNIT)


def test_bound_is_violated_by_rates_that_are_not_the_learners():
    """So the test above can fail: rates at the wrong end all the time exceed it."""
    history = [record(t, 0.5, 0.1, 1.0) for t in range(100)]
    assert regret(history, (0.0, 0.5), UNIT).regret > ftrl_bound(history, Quadratic(1.0), (0.0, 0.5), UNIT)
