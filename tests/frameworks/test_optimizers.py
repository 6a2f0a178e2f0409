"""Optimizers of other packages and of papers, in a plain loop."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from . import loop
from .training import Result, assert_unchanged, control, digits, load, make_net, weights


class PastedLion(torch.optim.Optimizer):
    """Lion, Chen et al. 2023, as people paste it."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                mean = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_((mean * first + p.grad * (1 - first)).sign_(), alpha=-group["lr"])
                mean.mul_(second).add_(p.grad, alpha=1 - second)


class Lookahead(torch.optim.Optimizer):
    """Lookahead, Zhang et al. 2019: slow weights around another optimizer, whose groups it shares."""

    def __init__(self, inner, every=5, share=0.5):
        self.inner, self.every, self.share, self.count = inner, every, share, 0
        self.slow = [[p.detach().clone() for p in group["params"]] for group in inner.param_groups]
        super().__init__(inner.param_groups, inner.defaults)
        self.param_groups = inner.param_groups

    @torch.no_grad()
    def step(self, closure=None):
        self.inner.step()
        self.count += 1
        if self.count % self.every == 0:
            for group, slow in zip(self.param_groups, self.slow, strict=True):
                for p, kept in zip(group["params"], slow, strict=True):
                    kept.lerp_(p, self.share)
                    p.copy_(kept)


class Sam(torch.optim.Optimizer):
    """Sharpness-aware minimization, Foret et al. 2021, as in the most copied implementation."""

    def __init__(self, params, base, rho=0.05, **options):
        super().__init__(params, {"rho": rho, **options})
        self.base_optimizer = base(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norm = torch.stack([p.grad.norm() for group in self.param_groups for p in group["params"]]).norm()
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["old_p"] = p.detach().clone()
                p.add_(p.grad, alpha=float(group["rho"] / (norm + 1e-12)))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group["params"]:
                p.copy_(self.state[p]["old_p"])
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def step(self, closure=None):
        closure = torch.enable_grad()(closure)
        self.first_step(zero_grad=True)
        closure()
        self.second_step()


def train_sam(rate, seed, how, *, form="two steps", epochs=4):
    net = make_net(seed)
    with control(how) as capture:
        optimizer = Sam(net.parameters(), torch.optim.SGD, lr=rate)
        for epoch in range(epochs):
            for inputs, labels in digits().batches(100 * seed + epoch):

                def closure(inputs=inputs, labels=labels):
                    optimizer.zero_grad()
                    loss = functional.cross_entropy(net(inputs), labels)
                    loss.backward()
                    return loss

                closure()
                if form == "closure":
                    optimizer.step(closure)
                else:
                    optimizer.first_step(zero_grad=True)
                    closure()
                    optimizer.second_step(zero_grad=True)
    return Result(weights(net), digits().loss(net), capture)


@pytest.mark.parametrize("form", ["two steps", "closure"])
def test_sam_is_controlled(form):
    first, second = (train_sam(rate, 0, "often", form=form) for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    assert first.capture.names == ["SGD"]
    assert first.controller.steps == 14 * 4
    assert first.controller.learning_rate > 1e-3


@pytest.mark.parametrize("form", ["two steps", "closure"])
def test_sam_pinned_is_the_fixed_training(form):
    assert_unchanged(train_sam, form=form)


def muon(net, rate):
    return torch.optim.Muon([p for p in net.parameters() if p.ndim == 2], lr=rate)


def lion(net, rate):
    return load("lion_pytorch").Lion(net.parameters(), lr=rate)


def lookahead(net, rate):
    return Lookahead(torch.optim.AdamW(net.parameters(), lr=rate))


def eight_bit(net, rate):
    bitsandbytes = load("bitsandbytes")
    return bitsandbytes.optim.Adam8bit(net.parameters(), lr=rate, min_8bit_size=1024)


def two_groups(net, rate):
    first, _, last = net
    return torch.optim.AdamW(
        [{"params": first.parameters(), "lr": rate / 10}, {"params": last.parameters()}], lr=rate
    )


CONTROLLED = {
    "Lion of lion-pytorch": lion,
    "Lion, pasted": lambda net, rate: PastedLion(net.parameters(), lr=rate),
    "Muon of torch": muon,
    "Lookahead around AdamW": lookahead,
    "8-bit Adam": eight_bit,
    "two groups": two_groups,
    "fused AdamW": lambda net, rate: torch.optim.AdamW(net.parameters(), lr=rate, fused=True),
    "Tensor rate": lambda net, rate: torch.optim.AdamW(net.parameters(), lr=torch.tensor(rate)),
}


@pytest.mark.parametrize("name", CONTROLLED)
def test_pinned_training_is_the_fixed_one(name):
    if name != "two groups":  # the one rate would be that of both
        assert_unchanged(loop.train, make=CONTROLLED[name])


@pytest.mark.parametrize("name", CONTROLLED)
def test_is_controlled(name):
    first, second = (loop.train(rate, 0, "often", make=CONTROLLED[name]) for rate in (1e-6, 10.0))
    assert torch.allclose(first.weights, second.weights, rtol=1e-6, atol=1e-9)
    assert first.controller.steps == 14 * 4
    assert first.controller.probes > 5
    assert not first.capture.left_alone


def prodigy(net, rate):
    return load("prodigyopt").Prodigy(net.parameters(), lr=rate)


def transformers_adafactor(net, rate):
    return load("transformers").Adafactor(net.parameters())


LEFT_ALONE = {
    "Prodigy": prodigy,
    "Adafactor that sets its step": transformers_adafactor,
    "LBFGS": lambda net, rate: torch.optim.LBFGS(net.parameters(), lr=rate),
    "Rprop": lambda net, rate: torch.optim.Rprop(net.parameters(), lr=rate),
}


def train_with_closure(rate, seed, how, *, make):
    net = make_net(seed)
    with control(how) as capture:
        optimizer = make(net, rate)
        for inputs, labels in digits().batches(seed):

            def closure(inputs=inputs, labels=labels):
                optimizer.zero_grad()
                loss = functional.cross_entropy(net(inputs), labels)
                loss.backward()
                return loss

            optimizer.step(closure)
    return Result(weights(net), digits().loss(net), capture)


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_is_left_alone_with_a_reason(name):
    train = train_with_closure if name == "LBFGS" else loop.train
    rate = 0.01 if name == "LBFGS" else 1.0
    alone, plain = (train(rate, 0, how, make=LEFT_ALONE[name]) for how in ("on", "off"))
    assert torch.equal(alone.weights, plain.weights)
    assert not alone.capture.controllers
    (left,) = alone.capture.left_alone
    assert left.name in left.reason
    assert "\n" not in left.reason


def train_schedule_free(rate, seed, how, *, epochs=4):
    """In train mode while it trains, as its authors ask for."""
    net = make_net(seed)
    with control(how) as capture:
        optimizer = load("schedulefree").AdamWScheduleFree(net.parameters(), lr=rate)
        optimizer.train()
        for epoch in range(epochs):
            for inputs, labels in digits().batches(100 * seed + epoch):
                optimizer.zero_grad()
                functional.cross_entropy(net(inputs), labels).backward()
                optimizer.step()
        optimizer.eval()
    return Result(weights(net), digits().loss(net), capture)


def test_schedule_free_is_controlled_or_left_alone_with_a_reason():
    run, plain = train_schedule_free(0.01, 0, "on"), train_schedule_free(0.01, 0, "off")
    if run.capture.controllers:
        assert run.loss < 2.3
    else:
        assert torch.equal(run.weights, plain.weights)
        assert "AdamWScheduleFree" in run.capture.left_alone[0].reason
