"""The controller beside its literal twin, step by step."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from reference import net as reference_net
from reference import optimizers as twins
from reference import rule as reference_rule

from galatune import attach
from galatune.controller.probes.echo import EchoProbe
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.controller.rule.prior import Prior

STEPS = 75
CASES: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any], Callable[[], Any]]] = {
    "sgd": (torch.optim.SGD, {}, twins.SGD),
    "sgd momentum": (torch.optim.SGD, {"momentum": 0.9}, twins.SGD),
    "sgd nesterov": (torch.optim.SGD, {"momentum": 0.8, "nesterov": True}, twins.SGD),
    "sgd dampening": (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.5}, twins.SGD),
    "sgd decay": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.05}, twins.SGD),
    "sgd maximize": (torch.optim.SGD, {"maximize": True, "weight_decay": 0.05}, twins.SGD),
    "adam": (torch.optim.Adam, {}, twins.Adam),
    "adam decay": (torch.optim.Adam, {"weight_decay": 0.05}, twins.Adam),
    "adam amsgrad": (torch.optim.Adam, {"amsgrad": True, "betas": (0.8, 0.9)}, twins.Adam),
    "adam maximize": (torch.optim.Adam, {"maximize": True, "weight_decay": 0.01}, twins.Adam),
    "adamw": (
        torch.optim.AdamW,
        {"weight_decay": 0.1},
        functools.partial(twins.Adam, decoupled=True),
    ),
    "adamw plain": (
        torch.optim.AdamW,
        {"weight_decay": 0.0, "eps": 1e-3},
        functools.partial(twins.Adam, decoupled=True),
    ),
}


class SignDescent(torch.optim.Optimizer):
    """An optimizer that the controller has no metric for."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad.sign(), alpha=-float(group["lr"]))
        return loss


def cosine(t: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * t / STEPS))


def train(
    optimizer: Any,
    net: Any,
    batches: Any,
    probe: str,
    sign: float,
    decaying: bool,
    scheduler: Any = None,
    **options: Any,
):
    """Rates as applied, under control; and the controller."""
    if decaying:
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    controller = attach(optimizer, probe=probe, **options)
    rates = []
    for inputs, labels in batches:

        def closure(inputs=inputs, labels=labels):
            optimizer.zero_grad()
            loss = sign * torch.nn.functional.cross_entropy(net(inputs), labels)
            loss.backward()
            return loss

        if probe == "closure":
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        rates.append(controller.learning_rate)
        if scheduler is not None:
            scheduler.step()
    return rates, controller


def literal(
    net: torch.nn.Module,
    batches: Any,
    twin: Any,
    *,
    sign: float = 1.0,
    decaying: bool = False,
    **options: Any,
) -> reference_rule.Run:
    """What the rule does word by word, from this net's parameters on."""
    scale = 2.0 if isinstance(twin, twins.SGD) or not options.get("direction", True) else 2.5
    decay = {"schedule": cosine, "scale": scale} if decaying else {}
    return reference_rule.train(
        lambda x, batch: sign * reference_net.cross_entropy(x, batch),
        reference_net.flat(net).numpy(),
        batches,
        twin,
        **{**decay, **options},
    )


@pytest.mark.parametrize("probe", ["closure", "graph"])
def test_step_scale_falls_in_a_long_training(probe):
    steps, gamma = 300, 0.99

    def scale(taken: int) -> float:
        return 2.5 * math.sqrt(200 / max(taken, 200))

    net, batches = reference_net.module(), reference_net.minibatches(steps)
    expected = literal(net, batches, twins.Adam(), probe=probe, schedule=lambda t: gamma**t, scale=scale)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)
    rates, _ = train(optimizer, net, batches, probe, 1.0, False, scheduler)
    assert rates == pytest.approx(expected.rates, rel=1e-4, abs=0)
    assert rates[-1] < rates[220] * gamma**79  # less than the schedule alone makes of it


@pytest.mark.parametrize("decaying", [False, True], ids=["constant", "cosine"])
@pytest.mark.parametrize("probe", ["closure", "graph"])
@pytest.mark.parametrize("case", CASES)
def test_attach_follows_the_literal_rule(case, probe, decaying):
    kind, options, twin = CASES[case]
    sign = -1.0 if options.get("maximize") else 1.0
    net, batches = reference_net.module(), reference_net.minibatches(STEPS)
    expected = literal(net, batches, twin(**options), sign=sign, decaying=decaying, probe=probe)
    optimizer = kind(net.parameters(), lr=0.3, **options)
    rates, controller = train(optimizer, net, batches, probe, sign, decaying)
    # The start measures curvature over a step of 1e-5, where closures lose 5 of 16 digits.
    assert rates == pytest.approx(expected.rates, rel=1e-7, abs=0)
    assert reference_net.flat(net).numpy() == pytest.approx(expected.x, rel=1e-6, abs=1e-8)
    seen = [record for record in controller.history if record.alignment is not None]
    assert [r.alignment for r in seen] == pytest.approx(expected.alignments, rel=1e-6)
    assert [r.lipschitz for r in seen] == pytest.approx(expected.lipschitz, rel=1e-5)
    assert [r.curvature for r in seen] == pytest.approx(expected.curvatures, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("probe", ["closure", "graph"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_attach_with_group_ratios_follows_the_literal_rule(kind, probe):
    net, batches = reference_net.module(), reference_net.minibatches(STEPS)
    hidden = sum(p.numel() for p in net[0].parameters())
    ratio = torch.ones(reference_net.flat(net).numel(), dtype=torch.float64)
    ratio[:hidden] = 0.1
    twin = twins.SGD() if kind is torch.optim.SGD else twins.Adam(decoupled=True, weight_decay=0.01)
    expected = literal(net, batches, twin, probe=probe, ratio=ratio.numpy())
    groups = [{"params": net[0].parameters(), "lr": 0.02}, {"params": net[2].parameters(), "lr": 0.2}]
    rates, _ = train(kind(groups), net, batches, probe, 1.0, False)
    assert rates == pytest.approx(expected.rates, rel=1e-7, abs=0)


@pytest.mark.parametrize("probe", ["closure", "graph"])
def test_attach_to_an_unknown_optimizer_follows_the_literal_rule(probe):
    net, batches = reference_net.module(), reference_net.minibatches(STEPS)
    expected = literal(net, batches, twins.Sign(), probe=probe)
    rates, _ = train(SignDescent(net.parameters(), 0.3), net, batches, probe, 1.0, False)
    assert rates == pytest.approx(expected.rates, rel=1e-7, abs=0)


@pytest.mark.parametrize("decaying", [False, True], ids=["constant", "cosine"])
@pytest.mark.parametrize("probe", ["closure", "graph"])
@pytest.mark.parametrize("case", ["sgd momentum", "adamw"])
def test_published_alignment_follows_the_literal_rule(case, probe, decaying):
    kind, options, twin = CASES[case]
    net, batches = reference_net.module(), reference_net.minibatches(STEPS)
    expected = literal(net, batches, twin(**options), decaying=decaying, probe=probe, direction=False)
    optimizer = kind(net.parameters(), lr=0.3, **options)
    rates, _ = train(optimizer, net, batches, probe, 1.0, decaying, alignment="same_minibatch")
    assert rates == pytest.approx(expected.rates, rel=1e-7, abs=0)


@pytest.mark.parametrize("quiet", [7, 50])
@pytest.mark.parametrize("case", ["sgd", "adamw", "unknown"])
def test_start_without_gradient_follows_the_literal_rule(case, quiet):
    kind, options, twin = CASES.get(case, (SignDescent, {}, twins.Sign))
    net, batches = reference_net.module(), reference_net.minibatches(quiet + STEPS)
    expected = reference_rule.train(
        lambda x, batch: batch[2] * reference_net.cross_entropy(x, batch[:2]),
        reference_net.flat(net).numpy(),
        [(*batch, float(t >= quiet)) for t, batch in enumerate(batches)],
        twin(**options),
    )
    optimizer = kind(net.parameters(), 0.3, **options)
    controller = attach(optimizer, probe="closure")
    rates = []
    for t, (inputs, labels) in enumerate(batches):

        def closure(t=t, inputs=inputs, labels=labels):
            optimizer.zero_grad()
            loss = float(t >= quiet) * torch.nn.functional.cross_entropy(net(inputs), labels)
            loss.backward()
            return loss

        optimizer.step(closure)
        rates.append(controller.learning_rate)
    assert rates[:quiet] == [0.0] * quiet
    assert rates == pytest.approx(expected.rates, rel=1e-7, abs=0)
    assert [r.step - 1 for r in controller.history[:10]] == list(range(quiet + 1, quiet + 11))


@pytest.mark.parametrize("decaying", [False, True], ids=["constant", "cosine"])
@pytest.mark.parametrize("case", ["sgd momentum", "adam decay", "adamw plain"])
def test_repeated_minibatches_follow_the_literal_rule(case, decaying):
    kind, options, twin = CASES[case]
    net, batches = reference_net.module(), reference_net.minibatches(STEPS)
    start, drawn, echo = reference_net.module(), [], EchoProbe()
    optimizer = kind(net.parameters(), lr=0.3, **options)
    seen = (drawn.append(batch) or batch for batch in echo.over(batches))
    rates, controller = train(optimizer, net, seen, echo, 1.0, decaying)
    probed = {record.step - 1 for record in controller.history}
    assert len(probed) > 15
    scale = {torch.optim.SGD: (3.0, 1.5)}.get(kind, (5.0, 2.5))[0 if decaying else 1]
    expected = literal(
        start,
        drawn,
        twin(**options),
        decaying=decaying,
        probe="echo",
        scale=scale,
        probed=probed.__contains__,
    )
    assert rates == pytest.approx(expected.rates, rel=1e-7, abs=0)


def test_probing_rarely_follows_the_literal_rule():
    net, batches = reference_net.module(), reference_net.minibatches(STEPS)
    expected = literal(net, batches, twins.SGD(), probe_first=5, probe_every=4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    rates, controller = train(
        optimizer, net, batches, "closure", 1.0, False, probe_schedule=ProbeSchedule(every=4, first=5)
    )
    assert rates == pytest.approx(expected.rates, rel=1e-7, abs=0)
    probed = [r.step - 1 for r in controller.history]
    assert probed[:17] == [*range(1, 11), *range(12, 40, 4)]  # far below until the 10th
    assert len(probed) == controller.probes < 26


def long_training(**options):
    """Rates of a net that comes to fit its few rows."""
    net, batches = reference_net.module(), reference_net.minibatches(2, size=4)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.3)
    rates, _ = train(optimizer, net, batches * 400, "graph", 1.0, False, **options)
    return rates


def test_gradients_that_fade_lower_the_rate_of_a_long_training():
    plain, faded = long_training(step_scale=1.0), long_training()
    assert faded[:601] == plain[:601]  # the step scale without a schedule is 1
    assert faded[-1] < 0.8 * plain[-1]


def test_gradients_that_fade_change_nothing_with_a_prior():
    prior = Prior(rate=0.05, spread=0.5)
    assert long_training(prior=prior) == long_training(prior=prior, step_scale=1.0)
