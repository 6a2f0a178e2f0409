"""What a closure does beside gradients is done once a step, and it draws no minibatch for a probe."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.optim.lr_scheduler import StepLR
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from controller.training import batches, classifier

from .closures import STEPS, Loop

DRAWS = "drew a new minibatch"

# -- what would be done twice


class Metric:
    def __init__(self) -> None:
        self.count = 0

    def update(self, loss: torch.Tensor) -> None:
        self.count += 1


def counting() -> tuple[Callable[..., None], Callable[[], int]]:
    metric = Metric()
    return lambda loop, loss: metric.update(loss), lambda: metric.count


def collecting() -> tuple[Callable[..., None], Callable[[], int]]:
    losses: list[float] = []
    return lambda loop, loss: losses.append(loss.item()), lambda: len(losses)


def averaging() -> tuple[Callable[..., None], Callable[[], int]]:
    average: list[Any] = []

    def update(loop: Loop, loss: torch.Tensor) -> None:
        average[0].update_parameters(loop.net)

    return (
        update,
        lambda: int(average[0].n_averaged) if average else average.append(AveragedModel(classifier())) or 0,
    )


def scheduling() -> tuple[Callable[..., None], Callable[[], int]]:
    made: dict[int, StepLR] = {}

    def step(loop: Loop, loss: torch.Tensor) -> None:
        if not made:
            made[0] = StepLR(loop.optimizer, 1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the order of schedule and optimizer
            made[0].step()

    return step, lambda: made[0].last_epoch if made else 0


def logged() -> tuple[Callable[..., None], Callable[[], int]]:
    class Handler(logging.Handler):
        seen = 0

        def emit(self, record: logging.LogRecord) -> None:
            self.seen += 1

    handler, logger = Handler(), logging.Logger("of a test")
    logger.addHandler(handler)
    return lambda loop, loss: logger.warning("%s", loss), lambda: handler.seen


EFFECTS = {
    "metric": (counting, "count"),
    "list": (collecting, "it changes"),
    "average": (averaging, "an average of weights"),
    "schedule": (scheduling, "a step of a learning-rate schedule"),
    "log": (logged, "logging"),
}


@pytest.mark.parametrize(("effect", "named"), EFFECTS.values(), ids=EFFECTS)
def test_what_a_closure_does_beside_gradients_is_done_once_a_step(effect, named):
    act, done = effect()
    before, loop = done(), Loop()
    for number in range(STEPS):

        def closure(number=number):
            loss = loop.evaluate(number)
            act(loop, loss)
            return loss

        loop.optimizer.step(closure)
    assert done() - before == STEPS
    assert loop.controller.probe == "graph"
    assert loop.controller.probes == STEPS - 1
    assert "does more than compute gradients" in loop.reasons()[0]
    assert named in loop.reasons()[0]


def test_hook_on_a_module_fires_once_a_step():
    loop, fired = Loop(), []
    loop.net[0].register_forward_hook(lambda module, args, output: fired.append(1))
    for number in range(STEPS):
        loop.optimizer.step(functools.partial(loop.evaluate, number))
    assert len(fired) == STEPS
    assert "a hook on modules" in loop.reasons()[0]


def test_hooks_of_torch_are_part_of_what_is_computed():
    loop = Loop()
    torch.nn.utils.spectral_norm(loop.net[0])
    for number in range(4):
        loop.optimizer.step(functools.partial(loop.evaluate, number))
    assert loop.controller.probe == "closure"


def test_closure_probe_that_was_asked_for_says_what_is_done_twice():
    act, done = counting()
    loop = Loop(probe="closure")
    for number in range(STEPS):
        loop.optimizer.step(lambda number=number: act(loop, loop.evaluate(number)))
    assert done() > STEPS
    assert loop.controller.probe == "closure"
    assert "it changes" in loop.reasons()[1]


# -- minibatches


def iterators() -> dict[str, Callable[[], Any]]:
    data = batches(STEPS + 8)
    return {
        "loader": lambda: iter(DataLoader(data, batch_size=None)),
        "list": lambda: iter(data),
        "generator": lambda: (batch for batch in data),
    }


@pytest.mark.parametrize("source", iterators())
def test_closure_that_draws_loses_no_minibatch(source):
    stream, loop, drawn = iterators()[source](), Loop(), 0

    def closure() -> torch.Tensor:
        x, y = next(stream)
        loop.optimizer.zero_grad()
        loss = functional.cross_entropy(loop.net(x), y)
        loss.backward()
        return loss

    for _ in range(STEPS):
        loop.optimizer.step(closure)
    drawn = STEPS + 8 - len(list(stream))
    assert drawn == STEPS
    assert DRAWS in loop.reasons()[0]
    assert loop.controller.probes == STEPS - 1


def test_closure_that_goes_through_a_loader_is_called_again():
    loop = Loop()
    loader = DataLoader(batches(3), batch_size=None)

    def closure() -> torch.Tensor:
        loop.optimizer.zero_grad()
        for x, y in loader:
            loss = functional.cross_entropy(loop.net(x), y)
            loss.backward()
        return loss

    for _ in range(4):
        loop.optimizer.step(closure)
    assert loop.reasons() == ["gradient pairs come from the closure probe"]
