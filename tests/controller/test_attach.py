"""The life of a controller: attached, saved, copied, detached, gone."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from dataclasses import dataclass
from types import NoneType

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, lr_scheduler

from galatune import attach
from galatune.controller.options import Options
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.controller.rule.guard import Guard
from galatune.controller.rule.rate import DiscountedFTRL
from galatune.errors import ControlError, ProbeError

from .training import OFTEN, batches, classifier, steps, train, weights


def test_attaching_twice_is_refused():
    optimizer = SGD(classifier().parameters(), lr=0.1)
    controller = attach(optimizer)
    with pytest.raises(ControlError, match="already under control"):
        attach(optimizer)
    controller.detach()
    attach(optimizer)


def test_attaching_to_shared_groups_is_refused():
    optimizer = SGD(classifier().parameters(), lr=0.1)
    _ = attach(optimizer)
    other = SGD(classifier().parameters(), lr=0.1)
    other.param_groups = optimizer.param_groups
    with pytest.raises(ControlError, match="shares its parameter groups"):
        attach(other)


def _sparse(kind=SGD):
    torch.manual_seed(0)
    net = torch.nn.Embedding(5, 3, sparse=True)
    return net, kind(net.parameters(), lr=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.optim.LBFGS(classifier().parameters()),
        lambda: torch.optim.SparseAdam(classifier().parameters()),
        lambda: type("Mine", (torch.optim.LBFGS,), {})(classifier().parameters()),
    ],
)
def test_optimizer_that_cannot_be_controlled_is_refused_in_one_line(make):
    with pytest.raises(ControlError) as error:
        attach(make())
    assert "cannot be controlled" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("closure", [False, True])
def test_sparse_gradients_are_refused_in_one_line(closure):
    net, optimizer = _sparse()
    _ = attach(optimizer)

    def evaluate():
        optimizer.zero_grad()
        loss = net(torch.tensor([1, 3])).square().sum()
        loss.backward()
        return loss

    if not closure:
        evaluate()
    with pytest.raises(ControlError, match="sparse gradients") as error:
        optimizer.step(evaluate if closure else None)
    assert "\n" not in str(error.value)
    assert optimizer.param_groups[0]["lr"] == 0.1


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


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_detach_leaves_the_optimizer_as_it_was(kind, closure):
    net = classifier()
    optimizer = kind(net.parameters(), lr=0.1)
    gc.collect()  # of other tests, whose controllers may still listen
    backward = torch.autograd.backward
    before = [set(group) for group in optimizer.param_groups]
    controller = attach(optimizer)
    train(net, optimizer, batches(15), closure=closure)
    rate, steps_taken = controller.learning_rate, controller.steps
    controller.detach()
    assert torch.autograd.backward is backward
    assert "step" not in optimizer.__dict__
    assert [set(group) for group in optimizer.param_groups] == before
    assert optimizer.param_groups[0]["lr"] == 0.1
    for hooks in (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        optimizer._optimizer_load_state_dict_post_hooks,
        optimizer._optimizer_state_dict_post_hooks,
    ):
        assert not hooks
    assert (controller.learning_rate, controller.steps) == (rate, steps_taken)
    controller.detach()  # once more does no harm
    train(net, optimizer, batches(3), closure=closure)


def test_detach_below_a_scheduler_that_came_later_lets_the_rate_go():
    def run(control):
        net = classifier()
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer) if control else None
        schedule = lr_scheduler.StepLR(optimizer, 4)
        start = copy.deepcopy(net.state_dict())
        train(net, optimizer, batches(5), scheduler=schedule)
        if controller is not None:
            controller.detach()
        net.load_state_dict(start)
        train(net, optimizer, batches(5), scheduler=schedule)
        return weights(net)

    assert torch.equal(run(control=True), run(control=False))


def test_attach_after_detach_starts_anew():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    train(net, optimizer, batches(30))
    rate = controller.learning_rate
    controller.detach()
    again = attach(optimizer)
    train(net, optimizer, batches(1))
    assert again.steps == 1
    assert again.learning_rate < rate / 10


@pytest.mark.parametrize("closure", [False, True])
def test_optimizer_and_net_are_freed_without_the_garbage_collector(closure):
    def run(scheduled: bool):
        net = classifier()
        optimizer = AdamW(net.parameters(), lr=0.1)
        schedule = lr_scheduler.StepLR(optimizer, 4) if scheduled else None
        controller = attach(optimizer)
        run = steps(net, optimizer, batches(5), closure=closure)
        for _ in range(5):
            next(run)
        run.close()
        del schedule
        return controller, weakref.ref(optimizer), weakref.ref(net[0].weight)

    gc.collect()
    backward = torch.autograd.backward
    run(False)  # torch imports the rest of itself
    gc.collect()
    gc.disable()
    try:
        for scheduled in (False, True):
            controller, *gone = run(scheduled)
            assert [reference() for reference in gone] == [None, None]
            assert controller.steps == 5
            with pytest.raises(ControlError, match="gone"):
                _ = controller.optimizer
    finally:
        gc.enable()
    assert torch.autograd.backward is backward


@pytest.mark.parametrize("probe", ["closure", "graph", "consecutive"])
def test_nothing_per_parameter_is_kept_between_probes(probe):
    net = torch.nn.Linear(123, 7)
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe=probe, probe_schedule=ProbeSchedule(first=5, every=10, thinning=0.0))

    def copies():
        shape = net.weight.shape
        return sum(type(o) is torch.Tensor and o.shape == shape for o in gc.get_objects())

    def advance(count):
        data = [(torch.ones(2, 123), torch.tensor([0, 1]))] * count
        train(net, optimizer, data, closure=probe == "closure")
        optimizer.zero_grad()

    advance(12)  # step 10 was probed
    assert controller.probes == 6
    assert copies() == 0
    advance(8)  # step 20 will be, and its d begins here
    assert copies() > 0
    advance(1)
    assert copies() == 0


def resumed(how, kind, closure):
    """Weights, rate and state of a run that is not cut, and of one that is."""
    data = batches(63)

    def fresh():
        net = classifier()
        return net, kind(net.parameters(), lr=0.1)

    net, optimizer = fresh()
    whole = attach(optimizer, **OFTEN)
    train(net, optimizer, data, closure=closure)

    first, optimizer_a = fresh()
    controller_a = attach(optimizer_a, **OFTEN)
    train(first, optimizer_a, data[:45], closure=closure)
    second, optimizer_b, controller_b = how(first, optimizer_a, controller_a, fresh)
    assert controller_b.steps == 45
    train(second, optimizer_b, data[45:], closure=closure)
    return (weights(net), whole.learning_rate, whole.state_dict()), (
        weights(second),
        controller_b.learning_rate,
        controller_b.state_dict(),
    )


def _through_a_file(net, optimizer, controller, fresh):
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other, resumed_optimizer = fresh()
    continued = attach(resumed_optimizer, **OFTEN)
    other.load_state_dict(saved["net"])
    resumed_optimizer.load_state_dict(saved["optimizer"])
    return other, resumed_optimizer, continued


def _loaded_before_attach(net, optimizer, controller, fresh):
    other, resumed_optimizer = fresh()
    other.load_state_dict(net.state_dict())
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    return other, resumed_optimizer, attach(resumed_optimizer, **OFTEN)


def _pickled(net, optimizer, controller, fresh):
    other, copied = pickle.loads(pickle.dumps((net, optimizer)))
    return other, copied, attach(copied, **OFTEN)


def _copied(net, optimizer, controller, fresh):
    other, copied = copy.deepcopy((net, optimizer))
    return other, copied, attach(copied, **OFTEN)


def _own_state(net, optimizer, controller, fresh):
    other, copied = copy.deepcopy((net, optimizer))
    state = controller.state_dict()
    for group in copied.param_groups:
        del group["galatune"]
    continued = attach(copied, **OFTEN)
    continued.load_state_dict(pickle.loads(pickle.dumps(state)))
    return other, copied, continued


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("kind", [SGD, AdamW])
@pytest.mark.parametrize("how", [_through_a_file, _loaded_before_attach, _pickled, _copied, _own_state])
def test_training_continues_bit_for_bit(how, kind, closure):
    # Step 45 and its successor are not probed; cuts between a step and its probe: test_checkpoint.py.
    (values, rate, state), (continued_values, continued_rate, continued_state) = resumed(how, kind, closure)
    assert torch.equal(continued_values, values)
    assert continued_rate == rate
    if closure:  # is seen to repeat itself once more
        continued_state["groups"][0]["optimizer"]["gradient_evaluations"] -= 1
    assert continued_state == state


def test_saved_state_stays_as_it_was():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, **OFTEN)
    train(net, optimizer, batches(45))
    saved, own = optimizer.state_dict(), controller.state_dict()
    kept = copy.deepcopy((saved, own))
    train(net, optimizer, batches(20))
    assert saved["param_groups"] == kept[0]["param_groups"]
    assert own == kept[1]


def leaves(state):
    """Everything in nested dicts and sequences that is neither."""
    if isinstance(state, (dict, list, tuple)):
        return [
            leaf for part in (state.values() if isinstance(state, dict) else state) for leaf in leaves(part)
        ]
    return [state]


def test_state_is_numbers():
    net = classifier()
    optimizer = Adam(net.parameters(), lr=0.1)
    controller = attach(optimizer, **OFTEN)
    train(net, optimizer, batches(45))
    state = controller.state_dict()
    assert state["schema"] == 2
    assert state["groups"][0]["optimizer"].pop("probe") == "graph"
    assert all(type(value) in (int, float, bool, NoneType) for value in leaves(state))


def test_state_of_another_shape_is_refused():
    optimizer = SGD(classifier().parameters(), lr=0.1)
    controller = attach(optimizer)
    with pytest.raises(ControlError, match="schema"):
        controller.load_state_dict({"schema": 99, "groups": [{}]})
    with pytest.raises(ControlError, match="groups"):
        controller.load_state_dict({"schema": 2, "groups": []})


def test_state_from_before_control_is_continued():
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=1e-3)
    train(net, optimizer, batches(20))
    controller = attach(optimizer)
    losses = train(net, optimizer, batches(60))
    assert controller.events[-1].kind != "non-finite"
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("how", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copy_warns_once_that_it_is_not_controlled(how):
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer)
    train(net, optimizer, batches(5))
    other, copied = how((net, optimizer))
    with pytest.warns(UserWarning, match="is a copy of a controlled optimizer") as seen:
        train(other, copied, batches(3))
    assert len(seen) == 1
    assert copied.param_groups[0]["lr"] == 0.1
    continued = attach(copied, **OFTEN)
    train(other, copied, batches(3))
    assert continued.steps == 8


def test_events_say_what_was_decided():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    told = []
    controller = attach(optimizer, on_event=told.append)
    train(net, optimizer, batches(5))
    assert told == controller.events
    assert [event.kind for event in told] == ["probe", "schedule", "start", "limit"]
    assert [event.step for event in told] == [1, 1, 1, 2]


def test_evaluations_are_counted():
    def spent(probe, closure):
        net = classifier()
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer, **OFTEN, probe=probe)
        train(net, optimizer, batches(61), closure=closure)
        return controller.probes, controller.gradient_evaluations

    assert spent("graph", False) == (42, 61 + 2 * 42)
    assert spent("closure", True) == (42, 61 + 42 + 1)  # one more, to see that the closure repeats itself
    assert spent("consecutive", False) == (42, 61)


def test_history_holds_one_record_a_probe():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe_schedule=ProbeSchedule(first=3, every=5, thinning=0.0))
    train(net, optimizer, batches(12))
    assert [record.step for record in controller.history] == [2, 3, 4, 6, 11]
    last = controller.history[-1]
    assert last.learning_rate == controller.learning_rate
    assert last.lipschitz > 0


def test_default_learner_is_discounted_ftrl():
    net, other = classifier(), classifier()
    a, b = SGD(net.parameters(), lr=0.1), SGD(other.parameters(), lr=0.1)
    _ = attach(a), attach(b, learner=DiscountedFTRL())
    assert train(net, a, batches(30)) == train(other, b, batches(30))


def test_subclass_whose_step_calls_its_base_is_decided_once_a_step():
    class Clipped(SGD):
        def step(self, closure=None):
            return super().step(closure)

    plain, mine = classifier(), classifier()
    a, b = SGD(plain.parameters(), lr=0.1), Clipped(mine.parameters(), lr=0.1)
    first, second = attach(a), attach(b)
    assert train(plain, a, batches(30)) == train(mine, b, batches(30))
    assert (first.steps, first.learning_rate) == (second.steps, second.learning_rate)
    with pytest.raises(ZeroDivisionError):
        b.step(lambda: 1 / 0)
    train(mine, b, batches(5), closure=True)
    assert second.steps == 35


def test_asked_probe_that_cannot_serve_is_an_error():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer, probe="closure")
    with pytest.raises(ProbeError, match="needs optimizer"):
        train(net, optimizer, batches(3))


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(("steps", "short"), [(30, True), (200, False)])
def test_a_training_that_ends_while_its_rate_still_grows_is_told(steps, short, gone):
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    train(net, optimizer, batches(steps), closure=False)
    if gone:  # as in an objective, whose optimizer does not outlive it
        del optimizer
    controller.detach()
    controller.detach()
    told = [event.reason for event in controller.events if event.kind == "short"]
    assert len(told) == short
    assert all(f"after {steps} steps the rate was still growing: train longer" in reason for reason in told)
