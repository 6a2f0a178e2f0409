"""The loss of a step, as guards and accidents between probes are told it."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor

from galatune.controller.torch_hooks import loss as module
from galatune.controller.torch_hooks.loss import LossWatch


@pytest.fixture
def parameter() -> Tensor:
    return torch.nn.Parameter(torch.ones(2))


@pytest.fixture
def watch(parameter):
    watch = LossWatch()
    watch.begin([parameter])
    watch.judges = False  # what it would be told is asked for here
    yield watch
    watch.close()


def step(watch: LossWatch, parameter: Tensor, *factors: float, keep: bool = False) -> float | None:
    """Differentiate, end the step, and zero the gradient as loops do."""
    for factor in factors:
        (factor * parameter.sum()).backward()
    watch.end_step()
    seen = watch.comparable()
    parameter.grad = parameter.grad if keep else None
    return seen


def test_losses_of_one_step_add_up(watch, parameter):
    assert [step(watch, parameter, 2.0, 3.0) for _ in range(3)] == [10.0, 10.0, 10.0]
    assert watch.mean([parameter]) == 10.0


def test_another_number_of_calls_is_not_comparable_but_known(watch, parameter):
    for _ in range(2):
        step(watch, parameter, 2.0, 3.0)
    assert step(watch, parameter, 2.0) is None
    assert watch.mean([parameter]) == 4.0


def test_losses_of_another_net_do_not_count(watch, parameter):
    other = torch.nn.Parameter(torch.ones(2))
    for _ in range(3):
        parameter.sum().backward()
        (100.0 * other.sum()).backward()
        watch.end_step()
        assert watch.mean([parameter]) == 2.0
        parameter.grad = other.grad = None


def test_what_was_differentiated_before_gradients_were_zeroed_does_not_count(watch, parameter):
    for _ in range(2):
        (7.0 * parameter.sum()).backward()
        parameter.grad = None
        seen = step(watch, parameter, 2.0)
    assert seen == 4.0


def test_two_numbers_at_once_are_not_comparable(watch, parameter):
    for _ in range(3):
        torch.autograd.backward([parameter.sum(), 2 * parameter.sum()])
        watch.end_step()
        assert watch.comparable() is None
        parameter.grad = None


def test_factor_of_a_scaler_is_taken_out(watch, parameter):
    for scale in (2.0**10, 2.0**11):
        torch.amp.GradScaler("cpu", init_scale=scale).scale(parameter.sum()).backward()
        watch.end_step()
        assert watch.comparable() == 2.0
        parameter.grad = None


def test_closure_tells_its_loss(watch, parameter):
    for returned, known in ((torch.tensor([2.0]), 2.0), (3, 3.0), ("loss", None), (torch.ones(2), None)):
        watch.end_step(returned)
        assert watch.mean([parameter]) == known


def test_loss_on_a_device_is_read_a_step_later_and_never_waited_for(watch, parameter, monkeypatch):
    class OnItsWay:
        def __init__(self, number: Tensor) -> None:
            self._number = float(number)

        def value(self) -> float | None:
            return None if self._number == 6.0 else self._number  # has not arrived

    monkeypatch.setattr(module, "is_on_host", lambda number: False)
    monkeypatch.setattr(module, "HostCopy", OnItsWay)
    seen = [step(watch, parameter, factor) for factor in (1.0, 2.0, 3.0, 4.0, 5.0)]
    assert seen == [None, 2.0, 4.0, None, 8.0]


def test_watch_keeps_no_parameter_alive():
    parameter, watch = torch.nn.Parameter(torch.ones(2)), LossWatch()
    watch.begin([parameter])
    gone = weakref.ref(parameter)
    del parameter
    gc.collect()
    assert gone() is None
    watch.close()
