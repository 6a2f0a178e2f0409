"""A training whose probes all saw nothing says so, once, and only then."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from controller.training import batches, classifier, train
from galatune import attach, controlled
from galatune.controller import Probe, ProbeSchedule
from galatune.controller.controller import Controller


class Blind(Probe):
    """A probe that never has a pair."""

    name = "blind"

    @property
    def ready(self) -> bool:
        return False


class Empty(Probe):
    """One whose pairs are of no parameter."""

    name = "empty"

    def pair(self) -> list[Any]:
        self.forget()
        return []


def kinds(controller: Controller) -> list[str]:
    return [event.kind for event in controller.events]


def trained(steps: int, **options: Any) -> Controller:
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=0.1)
    controller = attach(optimizer, **options)
    train(net, optimizer, batches(steps))
    controller.detach()
    return controller


@pytest.mark.parametrize("probe", [Blind, Empty])
def test_probes_that_see_nothing_are_an_event(probe):
    controller = trained(60, probe=probe())
    assert kinds(controller).count("unseen") == 1
    event = next(event for event in controller.events if event.kind == "unseen")
    assert event.step < 30
    assert "the rate stayed where it began" in event.reason
    assert probe.name in event.reason
    assert "\n" not in event.reason
    assert controller.unseen is not None


def test_it_is_said_at_the_end_of_a_short_training():
    controller = trained(6, probe=Blind())
    assert kinds(controller)[-1] == "unseen"


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_training_that_is_too_short_is_not_called_so(steps):
    controller = trained(steps, probe=Blind())
    assert "unseen" not in kinds(controller)
    assert controller.unseen is None


@pytest.mark.parametrize("probe", ["auto", "graph", "echo", "consecutive"])
def test_a_training_that_is_seen_is_not_called_so(probe):
    data = torch.utils.data.DataLoader(batches(12), batch_size=None)
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe=probe)
    train(net, optimizer, data)
    controller.detach()
    assert controller.unseen is None
    assert "unseen" not in kinds(controller)


def test_a_frozen_rate_and_a_schedule_without_probes_are_not_called_so():
    never = ProbeSchedule(every=1000, first=0, thinning=0.0)
    assert "unseen" not in kinds(trained(40, probe_schedule=never))
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe=Blind())
    train(net, optimizer, batches(2))
    controller.freeze()
    train(net, optimizer, batches(40))
    controller.detach()
    assert "unseen" not in kinds(controller)


@pytest.mark.parametrize("gradient", [None, 0.0])
def test_parameters_without_a_gradient_are_not_called_so(gradient):
    idle, net = nn.Linear(2, 2), classifier()
    with controlled() as capture:
        first, second = SGD(idle.parameters(), lr=0.1), SGD(net.parameters(), lr=0.1)
        for batch in batches(30):
            for p in idle.parameters():
                p.grad = None if gradient is None else torch.zeros_like(p)
            first.step()
            train(net, second, [batch])
    assert [controller.unseen for controller in capture.controllers] == [None, None]
    assert all("unseen" not in kinds(controller) for controller in capture.controllers)


def test_a_gradient_that_vanishes_is_not_called_so():
    parameter = nn.Parameter(torch.ones(3))
    optimizer = SGD([parameter], lr=0.1)
    controller = attach(optimizer)
    for step in range(40):
        optimizer.zero_grad()
        ((1.0 if step == 0 else 0.0) * parameter.square()).sum().backward()
        optimizer.step()
    assert "unseen" not in kinds(controller)


def test_a_loss_without_curvature_is_named_as_the_cause():
    parameter = nn.Parameter(torch.ones(3))
    optimizer = SGD([parameter], lr=0.1)
    controller = attach(optimizer)
    for _ in range(10):
        optimizer.zero_grad()
        parameter.sum().backward()
        optimizer.step()
    controller.detach()
    assert kinds(controller).count("unseen") == 1
    assert "no curvature" in str(controller.unseen)


@pytest.mark.parametrize("way", ["load", "copy"])
def test_a_training_that_goes_on_from_a_checkpoint_is_not_called_so(way):
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=0.1)
    _ = attach(optimizer)
    train(net, optimizer, batches(60))
    if way == "load":
        other = classifier()
        other.load_state_dict(net.state_dict())
        resumed = AdamW(other.parameters(), lr=0.1)
        controller = attach(resumed, probe=Blind())
        resumed.load_state_dict(optimizer.state_dict())
    else:
        other, resumed = copy.deepcopy((net, optimizer))
        controller = attach(resumed, probe=Blind())
    train(other, resumed, batches(40))
    controller.detach()
    assert controller.unseen is None
    assert "unseen" not in kinds(controller)
