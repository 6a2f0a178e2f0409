"""The guard in a training: limits, doubt, and what it does after an accident."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, AdamW

from controller.training import OFTEN, batches, classifier, steps, train, weights
from galatune import attach
from galatune.controller.learners import (
    FTRL,
    CoinBetting,
    DiscountedFTRL,
    LogScale,
    OnlineGradientDescent,
    OptimisticFTRL,
    Proximal,
)
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.controller.rule.guard import Guard
from galatune.errors import DivergenceError


def run(count=60, *, closure=False, kind=SGD, bad=(), scale=1.0, **options):
    """Train; the loss of the minibatches in `bad` is multiplied by `scale`."""
    net, data = classifier(dtype=torch.float64), batches(count, dtype=torch.float64)
    targets = {id(data[i][1]) for i in bad}

    def loss(outputs, target):
        return cross_entropy(outputs, target) * (scale if id(target) in targets else 1.0)

    optimizer = kind(net.parameters(), lr=0.1)
    controller = attach(optimizer, **OFTEN, **options)
    return net, optimizer, controller, steps(net, optimizer, data, closure=closure, loss=loss)


def rates(controller):
    return [rate for _, rate in controller.rate_curve.points()]


def kinds(controller):
    return [event.kind for event in controller.events]


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_options_that_do_nothing_change_no_bit(kind):
    ends = []
    for guard in (None, Guard(), Guard(spike=1e300), Guard(confidence=1e300), Guard(reaction="roll back")):
        net, _, controller, training = run(kind=kind, guard=guard)
        list(training)
        ends.append((weights(net).tolist(), rates(controller)))
    assert all(end == ends[0] for end in ends)


def test_smoothed_rate_is_the_average_of_what_the_limits_allow():
    _, _, controller, training = run(count=12, guard=Guard(smoothing=0.5))
    list(training)
    found = [record.learning_rate for record in controller.history[:8]]
    assert [b / a for a, b in itertools.pairwise(found)] == pytest.approx([2**0.5] * 7)


def test_limits_are_events_with_their_numbers():
    _, _, controller, training = run(count=20)
    list(training)
    (event,) = [event for event in controller.events if event.kind == "limit"][:1]
    assert event.reason == "rate increase limited to 2x per probe"
    assert event.values["rate"] == 2 * event.values["previous"] < event.values["proposed"]
    assert event.step == 2


def test_doubted_observation_moves_the_rate_less():
    found = {}
    for confidence in (math.inf, 1.0):
        _, _, controller, training = run(bad={30}, scale=1e3, guard=Guard(shrink=1e9, confidence=confidence))
        list(training)
        found[confidence] = controller
    events = [event for event in found[1.0].events if event.kind == "doubt"]
    assert [event.step for event in events if event.step == 31]
    assert all(0 < event.values["confidence"] < 1 for event in events)
    assert "doubt" not in kinds(found[math.inf])
    assert rates(found[1.0])[30] > rates(found[math.inf])[30]


@pytest.mark.parametrize("closure", [False, True])
def test_spike_is_seen_and_retreated_from(closure):
    _, _, controller, training = run(bad={30}, closure=closure, scale=100.0, guard=Guard(spike=10.0))
    list(training)
    (event,) = [event for event in controller.events if event.kind == "spike"]
    assert event.step == 31
    assert rates(controller)[30] == pytest.approx(rates(controller)[29] / 4)
    assert event.values["rate"] == pytest.approx(rates(controller)[30])


@pytest.mark.parametrize("closure", [False, True])
def test_stop_is_a_clear_error(closure):
    _, optimizer, controller, training = run(
        bad={30}, closure=closure, scale=math.nan, guard=Guard(reaction="stop")
    )
    with pytest.raises(DivergenceError, match=r"not finite at a rate of .*, and the guard is to stop"):
        list(training)
    assert controller.steps == 30
    assert controller.events[-1].kind == "stop"
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
@pytest.mark.parametrize("closure", [False, True])
def test_roll_back_puts_everything_back_and_halves(closure, kind):
    guard = Guard(reaction="roll back")
    net, optimizer, controller, training = run(
        kind=kind, bad={30}, closure=closure, scale=math.nan, guard=guard
    )
    good, state = None, None
    for step, _ in enumerate(training):
        if step == 28:  # what the step after it, the last good one, starts from
            good, state = weights(net), copy.deepcopy(optimizer.state_dict()["state"])
        if step == 30:
            assert weights(net).tolist() == good.tolist()
            for place, kept in state.items():
                found = optimizer.state_dict()["state"][place]
                assert all(torch.equal(torch.as_tensor(found[n]), torch.as_tensor(kept[n])) for n in kept)
    assert rates(controller)[30] == pytest.approx(rates(controller)[29] / 2)
    (event,) = [event for event in controller.events if event.kind == "roll back"]
    assert (event.step, event.values["rollbacks"]) == (31, 1.0)
    assert weights(net).isfinite().all()


def test_rolling_back_too_often_is_an_error():
    bad = {20, 24, 28, 32}
    _, _, controller, training = run(bad=bad, scale=math.nan, guard=Guard(reaction="roll back", rollbacks=2))
    with pytest.raises(DivergenceError, match="after going back 2 times"):
        list(training)
    assert controller.steps == 28
    assert kinds(controller).count("roll back") == 2


def test_rolling_back_saves_a_run_that_a_retreat_cannot():
    """Once parameters are not a number no rate helps."""
    ends = {}
    for reaction in ("retreat", "roll back"):
        _, _, _, training = run(bad={30}, scale=math.nan, guard=Guard(reaction=reaction))
        ends[reaction] = list(training)[-1]
    assert math.isnan(ends["retreat"])
    assert ends["roll back"] < 0.9


LEARNERS = [
    DiscountedFTRL(),
    FTRL(initial_rate=1e-3),
    FTRL(regularizer=LogScale(1.0)),
    OptimisticFTRL(FTRL(regularizer=Proximal(1.0))),
    OnlineGradientDescent(discount=0.9),
    CoinBetting(),
]


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
@pytest.mark.parametrize("closure", [False, True])
def test_saving_and_loading_changes_no_bit(closure, learner, tmp_path):
    """With everything that a guard remembers; both before and at the end no probe is due."""
    guard = Guard(smoothing=0.3, confidence=1.0, spike=50.0, reaction="roll back")
    options = {
        "learner": learner,
        "guard": guard,
        "probe_schedule": ProbeSchedule(first=20),
        "alignment": "previous_update",
    }
    data = batches(68, dtype=torch.float64)

    def begin():
        net = classifier(dtype=torch.float64)
        optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
        return net, optimizer, attach(optimizer, **options)

    net, optimizer, controller = begin()
    train(net, optimizer, data[:35], closure=closure)
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    train(net, optimizer, data[35:], closure=closure)
    other, continued, loaded = begin()
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    other.load_state_dict(saved["net"])
    continued.load_state_dict(saved["optimizer"])
    train(other, continued, data[35:], closure=closure)
    assert weights(other).tolist() == weights(net).tolist()
    (found,), (expected,) = (c.state_dict()["groups"] for c in (loaded, controller))
    # A closure may be tried once more in a new process: whether it is one and the same minibatch.
    spent = [state["optimizer"].pop("gradient_evaluations") for state in (found, expected)]
    assert spent[0] - spent[1] in (0, 1)
    assert found == expected


def test_loss_is_awaited_after_loading_too():
    net, optimizer, controller, training = run(count=9, guard=Guard(spike=5.0))
    list(training)
    losses = optimizer.param_groups[0]["galatune"].rate.losses
    optimizer.load_state_dict(optimizer.state_dict())
    train(net, optimizer, batches(2, dtype=torch.float64))
    assert len(optimizer.param_groups[0]["galatune"].rate.losses) > len(losses)
    assert controller.steps == 11


def test_roll_back_right_after_loading_has_something_to_go_back_to():
    net, optimizer, controller, training = run(count=20, guard=Guard(reaction="roll back"))
    list(training)
    optimizer.load_state_dict(optimizer.state_dict())
    train(net, optimizer, batches(1, dtype=torch.float64))
    train(net, optimizer, batches(1, dtype=torch.float64), weight=math.nan)
    assert kinds(controller)[-1] == "roll back"
    assert weights(net).isfinite().all()
