"""Optimizers that set their own step: known by class or by what they hold, refused, and left as they were."""

from __future__ import annotations

import inspect
import re
import sys
import types
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adafactor, Adam, Optimizer

from controller.training import batches, classifier, train, weights
from galatune import attach, controlled
from galatune.controller import OptimizerMetric, register_optimizer, register_self_tuning
from galatune.controller.optimizers import StepLengths, metric_of, own_step, table
from galatune.errors import ControlError, SelfTuningError

KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "Prodigy": ("prodigyopt.prodigy", {}),
    "DAdaptAdam": ("dadaptation.dadapt_adam", {}),
    "DAdaptSGD": ("dadaptation.dadapt_sgd", {}),
    "DAdaptAdaGrad": ("dadaptation.dadapt_adagrad", {}),
    "DAdaptAdan": ("dadaptation.dadapt_adan", {}),
    "DAdaptLion": ("dadaptation.dadapt_lion", {}),
    "DoG": ("dog.dog", {"reps_rel": 1e-4}),
    "LDoG": ("dog.dog", {"reps_rel": 1e-4}),
    "Momo": ("momo.momo", {}),
    "MomoAdam": ("momo.momo_adam", {}),
    "AdamWScheduleFree": ("schedulefree.adamw_schedulefree", {}),
    "SGDScheduleFree": ("schedulefree.sgd_schedulefree", {"lr": 0.1}),
    "RAdamScheduleFree": ("schedulefree.radam_schedulefree", {}),
}


def source(name: str) -> Any:
    """The module that holds a class."""
    return pytest.importorskip(KNOWN[name][0])


def pasted(module: types.ModuleType, name: str) -> type[Optimizer]:
    """The class as somebody pastes it into a script, under another name."""
    text = re.sub(rf"\b{name}\b", "Own", inspect.getsource(module))
    copy = types.ModuleType("script")
    copy.__package__ = module.__package__  # its relative imports
    sys.modules["script"] = copy
    try:
        exec(compile(text, "script", "exec"), vars(copy))
    finally:
        del sys.modules["script"]
    return copy.Own


@pytest.mark.parametrize("copied", [False, True], ids=["package", "pasted"])
@pytest.mark.parametrize("name", KNOWN)
def test_package_and_pasted_copy_are_refused_in_one_line(name, copied):
    module = source(name)
    kind = pasted(module, name) if copied else getattr(module, name)
    optimizer = kind(classifier().parameters(), **KNOWN[name][1])
    with pytest.raises(SelfTuningError, match=f"{kind.__name__} sets its own step") as caught:
        attach(optimizer)
    assert "\n" not in str(caught.value)
    assert "galatune" not in optimizer.param_groups[0]
    assert "step" not in optimizer.__dict__


@pytest.mark.parametrize("name", ["Prodigy", "DoG", "AdamWScheduleFree", "DAdaptSGD"])
def test_left_alone_it_trains_as_without_control(name):
    kind = pasted(source(name), name)

    def training():
        net = classifier()
        optimizer = kind(net.parameters(), **KNOWN[name][1])
        if hasattr(optimizer, "train"):
            optimizer.train()
        train(net, optimizer, batches(30))
        return weights(net)

    expected = training()
    with controlled() as capture:
        assert torch.equal(training(), expected)
    assert capture.controllers == []
    (alone,) = capture.left_alone
    assert (alone.name, alone.sets_own_rate) == ("Own", True)


def test_mechanized_optimizer_is_left_alone():
    mechanize = pytest.importorskip("mechanic_pytorch").mechanize
    with controlled() as capture:
        net = classifier()
        train(net, mechanize(SGD)(net.parameters(), lr=1.0), batches(5))
    assert [one.sets_own_rate for one in capture.left_alone] == [True]


@pytest.mark.parametrize("count", [1, 4])
def test_state_that_shows_it_after_a_step_gives_the_optimizer_back(count):
    """Mechanic under another name: nothing is there before its first step."""

    class Tuned(Adam):
        def step(self, closure=None):
            self.state["tuner"] = {"s_init": 1e-8}
            return super().step(closure)

    with controlled() as capture:
        net = classifier()
        optimizer = Tuned(net.parameters(), lr=0.1)
        rates, present = [], []
        optimizer.register_step_pre_hook(lambda *_: present.append(optimizer.param_groups[0]["lr"]))
        for batch in batches(count):
            present.clear()
            train(net, optimizer, [batch])
            rates.append(min(present))  # torch may run the hooks of Adam's own step too
    assert capture.controllers == capture.names == capture.reasons == capture.places == []
    assert [(one.name, one.sets_own_rate) for one in capture.left_alone] == [("Tuned", True)]
    assert rates[1:] == [0.1] * (count - 1)
    assert "galatune" not in optimizer.param_groups[0]
    assert "step" not in optimizer.__dict__


class Ruled(Optimizer):
    """Steps whose length nothing tells but they themselves.

    Args:
        length: Of each entry's step.
    """

    def __init__(self, parameters, lr=0.1, length=0.002):
        super().__init__(parameters, {"lr": lr, "size": length})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["size"] * p.grad.sign()


@pytest.mark.parametrize("length", [1e-4, 0.003, 0.3])
def test_step_that_keeps_its_length_gives_the_optimizer_back(length):
    events = []
    with controlled(on_event=events.append) as capture:
        net = classifier()
        optimizer = Ruled(net.parameters(), length=length)
        losses = train(net, optimizer, batches(200, size=64))
    assert capture.controllers == []
    assert "do not change their length" in capture.left_alone[0].reason
    assert [event.kind for event in events].count("given back") == 1
    assert optimizer.param_groups[0]["lr"] == 0.1
    alone = classifier()
    assert losses == train(alone, Ruled(alone.parameters(), length=length), batches(200, size=64))


class WritesRate(SGD):
    """A hypergradient's shape: the step leaves another rate in its group."""

    def step(self, closure=None):
        loss = super().step(closure)
        self.param_groups[0]["lr"] *= 1.01
        return loss


def test_step_that_writes_its_rate_gives_the_optimizer_back():
    net = classifier()
    optimizer = WritesRate(net.parameters(), lr=0.1)
    controller = attach(optimizer)
    train(net, optimizer, batches(3))
    assert [event.kind for event in controller.events][-1] == "given back"
    assert "writes the rate" in controller.events[-1].reason
    assert "galatune" not in optimizer.param_groups[0]
    attach(SGD(net.parameters(), lr=0.1))


# -- what follows its rate is controlled


class Lion(Optimizer):
    def __init__(self, parameters, lr=1e-4):
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.99)})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                mean = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p -= group["lr"] * mean.lerp(p.grad, 0.1).sign()
                mean.lerp_(p.grad, 0.01)


class Velocity(Optimizer):
    """Momentum that adds up steps instead of gradients: a change of the rate acts late."""

    def __init__(self, parameters, lr=0.1, momentum=0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                velocity = self.state[p].setdefault("v", torch.zeros_like(p))
                velocity.mul_(group["momentum"]).add_(p.grad, alpha=-group["lr"])
                p += velocity


class Clipped(Optimizer):
    """No step is longer than a bound."""

    def __init__(self, parameters, lr=0.1, bound=0.003):
        super().__init__(parameters, {"lr": lr, "bound": bound})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p -= (group["lr"] * p.grad).clamp(-group["bound"], group["bound"])


class Layerwise(Optimizer):
    """LARS: a step is as long as the weights."""

    def __init__(self, parameters, lr=0.1):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                trust = (p.norm() + 1e-3) / (p.grad.norm() + 1e-12)
                p.sub_(p.grad, alpha=float(group["lr"] * trust))


class Orthogonal(Optimizer):
    """Muon: matrices step by an orthogonal matrix."""

    def __init__(self, parameters, lr=0.02):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim == 2:
                    left, _, right = torch.linalg.svd(p.grad, full_matrices=False)
                    p.sub_(left @ right, alpha=group["lr"])
                else:
                    p.sub_(p.grad.sign(), alpha=group["lr"])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", [Lion, Velocity, Clipped, Layerwise, Orthogonal, Adafactor])
def test_unknown_optimizers_that_follow_their_rate_stay_controlled(kind, seed):
    with controlled() as capture:
        net = classifier(seed)
        losses = train(net, kind(net.parameters()), batches(150, seed=seed + 1))
    assert capture.names == [kind.__name__]
    assert capture.left_alone == []
    assert sum(losses[-50:]) < sum(losses[:50])


OTHERS = [
    *(
        "ADOPT",
        "AdaBelief",
        "AdaBound",
        "AdaNorm",
        "AdaShift",
        "Adai",
        "Adan",
        "AdEMAMix",
        "AggMo",
        "AvaGrad",
    ),
    *(
        "Amos",
        "DiffGrad",
        "EmoNavi",
        "FTRL",
        "Fromage",
        "GaLore",
        "Gravity",
        "LARS",
        "LaProp",
        "Lamb",
        "Lion",
    ),
    *("MADGRAD", "MARS", "NovoGrad", "PNM", "QHAdam", "Ranger", "SGDP", "SGDSaI", "SM3", "SOAP"),
    *("SignSGD", "SPAM", "Shampoo", "StableAdamW", "SWATS", "Tiger", "VSGD", "Yogi"),
]


@pytest.mark.parametrize("name", OTHERS)
def test_nothing_that_an_ordinary_optimizer_holds_is_taken_for_a_step_of_its_own(name):
    package = pytest.importorskip("pytorch_optimizer")
    net = classifier()
    optimizer = getattr(package, name)(net.parameters())
    assert own_step(optimizer) is None
    train(net, optimizer, batches(2))
    assert own_step(optimizer) is None


# -- rates that are none


@pytest.mark.parametrize("relative", [False, True])
def test_adafactor_is_refused_only_if_its_step_is_relative(relative):
    transformers = pytest.importorskip("transformers")
    net = classifier()
    given = {} if relative else {"lr": 1e-3, "relative_step": False, "scale_parameter": False}
    with controlled() as capture:
        train(net, transformers.Adafactor(net.parameters(), **given), batches(5))
    assert [one.sets_own_rate for one in capture.left_alone] == [True] * relative
    assert capture.names == ["Adafactor"] * (not relative)


class Loose(Optimizer):
    """Groups may hold what they like."""

    def __init__(self, parameters, **defaults):
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(p.grad, alpha=0.01)


@pytest.mark.parametrize("defaults", [{}, {"lr": None}, {"max_lr": 1.0}])
def test_no_rate_is_no_crash(defaults):
    with controlled() as capture:
        net = classifier()
        train(net, Loose(net.parameters(), **defaults), batches(3))
    assert "no learning rate" in capture.left_alone[0].reason
    assert capture.left_alone[0].sets_own_rate


@pytest.mark.parametrize("rate", ["auto", (0.1, 0.2), torch.tensor([0.1, 0.2])])
def test_rate_that_is_no_number_is_said(rate):
    with pytest.raises(ControlError, match="must be one number"):
        attach(Loose(classifier().parameters(), lr=rate))


def test_tensor_rates_and_groups_without_parameters_are_controlled():
    net = classifier()
    groups = [{"params": []}, {"params": list(net.parameters())}]
    with controlled() as capture:
        losses = train(net, SGD(groups, lr=torch.tensor(0.1)), batches(100))
    assert capture.names == ["SGD"]
    assert capture.device == "cpu"
    assert losses[-1] < losses[0]


# -- the table that is open to others


def test_registered_class_is_refused_until_it_is_taken_out():
    class Bold(SGD): ...

    class Bolder(Bold): ...

    take_out = register_self_tuning(Bold, "it doubles its rate")
    with pytest.raises(SelfTuningError, match="it doubles its rate"):
        attach(Bolder(classifier().parameters(), lr=0.1))
    take_out()
    attach(Bolder(classifier().parameters(), lr=0.1)).detach()


def test_registered_metric_is_believed_whatever_the_name(monkeypatch):
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    prodigy = type("ProdigyOfMine", (SGD,), {})
    with pytest.raises(SelfTuningError):
        attach(prodigy(classifier().parameters(), lr=0.1))
    register_optimizer(prodigy, OptimizerMetric("ProdigyOfMine", known=False))
    net = classifier()
    optimizer = prodigy(net.parameters(), lr=0.1)
    assert metric_of(optimizer).name == "ProdigyOfMine"
    train(net, optimizer, batches(3))


@pytest.mark.parametrize(("what", "reason"), [("Prodigy", "it does"), (SGD, "two\nlines"), (SGD, "")])
def test_wrong_registration_is_refused(what, reason):
    with pytest.raises(ControlError, match="is needed"):
        register_self_tuning(what, reason)


def test_lengths_follow_also_if_the_direction_shrinks():
    lengths = StepLengths()
    assert not any(lengths.stand_still(2.0**k, 1.8**k) for k in range(60))
    assert lengths.decided


def test_one_extraordinary_first_step_is_no_evidence():
    lengths = StepLengths()
    assert not any(lengths.stand_still(2.0**k, 2.0**k if k else 1e3) for k in range(60))
