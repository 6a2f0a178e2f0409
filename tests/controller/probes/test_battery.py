"""Every probe on everything that people do with torch: no bit changed, a pair seen or one line why not, and
a loss that falls.

A new probe joins by its name in `PROBES`, a new situation by one line in `SITUATIONS`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from controller.training import weights
from galatune import attach
from galatune.controller.controller import Controller
from galatune.controller.groups.controlled_groups import ControlledGroups
from galatune.controller.probes import PROBES
from galatune.controller.state import ControlState
from galatune.errors import ProbeError

from .situations import CLASSES, FEATURES, SITUATIONS, SLOW, Backward, Batch, Situation

SIZE = 16
PINNED_STEPS, FREE_STEPS = 12, 48
NAMES = [*PROBES, "auto"]
EVERY = [
    *SITUATIONS,
    *(
        pytest.param(
            name,
            marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")],
        )
        for name in SLOW
    ),
]
every_situation = pytest.mark.parametrize("name", EVERY)
every_probe = pytest.mark.parametrize("probe", NAMES)


def situation(name: str) -> Situation:
    if "inductor" in name:
        _need_compiler()
    return {**SITUATIONS, **SLOW}[name]


def _need_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("torch.compile's inductor needs a C++ compiler")


@dataclass
class Run:
    """A training that was made: what the loop was given, and what came of it."""

    net: nn.Module
    falls: tuple[float, float]
    """Loss over all data before and after."""
    losses: list[float]
    given: list[tuple[Batch, Tensor]]
    """Minibatches and the random state that each was used with."""
    controller: Controller | None = None


def loader(workers: int) -> DataLoader[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(FREE_STEPS * SIZE, FEATURES, generator=generator)
    y = (x @ torch.randn(FEATURES, CLASSES, generator=generator)).argmax(1)
    return DataLoader(
        TensorDataset(x, y),
        SIZE,
        num_workers=workers,
        shuffle=True,
        generator=torch.Generator().manual_seed(2),
    )


def trained(
    now: Situation,
    steps: int,
    probe: str | None = None,
    kind: Callable[..., Optimizer] = AdamW,
    dtype: torch.dtype = torch.float32,
    replayed: Sequence[tuple[Batch, Tensor]] | None = None,
) -> Run:
    """Train, under control if a probe is named, on a DataLoader's minibatches or those of another run."""
    torch.manual_seed(0)
    net, losses, given = now.net().to(dtype), [], []
    optimizer = kind(net.parameters(), lr=0.02)
    schedule = CosineAnnealingLR(optimizer, steps)
    controller = None if probe is None else attach(optimizer, probe=probe)
    before = whole_loss(net, dtype)
    stream = iter(loader(now.workers) if replayed is None else ())
    for step in range(steps):
        if replayed is None:
            batch, state = next(stream), torch.get_rng_state()
        else:
            batch, state = replayed[step]
            torch.set_rng_state(state)
        batch = (batch[0].to(dtype), batch[1])
        given.append((batch, state))
        losses.append(_step(now.backward, net, optimizer, batch, closure=probe == "closure"))
        schedule.step()
    return Run(net, (before, whole_loss(net, dtype)), losses, given, controller)


def whole_loss(net: nn.Module, dtype: torch.dtype) -> float:
    """Over all data, without dropout."""
    x, y = loader(0).dataset[:]
    for module in net.modules():
        module.train(isinstance(module, nn.BatchNorm1d))
    loss = functional.cross_entropy(net(x.to(dtype)), y).item()
    net.train()
    return loss


def _step(backward: Backward, net: nn.Module, optimizer: Optimizer, batch: Batch, *, closure: bool) -> float:
    def evaluate() -> Tensor:
        optimizer.zero_grad()
        return backward(net, *batch)

    if closure:
        return float(optimizer.step(evaluate))
    loss = evaluate()
    optimizer.step()
    return float(loss)


def served(now: Situation, steps: int, probe: str, kind: Callable[..., Optimizer] = AdamW) -> Run | None:
    """A run under control; None if this probe cannot serve, which it has to say in one line."""
    if not (now.once and probe == "graph"):
        return trained(now, steps, probe, kind)
    with pytest.raises(ProbeError, match=r"cannot be differentiated twice \(.+\); use probe='auto'") as error:
        trained(now, steps, probe, kind)
    assert "\n" not in str(error.value)
    return None


@every_probe
@every_situation
def test_pinned_rate_changes_no_bit(monkeypatch: pytest.MonkeyPatch, name: str, probe: str) -> None:
    monkeypatch.setattr(ControlledGroups, "_applied_rate", lambda self, group, state, factor: group["lr"])
    now = situation(name)
    kind = functools.partial(SGD, momentum=0.9)
    run = served(now, PINNED_STEPS, probe, kind)
    if run is None:
        return
    assert run.controller is not None
    # The echo probe changes which minibatches come; what is made of them must be the same.
    echo = run.controller.probe == "echo"
    expected = trained(now, PINNED_STEPS, kind=kind, replayed=run.given if echo else None)
    if now.exact or run.controller.probe != "graph":
        assert run.losses == expected.losses
        assert torch.equal(weights(run.net), weights(expected.net))
    else:
        assert run.losses == pytest.approx(expected.losses, rel=1e-4)
        assert weights(run.net).numpy() == pytest.approx(weights(expected.net).numpy(), rel=1e-4, abs=1e-4)
    assert all(
        torch.equal(one, other)
        for (batch, state), (batch_, state_) in zip(run.given, expected.given, strict=True)
        for one, other in zip((*batch, state), (*batch_, state_), strict=True)
    )
    assert (run.controller.probes > 3) == now.sees


# With clipping they do not: each of the closure's two gradients is clipped by its own norm.
TWICE = [name for name, now in SITUATIONS.items() if now.sees and not now.once and name != "clipping"]


@pytest.mark.parametrize("name", TWICE)
def test_graph_and_closure_see_the_same(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def pinned(self: ControlledGroups, group: dict[str, Any], state: ControlState, factor: float) -> float:
        return 1e-2 * float(group["lr"])

    monkeypatch.setattr(ControlledGroups, "_applied_rate", pinned)
    graph, closure = (
        trained(SITUATIONS[name], 8, probe, SGD, torch.float64) for probe in ("graph", "closure")
    )
    assert graph.controller is not None
    assert closure.controller is not None
    seen, expected = graph.controller.history[-5:], closure.controller.history[-5:]
    assert [record.step for record in seen] == [record.step for record in expected] == [4, 5, 6, 7, 8]
    for what in ("alignment", "lipschitz", "curvature", "gradient_norm_squared"):
        wanted = [getattr(record, what) for record in expected]
        assert [getattr(record, what) for record in seen] == pytest.approx(wanted, rel=0.01)


@every_probe
@every_situation
def test_pairs_are_seen_and_the_loss_falls(name: str, probe: str) -> None:
    now = situation(name)
    run = served(now, FREE_STEPS, probe)
    if run is None:
        return
    assert run.controller is not None
    _assert_told(now, probe, run.controller)
    seen = [record for record in run.controller.history if record.alignment is not None]
    if not now.sees:
        assert not seen
        assert run.controller.learning_rate == 0.0
        return
    assert len(seen) > 10
    assert all(math.isfinite(r.alignment) and math.isfinite(r.lipschitz) for r in seen)
    assert sum(r.curvature > 0 for r in seen) > len(seen) / 2
    before, after = run.falls
    # Minibatches of 16 are noisy, and noise counts as curvature there: its rate is tiny.
    assert after < (1.0 if run.controller.probe == "consecutive" else 0.99) * before


def _assert_told(now: Situation, probe: str, controller: Controller) -> None:
    """The choice of a probe is an event, and so is each reason to do something else; all in one line."""
    told = [event.reason for event in controller.events if event.kind == "probe"]
    assert not any("\n" in reason for reason in told)
    wanted = "graph" if probe == "auto" else probe
    assert told[0] == f"gradient pairs come from the {wanted} probe"
    if now.once and probe == "auto":
        assert [controller.probe, len(told)] == ["echo", 2]
        assert "cannot be differentiated twice" in told[1]
    elif not now.exact and wanted == "graph":
        assert [controller.probe, len(told)] == ["graph", 2]
        assert "math kernel" in told[1]
    else:
        assert [controller.probe, len(told)] == [wanted, 1]
