"""What is remembered: plain numbers, with which a training goes on to the last bit."""

from __future__ import annotations

import copy
import io
import pickle
from types import NoneType

import pytest
import torch
from torch.optim import SGD, Adam, AdamW

from controller.training import OFTEN, batches, classifier, train, weights
from galatune import attach
from galatune.errors import ControlError


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
    assert set(state["groups"][0]["group"].pop("moved")) <= set("0123456789abcdef")
    assert all(type(value) in (int, float, bool, NoneType) for value in leaves(state))


def test_state_of_another_shape_is_refused():
    optimizer = SGD(classifier().parameters(), lr=0.1)
    controller = attach(optimizer)
    with pytest.raises(ControlError, match="schema"):
        controller.load_state_dict({"schema": 99, "groups": [{}]})
    with pytest.raises(ControlError, match="groups"):
        controller.load_state_dict({"schema": 2, "groups": []})
    with pytest.raises(ControlError, match="0 groups"):
        controller.load_state_dict({"schema": 2})


@pytest.mark.parametrize("part", ["group", "rate", "optimizer", "pending"])
def test_damaged_state_is_refused_in_one_line(part):
    optimizer = SGD(classifier().parameters(), lr=0.1)
    controller = attach(optimizer)
    state = controller.state_dict()
    for damage in ({"something": 1.0}, None, 3):
        broken = copy.deepcopy(state)
        broken["groups"][0][part] = damage
        if (part, damage) in (("group", None), ("pending", {"something": 1.0})):
            continue  # a group that has not stepped yet; a probe of a third party
        with pytest.raises(ControlError, match="is damaged") as refused:
            controller.load_state_dict(broken)
        assert "\n" not in str(refused.value)
    assert controller.state_dict() == state


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
