"""The user's schedule is left alone, and its shape followed."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, lr_scheduler

from controller.training import batches, classifier, steps, train
from galatune import attach, controlled
from galatune.errors import ControlError

STEPS = 30

SCHEDULERS = {
    "step": lambda o: lr_scheduler.StepLR(o, 7, 0.3),
    "multistep": lambda o: lr_scheduler.MultiStepLR(o, [5, 11]),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 8),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, STEPS),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=STEPS + 1),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 1.0, step_size_up=6),
    "warmup from 0": lambda o: lr_scheduler.LambdaLR(o, lambda t: min(1.0, t / 10)),
    "multiplicative": lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 0.95),
    "linear": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, 20),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 5), lr_scheduler.CosineAnnealingLR(o, STEPS - 5)], [5]
    ),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.5, 4), lr_scheduler.ExponentialLR(o, 0.97)]
    ),
}


def seen_rates(scheduler, control: str, kind=SGD, closure=False):
    """What a user reads in the groups and from get_last_lr, step by step."""
    net = classifier()
    options = {"momentum": 0.9} if kind is SGD else {}
    groups = [{"params": net[0].parameters(), "lr": 0.02}, {"params": net[2].parameters(), "lr": 0.2}]
    optimizer = kind(groups, lr=0.2, **options)
    controller = attach(optimizer) if control == "before" else None
    schedule = SCHEDULERS[scheduler](optimizer)
    controller = attach(optimizer) if control == "after" else controller
    read = []
    for _ in steps(net, optimizer, batches(STEPS), scheduler=schedule, closure=closure):
        groups_now = [(g["lr"], g.get("momentum"), g.get("betas")) for g in optimizer.param_groups]
        read.append((groups_now, schedule.get_last_lr()))
    return read, controller


@pytest.mark.filterwarnings(
    "ignore:The epoch parameter in `scheduler.step:UserWarning"
)  # torch's SequentialLR
@pytest.mark.parametrize("control", ["before", "after"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_scheduler_is_untouched(scheduler, control):
    expected, _ = seen_rates(scheduler, "")
    seen, controller = seen_rates(scheduler, control)
    assert seen == expected
    assert controller.steps == STEPS
    assert controller.learning_rate not in [group[0] for groups, _ in seen for group in groups]


@pytest.mark.parametrize("made", ["inside", "before the block"])
@pytest.mark.parametrize(
    ("scheduler", "decays"), [("cosine", True), ("sequential", True), ("warmup from 0", False)]
)
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")
def test_controlled_code_tells_whether_its_schedule_decays_wherever_it_was_made(made, scheduler, decays):
    net, said = classifier(), []

    def make():
        optimizer = SGD(net.parameters(), lr=0.2)
        return optimizer, SCHEDULERS[scheduler](optimizer)

    outside = make()
    with controlled(on_event=said.append):
        optimizer, schedule = make() if made == "inside" else outside
        train(net, optimizer, batches(3), scheduler=schedule)
    reasons = [event.reason for event in said if event.kind == "schedule"]
    assert [reason.endswith(" decays") for reason in reasons] == [decays]


@pytest.mark.parametrize("scheduler", ["cosine", "one cycle", "warmup from 0"])
def test_scheduler_of_adam_with_a_closure_is_untouched(scheduler):
    expected, _ = seen_rates(scheduler, "", Adam, closure=True)
    seen, controller = seen_rates(scheduler, "after", Adam, closure=True)
    assert seen == expected
    assert controller.probe == "closure"


def test_plateau_scheduler_is_untouched_and_its_fall_followed():
    def run(control):
        net = classifier()
        optimizer = SGD(net.parameters(), lr=0.2)
        controller = attach(optimizer) if control else None
        schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=2, factor=0.5)
        rates = []
        for step, _ in enumerate(steps(net, optimizer, batches(60))):
            schedule.step(1.0 if step > 45 else 1.0 / (step + 1))
            rates.append((optimizer.param_groups[0]["lr"], schedule.get_last_lr()))
        return rates, controller

    expected, _ = run(control=False)
    seen, controller = run(control=True)
    assert seen == expected
    reasons = [event.reason for event in controller.events if event.kind == "schedule"]
    assert reasons == [
        "step scale 1: no decaying schedule seen yet",
        "step scale 2: a group's rate fell below its peak",
    ]


@pytest.mark.parametrize("closure", [False, True])
def test_hand_written_schedule_is_followed(closure):
    net = classifier()
    optimizer = SGD(net.parameters(), lr=5.0)
    controller = attach(optimizer, step_scale=1.0, min_lr=0.3, max_lr=0.3)
    run = steps(net, optimizer, batches(20), closure=closure)
    for t in range(20):
        given = 5.0 * (1 - t / 20)
        optimizer.param_groups[0]["lr"] = given
        next(run)
        assert optimizer.param_groups[0]["lr"] == given
        if t == 0:
            assert controller.learning_rate == 0.3


def test_decay_lowers_the_applied_rate_by_its_factor():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=8.0)
    controller = attach(optimizer)
    run = steps(net, optimizer, batches(62))
    for _ in range(61):
        next(run)  # step 60 was probed; 61 is not
    before = controller.learning_rate
    optimizer.param_groups[0]["lr"] = 2.0
    next(run)
    assert controller.learning_rate == pytest.approx(before / 4, rel=1e-12)


def test_warmup_from_zero_does_not_hold_the_start_back():
    def first_rates(scheduler):
        net = classifier()
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer, step_scale=1.0)
        schedule = lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, t / 10)) if scheduler else None
        train(net, optimizer, batches(15), scheduler=schedule)
        return controller.rate_curve.points()

    assert first_rates(True) == first_rates(False)


@pytest.mark.parametrize(
    ("scheduler", "scale"),
    [("step", 2), ("cosine", 2), ("one cycle", 2), ("cyclic", 2), ("linear", 2), ("warmup from 0", 1)],
)
def test_step_scale_follows_the_attached_scheduler(scheduler, scale):
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    controller = attach(optimizer)
    schedule = SCHEDULERS[scheduler](optimizer)
    train(net, optimizer, batches(1), scheduler=None)
    first = next(event for event in controller.events if event.kind == "schedule")
    assert first.values == {"step_scale": scale}
    assert schedule.optimizer is optimizer


def test_momentum_is_read_at_each_step():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=101, base_momentum=0.5, max_momentum=0.9)
    attach(optimizer)
    train(net, optimizer, batches(100), scheduler=schedule)
    momenta = optimizer.param_groups[0]["momentum"]
    state = optimizer.param_groups[0]["galatune"]
    assert momenta == pytest.approx(0.9, abs=1e-3)
    factor = state.group.applied / (state.rate.rate * (1 - 0.9))
    assert 0 < factor < 1e-2  # the end of the cycle


def test_tensor_rate_stays_the_same_tensor():
    net = classifier()
    rate = torch.tensor(0.5)
    optimizer = SGD(net.parameters(), lr=rate)
    controller = attach(optimizer)
    schedule = lr_scheduler.StepLR(optimizer, 5, 0.5)
    train(net, optimizer, batches(10), scheduler=schedule)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.125
    assert 0 < controller.learning_rate < 0.125


def test_groups_that_share_a_tensor_rate_keep_their_own_rates():
    net = classifier()
    rate = torch.tensor(0.5)
    groups = [{"params": net[0].parameters()}, {"params": net[2].parameters()}]
    optimizer = SGD(groups, lr=rate)
    controller = attach(optimizer, per_group=True)
    applied = []
    optimizer.register_step_post_hook(lambda *_: applied.append(None))
    optimizer.register_step_pre_hook(
        lambda *_: applied.append([float(g["lr"]) for g in optimizer.param_groups])
    )
    train(net, optimizer, batches(20))
    assert applied[-2] == pytest.approx(controller.learning_rate, rel=1e-6)
    assert len(set(applied[-2])) == 2
    assert rate.item() == 0.5
    assert all(group["lr"] is rate for group in optimizer.param_groups)


def test_rate_is_the_schedules_again_when_the_closure_raises():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=7.0)
    controller = attach(optimizer)
    train(net, optimizer, batches(10), closure=True)

    def broken():
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        optimizer.step(broken)
    assert optimizer.param_groups[0]["lr"] == 7.0
    losses = train(net, optimizer, batches(60), closure=True)
    assert losses[-1] < losses[0]
    assert controller.steps == 70


def test_rate_is_the_schedules_again_when_the_update_raises():
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=7.0)
    controller = attach(optimizer)
    train(net, optimizer, batches(10))
    parameter = net[0].weight
    kept, optimizer.state[parameter]["exp_avg"] = optimizer.state[parameter]["exp_avg"], torch.zeros(1, 2, 3)
    with pytest.raises(RuntimeError):
        train(net, optimizer, batches(1))
    assert optimizer.param_groups[0]["lr"] == 7.0
    optimizer.state[parameter]["exp_avg"] = kept
    train(net, optimizer, batches(5))
    assert controller.steps == 15


def test_group_at_rate_zero_stays_where_it_is():
    net = classifier()
    held = net[0].weight.detach().clone()
    groups = [{"params": net[0].parameters(), "lr": 0.0}, {"params": net[2].parameters(), "lr": 0.1}]
    optimizer = SGD(groups)
    attach(optimizer)
    losses = train(net, optimizer, batches(60))
    assert torch.equal(net[0].weight, held)
    assert losses[-1] < losses[0]


def test_groups_keep_the_ratio_of_their_rates():
    net = classifier()
    groups = [{"params": net[0].parameters(), "lr": 0.01}, {"params": net[2].parameters(), "lr": 0.1}]
    optimizer = AdamW(groups)
    applied = []
    controller = attach(optimizer)
    optimizer.register_step_pre_hook(lambda *_: applied.append([g["lr"] for g in optimizer.param_groups]))
    train(net, optimizer, batches(30))
    assert all(head == pytest.approx(10 * backbone, rel=1e-12) for backbone, head in applied)
    assert controller.learning_rate == applied[-1][1]


def test_groups_have_rates_of_their_own_where_asked():
    net = classifier()
    groups = [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[2].parameters(), "lr": 0.1}]
    optimizer = SGD(groups)
    controller = attach(optimizer, per_group=True)
    losses = train(net, optimizer, batches(60))
    first, second = controller.learning_rate
    assert first != second
    assert losses[-1] < losses[0]
    assert len(controller.history) == 2 * controller.probes


def test_per_group_forgets_the_ratio_of_the_given_rates():
    def rates(first):
        net = classifier(dtype=torch.float64)
        groups = [{"params": net[0].parameters(), "lr": first}, {"params": net[2].parameters(), "lr": 0.1}]
        optimizer = SGD(groups)
        controller = attach(optimizer, per_group=True)
        train(net, optimizer, batches(60, dtype=torch.float64))
        return controller.learning_rate

    assert rates(0.001) == pytest.approx(rates(0.1), rel=1e-6)


def test_group_added_later_has_the_ratio_of_its_rate():
    net = classifier()
    optimizer = SGD(net[0].parameters(), lr=0.01)
    controller = attach(optimizer)
    train(net, optimizer, batches(10))
    optimizer.add_param_group({"params": net[2].parameters(), "lr": 0.1})
    applied = []
    optimizer.register_step_pre_hook(lambda *_: applied.append([g["lr"] for g in optimizer.param_groups]))
    losses = train(net, optimizer, batches(60))
    assert all(head == pytest.approx(10 * backbone) for backbone, head in applied)
    assert losses[-1] < losses[0]
    assert controller.steps == 70


def test_bounds_hold_the_applied_rate():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=1.0)
    controller = attach(optimizer, min_lr=0.01, max_lr=0.02)
    train(net, optimizer, batches(60))
    rates = [rate for _, rate in controller.rate_curve.points()]
    assert rates[0] == 0.01
    assert max(rates) == 0.02
    assert [event.kind for event in controller.events].count("bound") == 2


def test_upper_bound_holds_after_the_ratio_and_lower_bound_before_the_schedule():
    net = classifier()
    groups = [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[2].parameters(), "lr": 1.0}]
    optimizer = SGD(groups)
    attach(optimizer, min_lr=0.5, max_lr=0.6)
    applied = []
    optimizer.register_step_pre_hook(lambda *_: applied.append([g["lr"] for g in optimizer.param_groups]))
    train(net, optimizer, batches(2))
    assert applied[0] == pytest.approx([0.05, 0.5])
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    train(net, optimizer, batches(1))
    assert applied[-1] == pytest.approx([0.025, 0.25])


def test_frozen_rate_stays_and_nothing_is_probed():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=1.0)
    controller = attach(optimizer)
    train(net, optimizer, batches(15))
    controller.freeze()
    rate, probes, spent = controller.learning_rate, controller.probes, controller.gradient_evaluations
    train(net, optimizer, batches(25))
    assert controller.learning_rate == rate
    assert controller.probes == probes
    assert controller.gradient_evaluations == spent + 25


def test_dampening_of_one_is_refused():
    optimizer = SGD(classifier().parameters(), lr=0.1, momentum=0.9, dampening=1.0)
    with pytest.raises(ControlError, match="dampening"):
        attach(optimizer)


def test_rates_are_finite_and_positive():
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=1.0)
    controller = attach(optimizer)
    train(net, optimizer, batches(60))
    assert all(0 < rate < math.inf for _, rate in controller.rate_curve.points())
