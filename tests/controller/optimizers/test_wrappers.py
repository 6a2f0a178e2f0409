"""Optimizers around others: the one that moves the parameters is controlled, once, and `attach` names it."""

from __future__ import annotations

import gc
import warnings
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam, Optimizer

from controller.training import batches, classifier, train
from galatune import attach, controlled
from galatune.controller import register_self_tuning
from galatune.controller.optimizers import inner_optimizers
from galatune.errors import ControlError, SelfTuningError


class Bare(Optimizer):
    """Lookahead's shape: it never calls ``Optimizer.__init__``."""

    def __init__(self, inner):
        self.inner, self.count = inner, 0
        self.param_groups, self.defaults, self.state = inner.param_groups, inner.defaults, inner.state
        self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = {}, {}
        self.slow = [p.detach().clone() for group in self.param_groups for p in group["params"]]

    def step(self, closure=None):
        loss = self.inner.step(closure)
        self.count += 1
        if self.count % 5 == 0:
            fast = [p for group in self.param_groups for p in group["params"]]
            for p, slow in zip(fast, self.slow, strict=True):
                slow.lerp_(p.detach(), 0.5)
                p.data.copy_(slow)
        return loss


class Hooked(Bare):
    """A wrapper that makes torch run hooks at its step as well."""

    def __init__(self, inner):
        super().__init__(inner)
        self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
        self._patch_step_function()


class Made(Optimizer):
    """It calls ``Optimizer.__init__``, so that its groups are others than those of the inner one."""

    def __init__(self, inner):
        groups = [dict(group) for group in inner.param_groups]
        super().__init__(groups, {})
        self.held = {"main": inner}

    def step(self, closure=None):
        return self.held["main"].step(closure)


class Hidden(Optimizer):
    """Nothing in its attributes tells of the inner one."""

    def __init__(self, inner):
        super().__init__([dict(group) for group in inner.param_groups], {})
        self.run = lambda closure=None: inner.step(closure)

    def step(self, closure=None):
        return self.run(closure)


class Listed:
    """No torch optimizer at all, as in mixed precision packages."""

    def __init__(self, inner):
        self._optimizers = [inner]

    @property
    def param_groups(self):
        return self._optimizers[0].param_groups

    def zero_grad(self):
        self._optimizers[0].zero_grad()

    def step(self, closure=None):
        return self._optimizers[0].step(closure)


class Derived:
    """Lightning's: its class is derived from that of the inner one, whose attributes it shares."""

    def __init__(self, inner):
        self.__dict__ = {name: value for name, value in vars(inner).items() if name != "step"}
        self.__class__ = type("Derived", (Derived, type(inner)), {})
        self._optimizer = inner

    def step(self, closure=None):
        return self._optimizer.step(closure)


class Property(Optimizer):
    """Accelerate's: everything is handed through."""

    def __init__(self, inner):
        self.optimizer = inner

    state = property(lambda self: self.optimizer.state, lambda self, value: None)
    param_groups = property(lambda self: self.optimizer.param_groups, lambda self, value: None)
    defaults = property(lambda self: self.optimizer.defaults, lambda self, value: None)

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        return self.optimizer.step(closure)


def chained(inner):
    return Made(Hooked(Bare(inner)))


WRAPPERS = [Bare, Hooked, Made, Hidden, Listed, Derived, Property, chained]
PATHS = {
    Bare: ".inner (SGD)",
    Hooked: ".inner (SGD)",
    Made: ".held['main'] (SGD)",
    Listed: "._optimizers[0] (SGD)",
    Derived: "._optimizer (SGD)",
    Property: ".optimizer (SGD)",
    chained: ".held['main'].inner.inner (SGD)",
}


@pytest.mark.parametrize("closure", [False, True], ids=["graph", "closure"])
@pytest.mark.parametrize("wrap", WRAPPERS)
def test_inner_optimizer_is_controlled_once(wrap, closure):
    with controlled() as capture:
        net = classifier()
        inner = SGD(net.parameters(), lr=1e-6, momentum=0.9)
        losses = train(net, wrap(inner), batches(80), closure=closure)
    assert capture.names == ["SGD"]
    assert capture.left_alone == []
    assert capture.controllers[0].steps >= 78
    assert capture.controllers[0].probe == ("closure" if closure else "graph")
    assert sum(losses[-10:]) < sum(losses[:10])
    assert inner.param_groups[0]["lr"] == 1e-6
    assert "galatune" not in inner.param_groups[0]
    assert "step" not in inner.__dict__


@pytest.mark.parametrize("wrap", PATHS)
def test_attach_names_the_inner_one(wrap):
    inner = SGD(classifier().parameters(), lr=0.1)
    with pytest.raises(ControlError) as caught:
        attach(wrap(inner))
    assert str(caught.value).endswith(f"attach to its {PATHS[wrap]}")
    assert "\n" not in str(caught.value)
    attach(inner)


def test_attach_names_each_of_several():
    class Several(Optimizer):
        def __init__(self, *inner):
            super().__init__([group for one in inner for group in one.param_groups], {})
            self.optimizers = list(inner)

        def step(self, closure=None):
            for one in self.optimizers:
                one.step()

    first, second = classifier(0), classifier(1)
    inner = [SGD(first.parameters(), lr=0.1), Adam(second.parameters())]
    with pytest.raises(
        ControlError, match=r"each of its \.optimizers\[0\] \(SGD\), \.optimizers\[1\] \(Adam\)"
    ):
        attach(Several(*inner))
    with controlled() as capture:
        outer = Several(*inner)
        for x, y in batches(10):
            outer.zero_grad()
            torch.nn.functional.cross_entropy(first(x) + second(x), y).backward()
            outer.step()
    assert capture.names == ["SGD", "Adam"]
    assert capture.left_alone == []


def test_optimizer_that_holds_another_and_moves_the_parameters_itself_is_controlled():
    class Switching(SGD):
        """SWATS' shape: the other one is only asked for its state."""

        def __init__(self, parameters, lr):
            parameters = list(parameters)
            super().__init__(parameters, lr=lr)
            self.other = Adam(parameters)

    with controlled() as capture:
        net = classifier()
        train(net, Switching(net.parameters(), lr=0.1), batches(10))
    assert capture.names == ["Switching"]
    assert capture.controllers[0].steps == 9  # in the first step the other one might have stepped


def test_wrapper_that_tunes_is_left_alone_with_what_is_in_it():
    class Tuner(Bare): ...

    take_out = register_self_tuning(Tuner, "it tunes the inner one")
    try:
        with controlled() as capture:
            net = classifier()
            train(net, Tuner(SGD(net.parameters(), lr=0.1)), batches(3))
        assert capture.controllers == []
        assert "Tuner" in capture.left_alone[0].reason
        with pytest.raises(SelfTuningError):
            attach(Tuner(SGD(net.parameters(), lr=0.1)))
    finally:
        take_out()


@pytest.mark.parametrize("wrapper", ["ScheduleFreeWrapper", "TRAC"])
def test_tuning_wrappers_of_a_package_are_left_alone(wrapper):
    package = pytest.importorskip("pytorch_optimizer")
    with controlled() as capture:
        net = classifier()
        outer = getattr(package, wrapper)(SGD(net.parameters(), lr=0.1))
        if hasattr(outer, "train"):
            outer.train()
        train(net, outer, batches(3))
    assert capture.controllers == []
    assert all(one.sets_own_rate for one in capture.left_alone)


@pytest.mark.parametrize("wrapper", ["Lookahead", "OrthoGrad"])
def test_wrappers_of_a_package_leave_the_inner_one_to_control(wrapper):
    package = pytest.importorskip("pytorch_optimizer")
    with controlled() as capture:
        net = classifier()
        losses = train(net, getattr(package, wrapper)(SGD(net.parameters(), lr=1e-6)), batches(100))
    assert capture.names == ["SGD"]
    assert losses[-1] < losses[0]


@pytest.fixture
def group_of_one():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in torch.distributed.optim
def test_optimizer_of_one_rank_that_copies_groups_is_controlled_inside():
    from torch.distributed.optim import ZeroRedundancyOptimizer

    with controlled() as capture:
        net = classifier()
        outer = ZeroRedundancyOptimizer(net.parameters(), SGD, lr=1e-6)
        losses = train(net, outer, batches(60))
    assert capture.names == ["SGD"]
    assert losses[-1] < losses[0]
    assert not any("galatune" in group for group in (*outer.param_groups, *outer.optim.param_groups))
    with pytest.raises(ControlError, match=r"attach to its \.optim \(SGD\)"):
        attach(outer)


def test_averaged_model_is_no_matter():
    with controlled() as capture:
        net = classifier()
        averaged = torch.optim.swa_utils.AveragedModel(net)
        optimizer = SGD(net.parameters(), lr=0.1)
        schedule = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05)
        for batch in batches(20):
            train(net, optimizer, [batch])
            averaged.update_parameters(net)
            schedule.step()
    assert capture.names == ["SGD"]


@pytest.mark.parametrize("given", [None, "SGD", 0.1, torch.nn.Linear(2, 1), SGD])
def test_what_is_no_optimizer_is_said(given):
    with pytest.raises(ControlError, match=r"a torch\.optim\.Optimizer is needed"):
        attach(given)


def test_optimizer_whose_step_nobody_sees_is_refused():
    class Blind(Optimizer):
        def __init__(self, parameters):
            self.param_groups, self.defaults, self.state = [{"params": list(parameters), "lr": 0.1}], {}, {}

        def step(self, closure=None): ...

    with pytest.raises(ControlError, match="cannot be seen"):
        attach(Blind(classifier().parameters()))


def test_inner_optimizer_that_knows_its_wrapper_is_no_wrapper():
    inner = SGD(classifier().parameters(), lr=0.1)
    inner.outer = Bare(inner)
    assert inner_optimizers(inner) == []
    attach(inner)


# -- a controller that sees no step


def unseen(controller: Any) -> list[str]:
    return [event.reason for event in controller.events if event.kind == "unseen"]


def test_another_one_that_steps_the_parameters_is_said_at_once_and_at_the_end():
    net = classifier()
    attached = Hidden(SGD(net.parameters(), lr=0.1))
    controller, other = attach(attached), SGD(net.parameters(), lr=0.1)
    train(net, other, batches(2))
    assert unseen(controller) == [
        "a SGD stepped parameters of this Hidden, which took no step itself; attach to that SGD"
    ]
    kept = [attached]
    del attached
    with pytest.warns(UserWarning, match=r"no step of this Hidden was seen.*attach to the SGD"):
        kept.clear()
    assert len(unseen(controller)) == 2


def test_no_step_until_detach_is_an_event():
    controller = attach(optimizer := SGD(classifier().parameters(), lr=0.1))
    controller.detach()
    assert unseen(controller) == ["no step of this SGD was seen, so that nothing was controlled"]
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_block_that_saw_gradients_and_no_step_warns():
    def block():
        with controlled():
            optimizer = SGD(net.parameters(), lr=0.1)
            net(torch.ones(2, 4)).sum().backward()
        return optimizer

    net = classifier()
    with pytest.warns(UserWarning, match="no step of this SGD was seen"):
        block()


def test_use_that_is_right_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = classifier()
        first, second = SGD(net.parameters(), lr=0.1), Adam(net.parameters())
        controllers = attach(first), attach(second)
        train(net, first, batches(3))  # one phase after the other
        train(net, second, batches(3))
        del first, second
        gc.collect()
        attach(SGD(net.parameters(), lr=0.1))  # only looked at
        gc.collect()
        with controlled():
            last = SGD(classifier().parameters(), lr=0.1)
            with controlled():
                train(net, SGD(net.parameters(), lr=0.1), batches(2))
        assert last.param_groups
    assert not any(map(unseen, controllers))
