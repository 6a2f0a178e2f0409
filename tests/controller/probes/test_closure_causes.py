"""Closures that cannot, or had better not, be called once more: seen in the loop's own first call."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam

from controller.training import train, weights
from galatune.controller.probes.closure_causes import framework_of
from galatune.errors import ProbeError

from .closures import STEPS, Loop

NOTHING = "computes no gradient when called again"
ADDS = "adds to gradients that were there before"
OLDER = "goes backward through one that was computed before it"


def computed_before(
    closure: Callable[[Loop, torch.Tensor], Callable[[], Any]],
) -> Callable[[Loop, int], None]:
    def step(loop: Loop, number: int) -> None:
        loss = loop.evaluate(number)
        loop.optimizer.step(closure(loop, loss))

    return step


def accumulating(loop: Loop, number: int) -> None:
    loop.optimizer.zero_grad()
    (loop.loss(number, slice(8)) / 2).backward()

    def closure() -> torch.Tensor:
        loss = loop.loss(number, slice(8, None)) / 2
        loss.backward()
        return loss

    loop.optimizer.step(closure)


def backward_only(retain: bool) -> Callable[[Loop, int], None]:
    def step(loop: Loop, number: int) -> None:
        loop.optimizer.zero_grad()
        loss = loop.loss(number)

        def closure() -> torch.Tensor:
            loop.optimizer.zero_grad()
            loss.backward(retain_graph=retain)
            return loss

        loop.optimizer.step(closure)

    return step


PASSED_ON = {
    "None": (computed_before(lambda loop, loss: lambda: None), NOTHING),
    "the loss": (computed_before(lambda loop, loss: lambda: loss), NOTHING),
    "a number": (computed_before(lambda loop, loss: loss.item), NOTHING),
    "a list": (computed_before(lambda loop, loss: [loss].pop), NOTHING),
    "a partial": (computed_before(lambda loop, loss: functools.partial(max, loss, loss)), NOTHING),
    "accumulates": (accumulating, ADDS),
    "backward": (backward_only(False), OLDER),
    "backward, retaining": (backward_only(True), OLDER),
}
each_passed_on = pytest.mark.parametrize(("step", "why"), PASSED_ON.values(), ids=PASSED_ON)


@pytest.mark.parametrize("kind", [SGD, Adam])
@each_passed_on
def test_closure_that_leaves_the_gradient_to_the_loop_trains_as_without_it(step, why, kind):
    loop = Loop(kind)
    for number in range(STEPS):
        step(loop, number)
    plain = Loop(kind)
    for number in range(STEPS):
        if step is accumulating:
            plain.optimizer.zero_grad()
            for part in (slice(8), slice(8, None)):
                (plain.loss(number, part) / 2).backward()
        else:
            plain.evaluate(number)
        plain.optimizer.step()
    assert torch.equal(weights(loop.net), weights(plain.net))
    assert loop.controller.history == plain.controller.history
    assert loop.controller.gradient_evaluations == plain.controller.gradient_evaluations
    assert loop.controller.probe == "graph"
    assert [why in reason for reason in loop.reasons()] == [True]
    assert "\n" not in loop.reasons()[0]


@each_passed_on
def test_closure_probe_refuses_it_before_its_first_evaluation(step, why):
    loop = Loop(probe="closure")
    step(loop, 0)
    with pytest.raises(ProbeError, match=why):
        step(loop, 1)
    start = weights(loop.net)
    loop.controller.detach()
    step(loop, 2)
    other = Loop()
    other.controller.detach()
    torch.nn.utils.vector_to_parameters(start.float(), other.net.parameters())
    step(other, 2)
    assert torch.equal(weights(loop.net), weights(other.net))


def test_closure_that_never_zeroes_gradients_is_named():
    loop = Loop()
    for number in range(4):
        loop.optimizer.step(functools.partial(loop.evaluate, number, zero=False))
    assert loop.controller.probe == "graph"
    assert ADDS in loop.reasons()[1]


def test_closure_that_begins_to_accumulate_is_seen_at_its_next_probe():
    loop = Loop()
    for number in range(STEPS):
        if number < 12:
            loop.optimizer.step(functools.partial(loop.evaluate, number))
        else:
            accumulating(loop, number)
    assert loop.controller.probe == "graph"
    assert ADDS in loop.reasons()[1]
    assert [record.step for record in loop.controller.history] == [*range(2, 13), *range(14, STEPS + 1)]


@pytest.mark.parametrize("parts", [1, 4])
def test_closure_that_does_all_of_it_itself_is_called_again(parts):
    loop = Loop()

    def closure(number: int) -> dict[str, float]:
        loop.optimizer.zero_grad()
        for part in range(parts):
            (loop.loss(number, slice(part, None, parts)) / parts).backward()
        return {"loss": 0.0}

    for number in range(STEPS):
        loop.optimizer.step(lambda number=number: closure(number))
    assert loop.reasons() == ["gradient pairs come from the closure probe"]
    assert loop.controller.probes == STEPS - 1
    assert loop.controller.gradient_evaluations == STEPS + (STEPS - 1) + 1


def test_closure_that_skips_a_minibatch_keeps_the_probe():
    loop = Loop()
    for number in range(STEPS):

        def closure(number=number):
            loop.optimizer.zero_grad()
            if number % 5 == 3:
                return None
            return loop.evaluate(number)

        loop.optimizer.step(closure)
    skipped = len(range(3, STEPS, 5))
    assert loop.controller.probe == "closure"
    # A step of which nothing came is measured as well, if the next one has a gradient.
    assert loop.controller.probes == STEPS - 1 - skipped
    assert loop.controller.gradient_evaluations == STEPS + loop.controller.probes + 1
    assert len(loop.reasons()) == 2


def test_closure_that_raises_on_its_own_keeps_the_probe_and_its_error():
    loop = Loop()
    for number in range(STEPS):

        def closure(number=number):
            if number % 5 == 3:
                raise FloatingPointError("bad minibatch")
            return loop.evaluate(number)

        if number % 5 == 3:
            with pytest.raises(FloatingPointError, match="bad minibatch"):
                loop.optimizer.step(closure)
        else:
            loop.optimizer.step(closure)
    assert loop.controller.probe == "closure"
    assert len(loop.reasons()) == 1


def test_closure_that_raises_only_when_called_again_is_named():
    loop = Loop()
    for number in range(STEPS):
        calls = itertools.count()

        def closure(number=number, calls=calls):
            if next(calls) == 1:
                raise LookupError("no minibatch")
            return loop.evaluate(number)

        if number == 1:
            next(calls)
        loop.optimizer.step(closure)
    assert loop.controller.probe == "graph"
    assert "raises when called again (LookupError: no minibatch)" in loop.reasons()[1]


# -- optimizers and closures


def test_optimizer_that_ignores_its_closure_is_controlled():
    class Ignoring(SGD):
        def step(self, closure=None):
            return super().step()

    class Hiding(SGD):
        def step(self, *args, **kwargs):
            return super().step()

    def run(kind: Any, closure: bool) -> Loop:
        loop = Loop(kind)
        for number in range(STEPS):
            loop.evaluate(number)
            loop.optimizer.step(*([lambda: None] if closure else []))
        return loop

    plain, seen, late = run(SGD, False), run(Ignoring, True), run(Hiding, True)
    assert torch.equal(weights(seen.net), weights(plain.net))
    assert [event.kind for event in late.controller.events].count("closure") == 1
    assert late.controller.steps == STEPS - 1
    assert late.controller.probes == STEPS - 2


def test_optimizer_that_moves_first_is_named():
    class Sharp(SGD):
        def step(self, closure):
            parameters = [p for group in self.param_groups for p in group["params"]]
            with torch.no_grad():
                for p in parameters:
                    p.add_(0.01)
            with torch.enable_grad():
                closure()
            with torch.no_grad():
                for p in parameters:
                    p.sub_(0.01)
            return super().step()

    loop = Loop(Sharp)
    for number in range(4):
        loop.optimizer.step(functools.partial(loop.evaluate, number))
    assert loop.controller.probe == "graph"
    assert "moves the parameters before it calls the closure" in loop.reasons()[0]


def test_frameworks_are_known_by_the_modules_of_functions_and_objects():
    def made_in(module: str) -> Callable[[], None]:
        def closure() -> None:
            """Of a framework."""

        closure.__module__ = module
        return closure

    class Object:
        def method(self) -> None:
            """Of an object."""

        def around(self) -> Callable[[], Any]:
            return lambda: self

    assert framework_of(functools.partial(functools.partial(made_in("skorch.net")))) == "skorch"
    assert framework_of(made_in("lightning.pytorch.loops.optimization.closure")) == "Lightning"
    assert framework_of(made_in("lightningrod")) is None
    assert framework_of(made_in("transformers.models.bert")) is None
    Object.__module__ = "pytorch_lightning.core"
    assert {framework_of(one) for one in (Object().method, Object().around(), Object())} == {"Lightning"}
    wrapped = functools.wraps(made_in("ignite.engine"))(lambda: None)
    assert framework_of(wrapped) == "ignite"


def test_profiler_of_somebody_else_stays():
    import cProfile

    loop, profile = Loop(), cProfile.Profile()
    profile.enable()
    try:
        train(loop.net, loop.optimizer, loop.data[:4], closure=True)
    finally:
        profile.disable()
    assert loop.controller.probe == "closure"
    assert any("cross_entropy" in str(entry.code) for entry in profile.getstats())
