"""What the guard does to a rate, an observation and a run that goes wrong."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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
from galatune.controller.rollback import Snapshot
from galatune.controller.rule.estimate import Observation
from galatune.controller.rule.guard import Accident, Guard, RunningWindow
from galatune.controller.torch_hooks.loss import LossWatch, loss_value
from galatune.errors import ControlError, DivergenceError

few = settings(max_examples=40, deadline=None, derandomize=True)
positive = st.floats(1e-6, 1e6)


def seen(curvature: float) -> Observation:
    return Observation(1.0, curvature, curvature, 1.0)


@given(previous=positive, limited=positive, smoothing=st.floats(0.01, 0.99))
@few
def test_smoothing_is_an_average_of_logarithms(previous, limited, smoothing):
    smoothed = Guard(smoothing=smoothing).smooth(previous, limited)
    expected = smoothing * math.log(previous) + (1 - smoothing) * math.log(limited)
    assert math.log(smoothed) == pytest.approx(expected, abs=1e-9)
    assert min(previous, limited) * (1 - 1e-9) <= smoothed <= max(previous, limited) * (1 + 1e-9)
    assert Guard().smooth(previous, limited) == limited


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=40), length=st.integers(1, 9))
@few
def test_window_is_the_median_of_the_last_values(values, length):
    window, kept = RunningWindow(length, fewest=1), ()
    for value in values:
        kept = window.add(kept, value)
    last = sorted(values[-length:])
    assert window.median(kept) == (last[(len(last) - 1) // 2] + last[len(last) // 2]) / 2
    assert len(kept) <= length
    assert all(isinstance(value, (int, float)) for value in kept)


@given(distance=st.floats(0.0, 20), sign=st.sampled_from([-1, 1]))
@few
def test_confidence_falls_with_the_distance_from_the_median(distance, sign):
    guard, sharpness = Guard(confidence=2.0), ()
    for _ in range(5):
        sharpness, usual = guard.weigh(sharpness, seen(1.0))
        assert usual.confidence == 1.0
    _, weighed = guard.weigh(sharpness, seen(math.exp(sign * distance)))
    assert weighed.confidence == pytest.approx(min(1.0, 2.0 / distance) if distance else 1.0, rel=1e-6)
    assert weighed.alignment == 1.0


def test_without_confidence_nothing_is_remembered():
    one = seen(3.0)
    sharpness, weighed = Guard().weigh((), one)
    assert weighed is one
    assert sharpness == ()


def accidents(guard, losses):
    """What each of these losses is to the guard, one after the other."""
    found, last = [], ()
    for loss in losses:
        last, accident = guard.accident(last, True, loss)
        found.append(accident)
    return found


def test_accidents_are_told_apart():
    guard = Guard(spike=3.0)
    *usual, spike, unknown = accidents(guard, [1.0] * 5 + [2.9, 3.1, None])
    assert usual == [None] * 6
    assert spike.kind == "spike"
    assert unknown is None
    for finite, loss in ((False, 1.0), (False, None), (True, math.nan), (True, math.inf)):
        losses, accident = guard.accident((1.0,) * 5, finite, loss)
        assert accident == Accident("non-finite", "loss or gradient not finite")
        assert losses == (1.0,) * 5
    assert Guard().accident((), True, 1e9) == ((), None)


def test_losses_that_stay_high_are_no_spike_for_ever():
    found = accidents(Guard(spike=3.0), [1.0] * 15 + [10.0] * 15)
    assert found[:15] == [None] * 15
    assert found[15].kind == "spike"
    assert found[-1] is None


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_losses_that_are_not_positive_have_no_spikes(level):
    assert accidents(Guard(spike=3.0), [level] * 9 + [50.0]) == [None] * 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"growth": 0.5},
        {"shrink": math.nan},
        {"smoothing": 1.0},
        {"smoothing": -0.1},
        {"confidence": 0.0},
        {"spike": 1.0},
        {"reaction": "panic"},
        {"rollbacks": 0},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ControlError, match=next(iter(wrong))):
        Guard(**wrong)


# -- under control


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


def test_copies_do_not_survive_a_checkpoint():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer, snapshot = SGD([weight], lr=1.0), Snapshot()
    snapshot.take(optimizer)
    snapshot.forget()
    snapshot.ask()
    with torch.no_grad():
        weight.zero_()
    assert not snapshot.settle(optimizer)
    assert weight.tolist() == [0.0, 0.0]


def test_state_that_is_new_since_the_copy_is_dropped():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer, snapshot = Adam([weight], lr=1.0), Snapshot()
    snapshot.take(optimizer)
    weight.grad = torch.ones(2)
    optimizer.step()
    snapshot.ask()
    assert snapshot.settle(optimizer)
    assert weight not in optimizer.state
    assert weight.tolist() == [1.0, 1.0]


def test_watch_hears_the_losses_of_its_own_parameters():
    mine, other = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    watch = LossWatch()
    watch.watch([mine])
    for parameter, factor in ((mine, 2.0), (other, 100.0), (mine, 3.0)):
        watch.saw_backward([(factor * parameter).sum()], None, None)
    assert watch.take(None, [mine]) == 10.0
    assert watch.take(None, [mine]) is None
    watch.saw_backward([mine.sum()], None, None)  # nobody waits for it
    assert watch.take(None, [mine]) is None
    assert watch.take(torch.tensor(3.0), [mine]) == 3.0


def test_loss_value_is_one_number_or_none():
    assert loss_value(torch.tensor([2.0], requires_grad=True)) == loss_value(2) == 2.0
    assert loss_value(torch.ones(2)) is loss_value("loss") is loss_value(None) is None


# -- what the gradient is compared with


def test_direction_alignment_is_that_of_its_equation():
    """SGD with momentum: u is the buffer over what one step of it is worth."""
    net, data = classifier(dtype=torch.float64), batches(8, dtype=torch.float64)
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    controller = attach(optimizer, alignment="previous_update")
    expected, before, direction = [], {}, []
    for inputs, target in data:
        if before:
            loss = cross_entropy(torch.func.functional_call(net, before, (inputs,)), target)
            g0 = torch.autograd.grad(loss, list(before.values()))
            dot = sum(float((a * b).sum()) for a, b in zip(g0, direction, strict=True))
            expected.append(dot / sum(float((b * b).sum()) for b in direction))
        before = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
        optimizer.zero_grad()
        cross_entropy(net(inputs), target).backward()
        optimizer.step()
        direction = [0.1 * optimizer.state[p]["momentum_buffer"] for p in net.parameters()]
    # d is the difference of parameters a step of 1e-5 apart.
    assert [record.alignment for record in controller.history] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_direction_alignment_leaves_the_curvature_as_it_is(kind):
    found = {}
    for alignment in ("same_minibatch", "previous_update"):
        _, _, controller, training = run(count=3, kind=kind, alignment=alignment)
        list(training)
        found[alignment] = controller.history[0]
    one, other = found.values()
    assert (one.lipschitz, one.curvature) == (other.lipschitz, other.curvature)
    assert one.alignment != other.alignment
    assert one.gradient_norm_squared == other.gradient_norm_squared


def test_unknown_alignment_is_refused():
    with pytest.raises(ControlError, match="auto, previous_update, same_minibatch"):
        attach(SGD(classifier().parameters(), lr=0.1), alignment="sideways")


# -- learners in a run


@pytest.mark.parametrize(
    "learner", [FTRL(), OptimisticFTRL(), OnlineGradientDescent(discount=0.9), CoinBetting()]
)
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_every_learner_trains(kind, learner):
    net, _, _, training = run(count=150, kind=kind, learner=learner)
    losses = list(training)
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])
    assert weights(net).isfinite().all()


def test_a_learner_with_a_first_rate_starts_with_it():
    _, _, controller, training = run(count=5, learner=FTRL(initial_rate=0.05))
    next(training)
    assert controller.learning_rate == 0.05
    next(training)
    assert controller.history[0].played_rate == 0.05
    assert [event.reason for event in controller.events if event.kind == "start"] == [
        "the first rate is the learner's own"
    ]


def test_played_rate_is_before_group_ratios_and_momentum():
    net, data = classifier(), batches(6)
    groups = [{"params": net[0].parameters(), "lr": 0.02}, {"params": net[2].parameters(), "lr": 0.2}]
    optimizer = SGD(groups, momentum=0.9)
    controller = attach(optimizer)
    train(net, optimizer, data)
    applied = [record.learning_rate for record in controller.history]
    played = [record.played_rate for record in controller.history]
    assert [0.1 * rate for rate in played[1:]] == pytest.approx(applied[:-1])


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
