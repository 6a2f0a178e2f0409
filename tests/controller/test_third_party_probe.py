"""A probe that somebody else wrote gets the treatment that its nature asks for, not its class."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

from galatune import attach
from galatune.controller import EchoProbe, GradientPair, Probe, StepScales
from galatune.errors import ControlError, ProbeError

from .training import batches, classifier, train, weights

RANKS = 2


class Neighbours(Probe):
    """The gradients of two minibatches in a row, remembered in this class's own way.

    It shares nothing with galatune's consecutive probe but what it says of itself.
    """

    name = "neighbours"
    uses_loop_gradients = True

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Tensor, Tensor | None, Tensor]] = []

    @property
    def holds(self) -> bool:
        return bool(self.kept)

    def remember(self, parameters: Sequence[Tensor]) -> None:
        gradients = [None if p.grad is None else p.grad.detach().clone() for p in parameters]
        self.kept = [(p, g, p.detach().clone()) for p, g in zip(parameters, gradients, strict=True)]

    def pair(self) -> list[GradientPair]:
        kept, self.kept = self.kept, []
        return [
            GradientPair(p, before, p.grad.detach(), p.detach() - start)
            for p, before, start in kept
            if before is not None and p.grad is not None
        ]

    def forget(self) -> None:
        self.kept = []

    def state_dict(self) -> dict[str, Any]:
        if not self.kept:
            return {}
        return {"gradients": [g for _, g, _ in self.kept], "starts": [start for _, _, start in self.kept]}

    def load_state_dict(self, state: Mapping[str, Any], parameters: Sequence[Tensor]) -> None:
        self.kept = []
        if "starts" in state:
            self.kept = list(zip(parameters, state["gradients"], state["starts"], strict=True))


class Shared(Neighbours):
    """The same, said to be two gradients of one minibatch."""

    name = "shared"
    echoes_minibatch = True
    step_scales = StepScales(3.0, 1.5, adaptive=StepScales(5.0, 2.5))


class Asking(Probe):
    """A probe that has the closure evaluated where the last step began."""

    name = "asking"
    needs_closure = True

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Tensor | None] = []

    def prepare(self, closure: Callable[[], Any] | None) -> int:
        if closure is None or not self.ready:
            return 0
        here = [p.detach().clone() for p in self.parameters]
        self.move_to(self.old)
        with torch.enable_grad():
            closure()
        self.before = [None if p.grad is None else p.grad.detach().clone() for p in self.parameters]
        self.move_to(here)
        return 1

    def pair(self) -> list[GradientPair]:
        return self.pair_with(self.before)

    @torch.no_grad()
    def move_to(self, values: Sequence[Tensor]) -> None:
        for p, value in zip(self.parameters, values, strict=True):
            p.data.copy_(value)


MOMENTUM = partial(SGD, momentum=0.9)
KINDS = {"adamw": AdamW, "momentum": MOMENTUM}
STEPS = 80


class Training:
    """A net under control of a probe.

    Args:
        kind: Makes the optimizer.
        probe: Of the controller.
        options: Of `attach`.
    """

    def __init__(self, kind: Any, probe: str | Probe, cosine: bool = True, **options: Any) -> None:
        self.net = classifier()
        self.optimizer = kind(self.net.parameters(), lr=1.0)
        self.controller = attach(self.optimizer, probe=probe, **options)
        self.scheduler = CosineAnnealingLR(self.optimizer, STEPS) if cosine else None
        self.closure = probe == "closure" or isinstance(probe, Asking)
        self.rates: list[Any] = []

    def run(self, start: int, stop: int) -> Training:
        for batch in DataLoader(batches(STEPS)[start:stop], batch_size=None):
            train(self.net, self.optimizer, [batch], closure=self.closure, scheduler=self.scheduler)
            self.rates.append(self.controller.learning_rate)
        return self

    def result(self) -> tuple[Any, ...]:
        history = [(record.step, record.alignment, record.curvature) for record in self.controller.history]
        events = [(event.step, event.kind, event.values) for event in self.controller.events]
        return self.rates, history, events, weights(self.net).tolist()


@pytest.mark.parametrize("cosine", [True, False], ids=["cosine", "constant"])
@pytest.mark.parametrize("kind", KINDS)
def test_clone_of_the_consecutive_probe_gets_its_rates(kind, cosine):
    own, clone = (Training(KINDS[kind], one, cosine).run(0, STEPS) for one in ("consecutive", Neighbours()))
    assert own.result() == clone.result()
    assert clone.controller.probe == "neighbours"
    assert clone.controller.probes > 20
    moves = {round(now / before, 6) for before, now in pairwise(clone.rates[:40])}
    assert len(moves) > 4  # not only as far as the guard lets it


@pytest.mark.parametrize("kind", KINDS)
def test_clone_that_says_nothing_of_itself_is_compared_with_the_previous_update(kind):
    class Silent(Neighbours):
        uses_loop_gradients = False

    silent, clone = (Training(KINDS[kind], one).run(0, STEPS) for one in (Silent(), Neighbours()))
    assert silent.rates != clone.rates
    scales = [
        next(event.values["step_scale"] for event in one.controller.events if event.kind == "schedule")
        for one in (silent, clone)
    ]
    assert scales == ([2.5, 2.0] if kind == "adamw" else [2.0, 2.0])


@pytest.mark.parametrize("cut", [1, 6, 30, 45])
@pytest.mark.parametrize("kind", KINDS)
def test_clone_continues_between_a_step_and_its_probe(kind, cut):
    whole = Training(KINDS[kind], Neighbours()).run(0, STEPS)
    probe, other = Neighbours(), Neighbours()
    first, second = Training(KINDS[kind], probe), Training(KINDS[kind], other)
    first.run(0, cut)
    while not probe.holds:
        first.run(cut, cut + 1)
        cut += 1
    file = io.BytesIO()
    torch.save([part.state_dict() for part in (first.net, first.optimizer, first.scheduler)], file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    for part, state in zip((second.net, second.optimizer, second.scheduler), saved, strict=True):
        part.load_state_dict(state)
    assert other.holds
    second.run(cut, STEPS)
    assert second.rates == whole.rates[cut:]
    assert second.controller.history == whole.controller.history[len(first.controller.history) :]
    assert torch.equal(weights(second.net), weights(whole.net))


@pytest.mark.parametrize(("kind", "scale"), [("adamw", 5.0), ("momentum", 3.0)])
def test_probe_that_echoes_has_the_step_scale_and_the_alignment_of_the_echo_probe(kind, scale):
    """On the same gradients the two differ only in what they say of themselves."""

    class Echo(EchoProbe):
        """galatune's echo probe under another name, as a third party would derive from it."""

        name = "another echo"

    own, clone = (Training(KINDS[kind], one).run(0, STEPS) for one in ("echo", Echo()))
    assert own.result() == clone.result()
    shared = Training(KINDS[kind], Shared()).run(0, STEPS)
    decided = next(event for event in shared.controller.events if event.kind == "schedule")
    assert decided.values["step_scale"] == scale
    assert shared.rates != Training(KINDS[kind], Neighbours()).run(0, STEPS).rates


@pytest.mark.parametrize("kind", KINDS)
def test_probe_that_needs_a_closure_is_called_with_it_and_measures_as_the_closure_probe(kind):
    class AsOurs(Asking):
        next_step_metric = True

    own, clone = (Training(KINDS[kind], one).run(0, STEPS) for one in ("closure", AsOurs()))
    assert clone.rates == own.rates
    assert clone.controller.probes == own.controller.probes > 20
    # Ours evaluates the closure once more, to see that it repeats itself.
    assert clone.controller.gradient_evaluations == own.controller.gradient_evaluations - 1


def test_probe_that_needs_a_closure_refuses_a_loop_without_one():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=1.0)
    _ = attach(optimizer, probe=Asking())
    with pytest.raises(ProbeError, match=r"^probe='asking' needs optimizer\.step\(closure\).*$"):
        train(net, optimizer, batches(2))


def test_alignment_with_the_previous_update_is_refused_to_a_probe_of_loop_gradients():
    optimizer = SGD(classifier().parameters(), lr=1.0)
    with pytest.raises(ControlError, match="needs a minibatch that had no part in that update"):
        attach(optimizer, probe=Neighbours(), alignment="previous_update")


class HalfAProbe:
    """What somebody writes who has not read what a probe is."""

    name = "half"

    def remember(self, parameters: Any) -> None: ...
    def pair(self) -> list[Any]: ...


@pytest.mark.parametrize(
    "given", [HalfAProbe(), object(), 7, Neighbours], ids=["half", "object", "number", "class"]
)
def test_what_is_no_probe_is_refused_in_one_line(given):
    optimizer = SGD(classifier().parameters(), lr=1.0)
    with pytest.raises(ControlError) as refused:
        attach(optimizer, probe=given)
    assert "derived from galatune.controller.Probe" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "galatune" not in optimizer.param_groups[0]


# -- on two ranks


def on_rank(rank: int, folder: Path) -> None:
    """Train on this rank's half of each minibatch; write down the rates."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=RANKS
    )
    found = {}
    for name, probe in (("consecutive", "consecutive"), ("neighbours", Neighbours())):
        net = nn.parallel.DistributedDataParallel(classifier())
        optimizer = AdamW(net.parameters(), lr=1.0)
        controller = attach(optimizer, probe=probe)
        rates = []
        for inputs, labels in batches(60, size=32):
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs[rank::RANKS]), labels[rank::RANKS]).backward()
            optimizer.step()
            rates.append(controller.learning_rate)
        found[name] = {"rates": rates, "probes": controller.probes, "weights": weights(net).tolist()}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_clone_sets_the_same_rates_on_two_ranks(tmp_path):
    program = (
        f"import pathlib, sys; from {__name__} import on_rank; "
        "on_rank(int(sys.argv[1]), pathlib.Path(sys.argv[2]))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rank), str(tmp_path)],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(RANKS))
    assert first == second
    assert first["neighbours"] == first["consecutive"]
    assert first["neighbours"]["probes"] > 20
