"""An optimizer that somebody else wrote is controlled as torch's own, once its metric is registered."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

from galatune import attach
from galatune.controller import OptimizerMetric, register_optimizer
from galatune.controller.optimizers import metric_of, table
from galatune.errors import ControlError

from .training import batches, classifier, train, weights


class Twin(Optimizer):
    """Adam, written by hand: the operations of torch's own, parameter by parameter."""

    def __init__(
        self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state.update(count=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
                state["count"] += 1
                state["mean"].lerp_(p.grad, 1 - first)
                state["square"].mul_(second).addcmul_(p.grad, p.grad, value=1 - second)
                size = group["lr"] / (1 - first ** state["count"])
                root = (1 - second ** state["count"]) ** 0.5
                p.addcdiv_(state["mean"], (state["square"].sqrt() / root).add_(group["eps"]), value=-size)
        return loss


Group = Mapping[str, Any]
State = Mapping[str, Any]


def metric(group: Group, state: State) -> Tensor:
    """``1 / (sqrt(v / (1 - beta2^t)) + eps)`` in double precision."""
    bias = 1.0 - math.pow(group["betas"][1], state["count"])
    return 1.0 / ((state["square"].double() / bias).sqrt() + group["eps"])


def taken_in(group: Group, state: State, gradient: Tensor) -> State:
    """The state with one more gradient."""
    decay, gradient = group["betas"][1], gradient.double()
    square = state["square"].double() * decay + gradient.square() * (1.0 - decay)
    return {"square": square, "count": state["count"] + 1}


def first_step(group: Group, gradient: Tensor) -> Tensor:
    """About the gradient's sign."""
    return gradient / (gradient.abs() + group["eps"])


def own_share(group: Group, state: State) -> float:
    """Of the last gradient in the mean."""
    decay = group["betas"][0]
    return (1.0 - decay) / (1.0 - math.pow(decay, state["count"]))


TWIN = OptimizerMetric(
    "Twin", diagonal=metric, first_direction=first_step, with_gradient=taken_in, own_share=own_share
)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin's metric is known for one test."""
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    register_optimizer(Twin, TWIN)


def rates(kind: Any, probe: str, steps: int = 120, **settings: Any) -> tuple[list[Any], Any, Tensor]:
    net = classifier()
    optimizer = kind(net.parameters(), lr=1.0, **settings)
    controller = attach(optimizer, probe=probe)
    scheduler, found = CosineAnnealingLR(optimizer, steps), []
    for batch in DataLoader(batches(steps), batch_size=None):
        train(net, optimizer, [batch], closure=probe == "closure", scheduler=scheduler)
        found.append(controller.learning_rate)
    return found, controller, weights(net)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("probe", ["graph", "closure", "echo", "consecutive"])
def test_registered_twin_of_adam_gets_adams_rates_to_the_last_digit(probe):
    found, controller, ends = rates(Twin, probe)
    expected, own, values = rates(Adam, probe, foreach=False)
    assert found == expected
    assert torch.equal(ends, values)
    assert controller.history == own.history
    assert controller.probes > 20
    assert "metric" not in {event.kind for event in controller.events}


@pytest.mark.usefixtures("registered")
def test_twin_that_trained_before_control_begins_with_its_metric():
    def first_rate(kind: Any, **settings: Any) -> Any:
        net = classifier()
        optimizer, data = kind(net.parameters(), lr=0.01, **settings), batches(11)
        train(net, optimizer, data[:10])
        controller = attach(optimizer)
        train(net, optimizer, data[10:])
        return controller.learning_rate

    assert first_rate(Twin) == first_rate(Adam, foreach=False)


@pytest.mark.usefixtures("registered")
def test_class_derived_from_a_registered_one_has_its_metric():
    class Derived(Twin):
        pass

    assert rates(Derived, "graph", steps=30)[0] == rates(Twin, "graph", steps=30)[0]


def test_optimizer_that_nobody_registered_is_named_in_an_event():
    found, controller, _ = rates(Twin, "graph", steps=40)
    (event,) = [event for event in controller.events if event.kind == "metric"]
    assert "the metric of Twin is not known" in event.reason
    assert "register_optimizer" in event.reason
    assert found != rates(Adam, "graph", steps=40, foreach=False)[0]
    assert controller.probes > 10


def test_row_that_was_there_is_replaced(monkeypatch):
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    changed = OptimizerMetric("Adam", known=False)
    register_optimizer(Adam, changed)
    assert metric_of(Adam([torch.nn.Parameter(torch.ones(1))])) is changed


@pytest.mark.parametrize("given", [int, "Adam", None], ids=["int", "name", "none"])
def test_what_is_no_optimizer_class_is_refused_in_one_line(given):
    with pytest.raises(ControlError, match=r"^a class derived from torch\.optim\.Optimizer is needed.*$"):
        register_optimizer(given, TWIN)


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, torch.optim.SparseAdam, torch.optim.Rprop])
def test_class_that_cannot_be_controlled_is_not_registered(kind):
    with pytest.raises(ControlError, match=f"^{kind.__name__} cannot be controlled"):
        register_optimizer(kind, TWIN)
