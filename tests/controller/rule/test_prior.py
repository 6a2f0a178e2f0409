"""A prior beside what gradients ask for: where the rate begins, goes and ends."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

import galatune
from galatune.controller.rule.prior import Prior
from galatune.errors import ControlError


def test_the_surer_one_decides() -> None:
    sure = Prior(rate=1.0, spread=0.01)
    unsure = Prior(rate=1.0, spread=2.0, bias_spread=0.01)
    assert sure.weigh(1.02).rate == pytest.approx(1.0, rel=1e-3)
    assert unsure.weigh(3.0).rate == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("spread", [0.2, 0.7, 1.5])
@pytest.mark.parametrize("asked", [1e-6, 0.01, 0.3, 40.0])
def test_the_rate_lies_between_both(spread: float, asked: float) -> None:
    rate = Prior(rate=0.1, spread=spread).weigh(asked).rate
    assert min(asked, 0.1) <= rate <= max(asked, 0.1)


def test_a_contradiction_is_met_half_way() -> None:
    prior = Prior(rate=1.0, spread=0.1, bias_spread=0.9)
    near, far = prior.weigh(math.exp(-1.9)), prior.weigh(math.exp(-2.1))
    assert not near.disagree
    assert math.log(near.rate) > -0.1
    assert far.disagree
    assert math.log(far.rate) == pytest.approx(-1.05)


def test_a_known_bias_is_taken_off() -> None:
    prior = Prior(rate=1.0, spread=0.5, bias=math.log(3.0), bias_spread=0.5)
    assert prior.weigh(3.0).rate == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": 0.0, "spread": 1.0}, "rate=0.0"),
        ({"rate": math.nan, "spread": 1.0}, "rate=nan"),
        ({"rate": 1.0, "spread": 0.0}, "spread=0.0"),
        ({"rate": 1.0, "spread": math.inf}, "spread=inf"),
        ({"rate": 1.0, "spread": 1.0, "bias": math.nan}, "bias=nan"),
        ({"rate": 1.0, "spread": 1.0, "bias_spread": -1.0}, "bias_spread=-1.0"),
    ],
)
def test_what_is_no_number_of_the_right_kind_is_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(ControlError, match=said):
        Prior(**given)


def trained(
    built: float, steps: int = 40, kind: str = "Adam", **options: object
) -> tuple[list[float], Tensor]:
    """Applied rates, and the loss at the end, of a small regression."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    x = torch.randn(256, 5)
    y = x[:, :1] * x[:, 1:2]
    extra = {"momentum": 0.9} if kind == "SGD" else {}
    optimizer = getattr(torch.optim, kind)(net.parameters(), lr=built, **extra)
    controller = galatune.attach(optimizer, **options)  # type: ignore[arg-type]
    rates = []
    for step in range(steps):
        rows = slice(32 * (step % 8), 32 * (step % 8) + 32)
        optimizer.zero_grad()
        loss = (net(x[rows]) - y[rows]).square().mean()
        loss.backward()
        optimizer.step()
        assert isinstance(controller.learning_rate, float)
        rates.append(controller.learning_rate)
    return rates, (net(x) - y).square().mean().detach()


@pytest.mark.parametrize("kind", ["Adam", "SGD", "RMSprop"])
def test_the_rate_is_there_within_a_few_steps(kind: str) -> None:
    good = {"Adam": 0.02, "SGD": 0.05, "RMSprop": 0.01}[kind]
    rates, _ = trained(1e-3, kind=kind, prior=Prior(good, 0.3))
    assert rates[0] == pytest.approx(good / 8)
    assert max(abs(math.log(rate / good)) for rate in rates[4:]) < 1.2


@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_the_rate_that_the_optimizer_was_built_with_does_not_matter(kind: str) -> None:
    prior = Prior(0.02, 0.5)
    assert trained(1e-5, kind=kind, prior=prior)[0] == pytest.approx(trained(10.0, kind=kind, prior=prior)[0])


def test_a_short_training_gains_from_a_prior() -> None:
    _, cold = trained(1e-3, steps=16)
    _, known = trained(1e-3, steps=16, prior=Prior(0.03, 0.6))
    assert known < 0.95 * cold


def test_gradients_bring_down_a_rate_that_is_far_too_high() -> None:
    high = Prior(0.3, 0.9)
    rates, loss = trained(1e-3, steps=150, prior=high)
    _, kept = trained(1e-3, steps=150, min_lr=high.rate, max_lr=high.rate)
    assert max(rates[20:]) < 0.7 * high.rate
    assert loss < kept


def test_bounds_hold_beside_a_prior() -> None:
    assert max(trained(1e-3, prior=Prior(0.5, 0.2), max_lr=0.01)[0]) == pytest.approx(0.01)


def test_a_prior_is_that_of_the_group_with_the_largest_rate() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    groups = [{"params": net[0].parameters(), "lr": 1e-4}, {"params": net[2].parameters(), "lr": 1e-3}]
    for per_group in (False, True):
        optimizer = torch.optim.Adam(groups)
        controller = galatune.attach(optimizer, prior=Prior(0.08, 0.3), per_group=per_group)
        net(torch.randn(8, 5)).square().mean().backward()
        optimizer.step()
        first = controller.learning_rate
        assert (max(first) if isinstance(first, list) else first) == pytest.approx(0.01)
        if isinstance(first, list):
            assert first[0] == pytest.approx(0.001)
        controller.detach()


def test_a_loss_without_curvature_comes_to_the_prior() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    controller = galatune.attach(optimizer, prior=Prior(0.5, 0.5))
    for _ in range(10):
        optimizer.zero_grad()
        weight.sum().backward()
        optimizer.step()
    assert controller.learning_rate == pytest.approx(0.5)
    assert [event.kind for event in controller.events].count("flat") == 1
    assert controller.unseen is None


def test_a_checkpoint_goes_on_bit_equal() -> None:
    def begin() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        return net, torch.optim.AdamW(net.parameters())

    def train(net: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            x = torch.randn(16, 5, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            (net(x) - x[:, :1]).square().mean().backward()
            optimizer.step()

    prior = Prior(0.02, 0.5)
    net, optimizer = begin()
    whole = galatune.attach(optimizer, prior=prior)
    train(net, optimizer, range(8))
    saved = {k: v.clone() for k, v in net.state_dict().items()}, copy.deepcopy(whole.optimizer.state_dict())
    train(net, optimizer, range(8, 40))
    other, again = begin()
    part = galatune.attach(again, prior=prior)
    other.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    train(other, again, range(8, 40))
    assert part.learning_rate == whole.learning_rate
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_what_is_no_prior_is_refused() -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
    with pytest.raises(ControlError, match=r"prior is a Prior or None, however: prior=0\.1"):
        galatune.attach(optimizer, prior=0.1)  # type: ignore[arg-type]


def test_the_rate_has_arrived_as_soon_as_it_is_where_good_rates_lie() -> None:
    def steps_until_arrived(**options: Prior) -> int:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
        x = torch.randn(256, 5)
        with galatune.controlled(**options) as capture:  # type: ignore[arg-type]
            optimizer = torch.optim.Adam(net.parameters())
            for step in range(400):
                optimizer.zero_grad()
                (net(x) - x[:, :1] * x[:, 1:2]).square().mean().backward()
                optimizer.step()
                if capture.rates_arrived:
                    return step + 1
        return 400

    assert steps_until_arrived(prior=Prior(0.01, 0.3)) <= 4
    assert steps_until_arrived() > 10
