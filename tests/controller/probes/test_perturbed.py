"""Sharpness-aware minimization: the pair is that of the parameters, not of the perturbed ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader

from controller.training import OFTEN, batches, classifier
from galatune import attach, controlled
from galatune.errors import ControlError


class SAM(Optimizer):
    """Both forms: two steps, or one with a closure.

    Args:
        base: Class of the optimizer that moves the parameters.
        rho: Length of the perturbation.
        adaptive: Perturb each entry in proportion to its size (ASAM).
        quietly: Move ``.data``, which no version counter tells.
    """

    def __init__(self, parameters, base, rho=0.05, adaptive=False, quietly=False, **options):
        super().__init__(parameters, {"rho": rho, "adaptive": adaptive, **options})
        self.base_optimizer, self.quietly = base(self.param_groups, **options), quietly
        self.param_groups = self.base_optimizer.param_groups

    def _each(self):
        return [(group, p) for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def first_step(self):
        sizes = [p.abs() if group["adaptive"] else torch.ones_like(p) for group, p in self._each()]
        norm = torch.stack(
            [(s * p.grad).norm() for s, (_, p) in zip(sizes, self._each(), strict=True)]
        ).norm()
        for size, (group, p) in zip(sizes, self._each(), strict=True):
            self.state[p]["old_p"] = p.detach().clone()
            moved = size.square() * p.grad * (group["rho"] / (norm + 1e-12))
            (p.data if self.quietly else p).add_(moved)
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for _, p in self._each():
            p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        self.zero_grad()

    def step(self, closure=None):
        self.first_step()
        with torch.enable_grad():
            closure()
        self.second_step()


class Ascending:
    """GSAM's and ASAM's other shape: no torch optimizer, but around one."""

    def __init__(self, optimizer, net, rho=0.05):
        self.optimizer, self.net, self.rho = optimizer, net, rho

    @torch.no_grad()
    def ascent_step(self):
        self.moved = []
        norm = torch.stack([p.grad.norm() for p in self.net.parameters()]).norm()
        for p in self.net.parameters():
            self.moved.append(self.rho * p.grad / norm)
            p.add_(self.moved[-1])
        self.optimizer.zero_grad()

    @torch.no_grad()
    def descent_step(self):
        for p, moved in zip(self.net.parameters(), self.moved, strict=True):
            p.sub_(moved)
        self.optimizer.step()
        self.optimizer.zero_grad()


def sharp(net, optimizer, data, form="two steps"):
    """Train; the losses at the parameters."""
    losses = []
    for x, y in data:

        def closure(x=x, y=y):
            loss = functional.cross_entropy(net(x), y)
            loss.backward()
            return loss

        losses.append(closure().item())
        if form == "closure":
            optimizer.step(closure)
        elif isinstance(optimizer, Ascending):
            optimizer.ascent_step()
            closure()
            optimizer.descent_step()
        else:
            optimizer.first_step()
            closure()
            optimizer.second_step()
    return losses


def rates(rho, form="two steps", adaptive=False, quietly=False, count=30, **options):
    with controlled(probe="graph", **OFTEN) as capture:
        net = classifier().double()
        data = [(x.double(), y) for x, y in batches(count, size=64)]
        optimizer = SAM(net.parameters(), SGD, rho=rho, adaptive=adaptive, quietly=quietly, lr=1.0, **options)
        sharp(net, optimizer, data, form)
    (controller,) = capture.controllers
    assert capture.names == ["SGD"]
    return controller


@pytest.mark.parametrize("quietly", [False, True], ids=["in place", "data"])
@pytest.mark.parametrize("form", ["two steps", "closure"])
def test_curvature_is_that_without_the_perturbation(form, quietly):
    """The first pairs, with steps so small that both nets are the same."""
    plain = rates(0.0, form).history
    # A large perturbation: gradients there have another length and direction.
    moved = rates(2.0, form, quietly=quietly).history
    assert len(moved) == len(plain) > 20
    for one, other in zip(plain[:3], moved[:3], strict=True):
        assert one.curvature == pytest.approx(other.curvature, rel=0.3)
        assert one.gradient_norm_squared == pytest.approx(other.gradient_norm_squared, rel=1e-3)


def test_gradients_at_the_parameters_are_those_of_the_pair(monkeypatch):
    net, x = nn.Linear(3, 1).double(), torch.randn(32, 3, dtype=torch.float64)
    optimizer = SAM(net.parameters(), SGD, rho=1.0, lr=0.1)
    controller = attach(optimizer.base_optimizer, probe="graph", **OFTEN)
    seen, pair = [], type(controller._selector.probe).pair
    monkeypatch.setattr(
        type(controller._selector.probe), "pair", lambda self: seen.append(pair(self)) or seen[-1]
    )
    for _ in range(5):
        net(x).square().mean().backward()
        here = [p.grad.clone() for p in net.parameters()]
        optimizer.first_step()
        net(x).square().mean().backward()
        optimizer.second_step()
        for found in seen[-1:]:
            assert all(torch.allclose(g, one.after) for g, one in zip(here, found, strict=True))
    assert len(seen) == 4


def test_accumulation_at_the_parameters_still_adds_up():
    def history(parts):
        net = classifier().double()
        optimizer = SGD(net.parameters(), lr=0.1)
        controller = attach(optimizer, probe="graph", **OFTEN)
        for x, y in batches(12, size=32):
            optimizer.zero_grad()
            for rows, labels in zip(x.double().chunk(parts), y.chunk(parts), strict=True):
                (functional.cross_entropy(net(rows), labels) / parts).backward()
            optimizer.step()
        return [record.learning_rate for record in controller.history]

    assert history(4) == pytest.approx(history(1), rel=1e-6)


def test_parameters_moved_for_good_before_the_gradient_count_where_they_are():
    """Another one moved them between two backward calls: the last gradient is that of the step."""
    net = classifier().double()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe="graph", **OFTEN)
    for x, y in batches(12, size=32, dtype=torch.float64):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(0.999)
        optimizer.zero_grad()
        (100 * functional.cross_entropy(net(x), y)).backward()
        optimizer.step()
    norms = [record.gradient_norm_squared for record in controller.history]
    assert min(norms) > 100.0  # of the loss times 100


@pytest.mark.parametrize("probe", ["auto", "echo"])
@pytest.mark.parametrize("shape", ["sam", "asam", "ascending"])
@pytest.mark.parametrize("base", [SGD, AdamW])
def test_training_descends_whatever_the_rate_in_the_code(base, shape, probe):
    with controlled(probe=probe) as capture:
        net = classifier()
        if shape == "ascending":
            optimizer = Ascending(base(net.parameters(), lr=1e-6), net)
        else:
            adaptive = shape == "asam"
            rho = 0.5 if adaptive else 0.05
            optimizer = SAM(net.parameters(), base, rho=rho, adaptive=adaptive, lr=1e-6)
        losses = sharp(net, optimizer, DataLoader(batches(150), batch_size=None))
    assert capture.names == [base.__name__]
    assert capture.controllers[0].steps == 150
    assert capture.controllers[0].probe == ("graph" if probe == "auto" else probe)
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20])


def test_attach_says_which_one():
    optimizer = SAM(classifier().parameters(), SGD, lr=0.1)
    with pytest.raises(ControlError, match=r"attach to its \.base_optimizer \(SGD\)"):
        attach(optimizer)
