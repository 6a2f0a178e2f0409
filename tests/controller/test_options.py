"""What a user may set: checked before anything is changed, and used."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from torch.optim import SGD

from controller.training import batches, classifier, train
from galatune import attach
from galatune.controller.options import Options
from galatune.controller.rule.guard import Guard
from galatune.controller.rule.learner import DiscountedFTRL
from galatune.errors import ControlError


@pytest.mark.parametrize(
    "options",
    [
        {"probe": "magic"},
        {"probe": 3},
        {"probe_schedule": 3},
        {"guard": "careful"},
        {"step_scale": 0.0},
        {"step_scale": float("nan")},
        {"min_lr": -1.0},
        {"min_lr": 1.0, "max_lr": 0.5},
        {"max_lr": 0.0},
        {"min_lr": float("nan")},
    ],
)
def test_option_out_of_range_is_refused_in_one_line(options):
    optimizer = SGD(classifier().parameters(), lr=0.1)
    with pytest.raises(ControlError) as error:
        attach(optimizer, **options)
    assert next(iter(options)) in str(error.value)
    assert "\n" not in str(error.value)
    attach(optimizer)  # nothing was left behind


def test_options_by_name_are_checked():
    assert Options.of({"step_scale": 2.0}).step_scale == 2.0
    with pytest.raises(ControlError, match="unknown option 'speed'; use one of probe, "):
        Options.of({"speed": 3})


@pytest.mark.parametrize(
    "options", [{"growth": 0.5}, {"shrink": 0.0}, {"max_growth_per_step": 0.9}, {"growth": float("nan")}]
)
def test_guard_out_of_range_is_refused(options):
    with pytest.raises(ControlError, match="at least 1"):
        Guard(**options)


def test_own_learner_and_guard_are_used():
    @dataclass(frozen=True)
    class Nothing:
        """A state without a number."""

    class Constant:
        def init(self):
            return Nothing()

        def update(self, state, observation):
            return state

        def rate(self, state):
            return 0.25

    net = classifier()
    optimizer = SGD(net.parameters(), lr=3.0)
    controller = attach(optimizer, learner=Constant(), guard=Guard(growth=1e9, shrink=1e9), step_scale=1.0)
    train(net, optimizer, batches(3))
    assert controller.learning_rate == 0.25


def test_default_learner_is_discounted_ftrl():
    net, other = classifier(), classifier()
    a, b = SGD(net.parameters(), lr=0.1), SGD(other.parameters(), lr=0.1)
    _ = attach(a), attach(b, learner=DiscountedFTRL())
    assert train(net, a, batches(30)) == train(other, b, batches(30))
