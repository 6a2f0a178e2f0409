"""One rank of several trainings, or the same trainings alone; writes down their rates and weights."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.distributed import checkpoint
from torch.distributed.algorithms.join import Join
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn import functional

import galatune
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.controller.rule.guard import Guard
from galatune.errors import ControlError, ProbeError

from .distributed_minibatches import RANKS, Batch, by_hand, drawn


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        wrap: What spreads the net: "copies" (with gradients of their own, or "views" of the messages),
            "shards", "hybrid" (shards of copies) or "columns".
        probe: Asked for.
        kind: Class name of the optimizer.
        options: Of the optimizer.
        per_group: Two groups with rates of their own.
        parts: Minibatches accumulated before a step; all but the last are not synchronized.
        uneven: Every third minibatch is short by a half on one of the ranks.
        evaluate: A forward without backward before every step, as a validation does.
        once: One rank's loss cannot be differentiated twice.
        joined: One rank runs out of minibatches nine steps early, within torch's Join.
        loader: What one rank does if minibatches come from DataLoaders (`distributed_minibatches.drawn`);
            None if they are made by hand.
        spike: Step at which one rank's loss is large: the guard divides the rate on all of them, or on none.
        scaled: Under a GradScaler; instead of a large loss, that step has gradients that overflow.
        first: Steps that are all probed.
        steps: How many.
    """

    wrap: str
    probe: str
    kind: str = "AdamW"
    options: dict[str, Any] = field(default_factory=dict)
    per_group: bool = False
    parts: int = 1
    uneven: bool = False
    evaluate: bool = False
    once: bool = False
    joined: bool = False
    loader: str | None = None
    spike: int = 20
    scaled: bool = False
    first: int = 28
    steps: int = 33


SGD = {"momentum": 0.9, "weight_decay": 1e-3}
ROWS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "Adam": {"weight_decay": 1e-3, "amsgrad": True},
    "NAdam": {},
    "RAdam": {},
    "Adamax": {},
    "Adagrad": {"weight_decay": 1e-3},
    "RMSprop": {"centered": True},
    "Adadelta": {},
}
LONG: dict[str, Any] = {"loader": "alike", "spike": 41, "first": 56, "steps": 66}
"""Twice as long: a pair of the echo probe is two steps."""

DISAGREEING = ("unwatched", "ahead", "unrepeated")
"""Loops of one rank that the echo probe cannot serve."""

CASES = {
    **{f"copies {probe}": Case("copies", probe) for probe in ("closure", "graph", "consecutive")},
    **{f"views {probe}": Case("views", probe) for probe in ("closure", "graph", "consecutive")},
    "copies groups": Case("copies", "graph", per_group=True),
    "copies uneven graph": Case("copies", "graph", "SGD", SGD, uneven=True),
    "copies uneven closure": Case("copies", "closure", uneven=True),
    "copies accumulated graph": Case("copies", "graph", "SGD", SGD, parts=2),
    "copies accumulated closure": Case("copies", "closure", parts=2),
    **{f"copies joined {probe}": Case("copies", probe, joined=True) for probe in ("closure", "auto")},
    "copies once": Case("copies", "auto", once=True),
    **{f"shards {probe}": Case("shards", probe) for probe in ("closure", "consecutive")},
    **{f"shards {probe} sgd": Case("shards", probe, "SGD", SGD) for probe in ("closure", "consecutive")},
    **{
        f"shards {kind}": Case("shards", "closure", kind, options, steps=28) for kind, options in ROWS.items()
    },
    "shards groups": Case("shards", "closure", per_group=True),
    "shards accumulated": Case("shards", "closure", parts=2),
    "shards evaluated": Case("shards", "closure", evaluate=True),
    "shards auto": Case("shards", "auto"),
    "hybrid closure": Case("hybrid", "closure"),
    **{f"columns {probe}": Case("columns", probe) for probe in ("closure", "graph", "consecutive")},
    **{
        f"{wrap} echo": Case(wrap, "echo", **LONG)
        for wrap in ("copies", "views", "shards", "hybrid", "columns")
    },
    "copies echo accumulated": Case("copies", "echo", "SGD", SGD, parts=2, **LONG),
    "shards echo accumulated": Case("shards", "echo", parts=2, **LONG),
    **{f"{wrap} echo scaled": Case(wrap, "echo", scaled=True, **LONG) for wrap in ("copies", "shards")},
    "copies echo early": Case("copies", "echo", loader="early"),
    "shards echo early": Case("shards", "echo", loader="early"),
    "copies echo once unwatched": Case("copies", "echo", loader="once unwatched"),
    "shards echo once unwatched": Case("shards", "echo", loader="once unwatched"),
    "copies echo unwatched": Case("copies", "echo", loader="unwatched"),
    **{f"copies {loader}": Case("copies", "auto", once=True, loader=loader) for loader in DISAGREEING},
    **{f"shards {loader}": Case("shards", "auto", loader=loader) for loader in DISAGREEING},
    "copies joined echo": Case("copies", "auto", once=True, joined=True, loader="alike"),
}


class Once(torch.autograd.Function):
    """The identity, which cannot be differentiated twice."""

    @staticmethod
    def forward(context: Any, inputs: Tensor) -> Tensor:
        return inputs.clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient


class Gain(nn.Module):
    """A parameter with fewer rows than there are ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.gain * inputs


def spread(net: nn.Sequential, wrap: str) -> nn.Module:
    if wrap in ("copies", "views"):
        return nn.parallel.DistributedDataParallel(net, gradient_as_bucket_view=wrap == "views")
    if wrap == "columns":
        plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
        return parallelize_module(net, init_device_mesh("cpu", (RANKS,)), plan)
    shape, names = ((RANKS,), ("shard",)) if wrap == "shards" else ((RANKS, 1), ("replicate", "shard"))
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
    for module in (net[0], net[2], net):
        fully_shard(module, mesh=mesh)
    return net


class Training:
    """A net, its optimizer under control, and the minibatches of a case.

    Args:
        case: What to do.
        rank: Of this process.
        ranks: How many there are; 1 for the same training alone.
    """

    def __init__(self, case: Case, rank: int = 0, ranks: int = 1) -> None:
        torch.manual_seed(0)
        whole = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3), Gain()).double()
        self.case, self.net = case, spread(whole, case.wrap) if ranks > 1 else whole
        self.shares = [rank] if ranks > 1 and case.wrap != "columns" else list(range(RANKS))
        self.whole = len(self.shares) == RANKS
        self.parameters = list(self.net.parameters())
        groups: Any = self.parameters
        if case.per_group:
            groups = [{"params": groups[:2], "lr": 0.1}, {"params": groups[2:]}]
        self.optimizer = getattr(torch.optim, case.kind)(groups, lr=1.0, **case.options)
        self.controller = galatune.attach(
            self.optimizer,
            probe=case.probe,
            probe_schedule=ProbeSchedule(first=case.first, every=10, thinning=0.0),
            guard=Guard(spike=1.2, max_growth_per_step=2.0),  # so that the learner speaks in so few steps
            per_group=case.per_group,
        )
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=case.scaled)
        self.rates: list[Any] = []
        self.minibatches = by_hand() if case.loader is None else self._drawn(case.loader)

    def _drawn(self, odd: str) -> Iterator[Batch]:
        return drawn(1, 0, odd) if self.whole else drawn(RANKS, self.shares[0], odd)

    def skip(self, steps: int) -> None:
        """Leave out the minibatches of so many steps."""
        with torch.no_grad():
            for _ in range(steps * self.case.parts):
                next(self.minibatches)

    def run(self, start: int, stop: int) -> None:
        for step in range(start, stop):
            self._step(step, [next(self.minibatches) for _ in range(self.case.parts)])

    def _step(self, step: int, drawn: list[Batch]) -> None:
        def evaluate() -> Tensor:
            self.optimizer.zero_grad()
            total = torch.zeros((), dtype=torch.float64)
            for part, (inputs, labels) in enumerate(drawn):
                with unsynchronized(self.net, part < len(drawn) - 1):
                    losses = [self._loss(step, inputs, labels, share) for share in self.shares]
                    loss = torch.stack(losses).mean() / len(drawn)
                    self.scaler.scale(loss).backward()
                total += loss.detach()
            return total

        if self.case.evaluate:
            with torch.no_grad():
                self.net(drawn[0][0])
        if self.case.probe == "closure":
            self.optimizer.step(evaluate)
        else:
            evaluate()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.rates.append(self.controller.learning_rate)

    def _loss(self, step: int, inputs: Tensor, labels: Tensor, share: int) -> Tensor:
        if self.case.loader is None or self.whole:
            inputs, labels = inputs[share::RANKS], labels[share::RANKS]
        short = self.case.uneven and step % 3 == 2 and share > 0
        length = len(inputs) // 2 if short else len(inputs)
        weight = 1.0
        if share and step == self.case.spike:
            weight = torch.inf if self.case.scaled else 3.0
        outputs = self.net(inputs[:length])
        if share and self.case.once:
            outputs = Once.apply(outputs)
        return weight * functional.cross_entropy(outputs, labels[:length])

    def result(self) -> dict[str, Any]:
        return {
            "probe": self.controller.probe,
            "probes": self.controller.probes,
            "rates": self.rates,
            "weights": torch.cat([whole_of(p).flatten() for p in self.parameters]).tolist(),
            "events": [[event.step, event.kind, event.reason] for event in self.controller.events],
        }


def train(case: Case, rank: int = 0, ranks: int = 1) -> dict[str, Any]:
    training = Training(case, rank, ranks)
    joined = Join([training.net]) if case.joined else contextlib.nullcontext()
    with joined:
        try:
            training.run(0, case.steps - 9 * rank if case.joined else case.steps)
        except ProbeError as error:
            return {**training.result(), "error": str(error)}
    return training.result()


def resume(name: str, how: str, cut: int, rank: int, folder: Path) -> dict[str, Any]:
    """Train to the cut, save, load into a new training, go on to the end.

    Args:
        name: Of the case.
        how: Each rank loads its own of the "files", all load "one file", the first rank's, or a distributed
            "checkpoint".
        cut: Steps before it.
        rank: Of this process.
        folder: Where the ranks save.
    """
    first, second = (Training(CASES[name], rank, RANKS) for _ in range(2))
    first.run(0, cut)
    second.skip(cut)
    place = folder / f"{name} {how} {cut}"
    if how == "checkpoint":
        checkpoint.save(of(first), checkpoint_id=place)
        saved = of(second)
        checkpoint.load(saved, checkpoint_id=place)
        second.net.load_state_dict(saved["net"])
        set_optimizer_state_dict(second.net, second.optimizer, saved["optimizer"])
    else:
        saving = [part.state_dict() for part in (first.net, first.optimizer, first.controller)]
        torch.save(saving, f"{place} {rank}")
        distributed.barrier()
        states = torch.load(f"{place} {0 if how == 'one file' else rank}", weights_only=True)
        for part, state in zip((second.net, second.optimizer, second.controller), states, strict=True):
            part.load_state_dict(state)
    second.run(cut, second.case.steps)
    return second.result()


def of(training: Training) -> dict[str, Any]:
    optimizer = get_optimizer_state_dict(training.net, training.optimizer)
    return {"net": training.net.state_dict(), "optimizer": optimizer}


def refused() -> str:
    """What is said of parameters that FullyShardedDataParallel made flat."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = FullyShardedDataParallel(nn.Linear(4, 8), use_orig_params=True, device_id=torch.device("cpu"))
    try:
        galatune.attach(torch.optim.AdamW(net.parameters()))
    except ControlError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


RESUMED = [
    *[(f"{wrap} echo", "files", cut, 0) for wrap in ("copies", "shards") for cut in (10, 11, 60)],
    ("copies echo", "one file", 10, 0),
    ("copies echo", "one file", 60, 1),
    ("shards echo", "checkpoint", 10, 0),
    ("shards echo", "checkpoint", 60, 1),
    ("shards closure", "files", 10, 0),
    ("shards closure", "files", 29, 0),
    ("shards closure", "checkpoint", 10, 1),
    ("shards closure", "checkpoint", 29, 0),
]
"""(case, how, cut, probes lost): one file or a checkpoint lacks a rank's part of a step to be probed."""


@contextlib.contextmanager
def unsynchronized(net: nn.Module, wanted: bool) -> Any:
    if not wanted:
        yield
    elif hasattr(net, "no_sync"):
        with net.no_sync():
            yield
    elif hasattr(net, "set_requires_gradient_sync"):
        net.set_requires_gradient_sync(False)
        yield
        net.set_requires_gradient_sync(True)
    else:
        yield


def whole_of(p: Tensor) -> Tensor:
    return p.detach().full_tensor() if hasattr(p, "full_tensor") else p.detach()


if __name__ == "__main__":
    given_rank, folder, *names = sys.argv[1:]
    rank, here = int(given_rank), Path(folder)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{here / 'meeting'}",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(minutes=2),
    )
    found = {name: train(CASES[name], rank, RANKS) for name in names}
    for name, how, cut, _ in RESUMED:
        if name in names:
            found[f"{name} {how} {cut}"] = resume(name, how, cut, rank, here)
    found["flattened"] = refused()
    (here / f"{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()
