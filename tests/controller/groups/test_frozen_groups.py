"""Groups that are held still by a rate of 0, and raised later."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import LambdaLR

from controller.training import batches, classifier, steps, weights
from galatune import attach
from galatune.controller import ProbeSchedule

KINDS = {
    "sgd": (SGD, {"weight_decay": 0.01}),
    "momentum": (SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    "adam": (Adam, {"weight_decay": 0.01}),
    "adamw": (AdamW, {"weight_decay": 0.1}),
    "rmsprop": (RMSprop, {}),
}


class Training:
    """A classifier with one group for each layer; `rates` maps a step to the rates from there on."""

    def __init__(self, rates, kind="sgd", *, tensors=False, closure=False, **options):
        self.rates, self.tensors = rates, tensors
        self.net, (make, settings) = classifier(), KINDS[kind]
        groups = [
            {"params": layer.parameters(), "lr": rate}
            for layer, rate in zip((self.net[0], self.net[2]), rates[0], strict=True)
        ]
        self.optimizer = make(groups, **settings)
        self.applied, self.first, self.losses = [], [], []
        self.controller = attach(self.optimizer, **options)
        self.closure = closure

    def run(self, start, stop):
        stream = steps(self.net, self.optimizer, batches(stop)[start:], closure=self.closure)
        for step in range(start, stop):
            for group, rate in zip(self.optimizer.param_groups, self.rates.get(step, ()), strict=False):
                group["lr"] = torch.tensor(rate) if self.tensors else rate
            self.losses.append(next(stream))
            self.applied.append([group["galatune"].group.applied for group in self.optimizer.param_groups])
            self.first.append(self.net[0].weight.detach().clone())
        return self


@pytest.mark.parametrize("closure", [False, True], ids=["graph", "closure"])
@pytest.mark.parametrize("tensors", [False, True], ids=["float", "tensor"])
@pytest.mark.parametrize("kind", KINDS)
def test_group_moves_once_it_is_raised_by_hand_and_not_before(kind, tensors, closure):
    # From step 30 on steps are probed seldom: the raise at 77 is at a step without a probe.
    one = Training({0: (0.0, 0.1), 77: (0.1, 0.1)}, kind, tensors=tensors, closure=closure)
    initial = one.net[0].weight.detach().clone()
    one.run(0, 120)
    assert all(torch.equal(weight, initial) for weight in one.first[:77])
    assert not torch.equal(one.first[77], initial)
    assert all(first == second > 0 for first, second in one.applied[77:])
    assert max(one.losses[77:]) < 2 * one.losses[76] + 0.5


@pytest.mark.parametrize("raised", [(1e-3, 1e-2), (1e-2, 1e-3), (1e-2, 1e-2)])
def test_raised_group_has_the_ratio_of_the_rates_that_were_given(raised):
    one = Training({0: (0.0, raised[1]), 40: raised}, "adam").run(0, 60)
    assert all(second * raised[0] == pytest.approx(first * raised[1]) for first, second in one.applied[40:])
    assert all(first > 0 for first, _ in one.applied[40:])


def test_groups_of_which_none_moved_have_the_ratio_of_the_rates_they_are_raised_to():
    one = Training({0: (0.0, 0.0), 20: (1e-3, 1e-1)}, "adamw")
    initial = weights(one.net)
    one.run(0, 20)
    assert torch.equal(weights(one.net), initial)
    assert one.controller.probes == 0
    one.run(20, 70)
    assert all(second == pytest.approx(100 * first) for first, second in one.applied[20:])
    assert one.applied[20][1] < 1e-3  # it begins as a training does, whatever happened while it was held
    assert one.losses[-1] < one.losses[19]


def test_ramp_of_one_group_is_followed_relative_to_the_others():
    ramp = {20 + t: (0.1 * (t + 1) / 10, 0.1) for t in range(10)}
    one = Training({0: (0.0, 0.1)} | ramp).run(0, 60)
    for t in range(10):
        first, second = one.applied[20 + t]
        assert first == pytest.approx(second * (t + 1) / 10)
    assert one.applied[-1][0] == one.applied[-1][1]


def test_rate_as_good_as_zero_at_first_is_raised_like_zero():
    one = Training({0: (1e-12, 0.1), 77: (0.1, 0.1)}).run(0, 100)
    assert all(first == second > 0 for first, second in one.applied[77:])
    assert one.applied[77][0] < one.applied[76][1] / 10  # the rate began anew


@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_group_frozen_for_a_while_rests_and_goes_on(kind):
    one = Training({0: (0.1, 0.1), 30: (0.0, 0.1), 77: (0.1, 0.1)}, kind).run(0, 120)
    assert all(torch.equal(weight, one.first[29]) for weight in one.first[29:77])
    assert not torch.equal(one.first[77], one.first[76])
    assert all(first == second > 0 for first, second in one.applied[77:])
    assert "a group's rate fell below its peak" not in str(one.controller.events)


def test_groups_that_take_turns_each_train():
    turns = {step: ((0.1, 0.0), (0.0, 0.1))[step // 5 % 2] for step in range(0, 200, 5)}
    one = Training(turns, "adam").run(0, 200)
    for before, after, step in zip(one.first, one.first[1:], range(1, 200), strict=False):
        assert torch.equal(before, after) == bool(step // 5 % 2)
    assert one.losses[-1] < 0.6 * one.losses[0]
    assert one.controller.probes < 100


def test_lambda_of_zero_for_one_group_holds_it_and_follows_its_rise():
    net = classifier()
    optimizer = AdamW([{"params": net[0].parameters()}, {"params": net[2].parameters()}], lr=0.01)
    controller = attach(optimizer)
    scheduler = LambdaLR(optimizer, [lambda step: min(1.0, max(0.0, (step - 39) / 10)), lambda step: 1.0])
    initial, applied = net[0].weight.detach().clone(), []
    for step, _ in enumerate(steps(net, optimizer, batches(90), scheduler=scheduler)):
        assert torch.equal(net[0].weight, initial) == (step < 40)
        applied.append([group["galatune"].group.applied for group in optimizer.param_groups])
    assert controller.steps == 90
    assert all(first == 0 for first, _ in applied[:40])
    assert applied[44][0] == pytest.approx(applied[44][1] / 2)
    assert applied[-1][0] == applied[-1][1]


@pytest.mark.parametrize("per_group", [False, True])
def test_optimizer_whose_scheduler_begins_late_rests_after_its_first_step(per_group):
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    attach(optimizer, per_group=per_group)
    scheduler = LambdaLR(optimizer, lambda step: float(step >= 30))
    seen = [weights(net) for _ in steps(net, optimizer, batches(60), scheduler=scheduler)]
    assert all(torch.equal(one, seen[0]) for one in seen[:30])
    assert not torch.equal(seen[30], seen[29])


def test_group_with_a_rate_of_its_own_begins_when_it_is_raised():
    one = Training({0: (0.0, 0.1), 50: (3.0, 0.1)}, per_group=True).run(0, 120)
    assert all(first == 0 for first, _ in one.applied[:50])
    assert 0 < one.applied[50][0] < one.applied[49][1] / 10
    assert one.applied[-1][0] > 100 * one.applied[50][0]
    assert one.applied[50][1] > 0.5 * one.applied[49][1]


@pytest.mark.parametrize("scheduled", [False, True], ids=["by hand", "LambdaLR"])
@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_frozen_group_has_no_part_in_the_rate_of_the_other(kind, scheduled):
    def rates(frozen):
        net, (make, settings) = classifier(), KINDS[kind]
        groups = [{"params": net[2].parameters(), "lr": 0.1}]
        if frozen:
            groups.append({"params": net[0].parameters(), "lr": 0.1 if scheduled else 0.0})
        optimizer = make(groups, **settings)
        controller = attach(optimizer)
        factors = [lambda step: 1.0, lambda step: 0.0][: len(groups)]
        scheduler = LambdaLR(optimizer, factors) if scheduled else None
        list(steps(net, optimizer, batches(60), scheduler=scheduler))
        return controller.rate_curve.points()

    assert rates(frozen=True) == rates(frozen=False)


@pytest.mark.parametrize("cut", [39, 40, 41, 42])
@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_training_resumed_at_the_raise_goes_on_to_the_last_bit(kind, cut):
    rates = {0: (0.0, 0.1), 40: (0.02, 0.1), 41: (0.05, 0.1)}
    whole = Training(rates, kind).run(0, 80)
    first = Training(rates, kind).run(0, cut)
    saved = copy.deepcopy((first.net.state_dict(), first.optimizer.state_dict()))
    second = Training(rates, kind)
    second.net.load_state_dict(saved[0])
    second.optimizer.load_state_dict(saved[1])
    second.run(cut, 80)
    assert torch.equal(weights(second.net), weights(whole.net))
    assert second.applied == whole.applied[cut:]


def test_state_from_before_groups_could_begin_late_loads():
    one = Training({0: (0.0, 0.1)}).run(0, 20)
    state = one.controller.state_dict()
    for group in state["groups"]:
        del group["group"]["late"]
    other = Training({0: (0.0, 0.1), 25: (0.1, 0.1)})
    other.controller.load_state_dict(state)
    other.run(20, 60)
    assert other.applied[-1][0] == other.applied[-1][1] > 0


@pytest.mark.parametrize("rate", [None, -0.1, math.nan, math.inf])
def test_what_is_no_rate_holds_its_group_still_and_is_said(rate):
    one = Training({0: (0.1, 0.1), 30: (rate, 0.1), 50: (0.1, 0.1)}).run(0, 70)
    assert all(torch.equal(weight, one.first[29]) for weight in one.first[29:50])
    assert not torch.equal(one.first[50], one.first[49])
    said = [event.reason for event in one.controller.events if "held still" in event.reason]
    assert len(said) == 1
    assert torch.isfinite(weights(one.net)).all()


def test_group_added_at_rate_zero_moves_once_it_is_raised():
    net = classifier()
    optimizer = Adam(net[2].parameters(), lr=0.01)
    attach(optimizer)
    list(steps(net, optimizer, batches(30)))
    optimizer.add_param_group({"params": net[0].parameters(), "lr": 0.0})
    initial = net[0].weight.detach().clone()
    list(steps(net, optimizer, batches(30)))
    assert torch.equal(net[0].weight, initial)
    optimizer.param_groups[1]["lr"] = 0.005
    list(steps(net, optimizer, batches(30)))
    applied = [group["galatune"].group.applied for group in optimizer.param_groups]
    assert applied[0] == pytest.approx(2 * applied[1])
    assert not torch.equal(net[0].weight, initial)


def test_group_without_parameters_is_no_hindrance():
    net = classifier()
    optimizer = SGD([{"params": [], "lr": 0.0}, {"params": net.parameters(), "lr": 0.1}])
    attach(optimizer)
    losses = list(steps(net, optimizer, batches(60)))
    optimizer.param_groups[0]["lr"] = 0.1
    losses += list(steps(net, optimizer, batches(60)))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_without_gradients_at_first_train_once_they_have_them(kind):
    one = Training({0: (0.1, 0.1)}, kind)
    initial = one.net[0].weight.detach().clone()
    one.net[0].requires_grad_(False)
    one.run(0, 77)
    assert torch.equal(one.net[0].weight, initial)
    one.net[0].requires_grad_(True)
    one.run(77, 120)
    assert not torch.equal(one.net[0].weight, initial)
    assert max(one.losses[77:]) < 2 * one.losses[76] + 0.5


@pytest.mark.parametrize("probe", ["consecutive", "graph", "closure"])
def test_every_probe_leaves_frozen_parameters_out(probe):
    schedule = ProbeSchedule(first=30, every=5, thinning=0.0)
    one = Training(
        {0: (0.0, 0.1), 33: (0.1, 0.1)}, closure=probe == "closure", probe=probe, probe_schedule=schedule
    ).run(0, 80)
    assert one.controller.probe == probe
    assert one.controller.probes > 35
    assert all(torch.equal(weight, one.first[0]) for weight in one.first[:33])
    assert one.applied[-1][0] == one.applied[-1][1] > 10 * one.applied[33][1]


@pytest.mark.parametrize("way", ["rate", "requires_grad", "one group", "added"])
@pytest.mark.parametrize("make", [SGD, Adam], ids=["sgd", "adam"])
def test_unfreezing_does_not_explode(make, way):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))
    inputs = torch.randn(512, 8)
    target = torch.tanh(inputs @ torch.randn(8, 6) / 3) @ torch.randn(6, 1)
    backbone, head = [*net[:3].parameters()], [*net[4].parameters()]
    for p in backbone:
        p.requires_grad_(way == "rate")
    groups = [{"params": head}, {"params": backbone, "lr": 0.0 if way == "rate" else 0.1}]
    groups = [{"params": head + backbone}] if way == "one group" else groups[: 1 + (way != "added")]
    optimizer = make(groups, lr=0.1)
    controller = attach(optimizer)
    losses = []
    for step in range(240):
        if step == 120:
            for p in backbone:
                p.requires_grad_(True)
            if way == "added":
                optimizer.add_param_group({"params": backbone, "lr": 0.1})
            optimizer.param_groups[-1]["lr"] = 0.1
        part = torch.randint(512, (32,))
        optimizer.zero_grad()
        functional.mse_loss(net(inputs[part]), target[part]).backward()
        optimizer.step()
        losses.append(functional.mse_loss(net(inputs), target).item())
    assert max(losses[120:]) < 2 * losses[119]
    assert losses[-1] < 0.7 * losses[119]
    assert sum("begins anew" in event.reason for event in controller.events) == 1
