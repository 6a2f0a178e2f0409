"""A small training under control, with everything that a loop may do."""

from __future__ import annotations

import gc
import io
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from spelling import EVENT_KINDS, NEW_EVENTS, find, renamed, spelled
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

__all__ = ["RANKS", "Loop"]

BATCH, ROWS, RANKS = 16, 112, 2


class Sign(torch.optim.Optimizer):
    """An optimizer that galatune knows nothing of."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad.sign(), alpha=group["lr"])
        return loss


class Once(torch.autograd.Function):
    """The identity, which cannot be differentiated twice."""

    @staticmethod
    def forward(context: Any, inputs: Tensor) -> Tensor:
        return inputs.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient


@dataclass(frozen=True)
class Loop:
    """A training under control.

    Attributes:
        probe: Asked for; "closure" also makes the loop call ``step(closure)``.
        kind: The optimizer, of torch or `Sign`, with its `settings`.
        cosine: With a schedule.
        options: Of `attach`, as `spelled` reads them.
        groups: Two parameter groups, the second with a tenth of the rate.
        parts: Minibatches accumulated before a step.
        clip: Largest norm of the gradient.
        outliers: Factors of the loss at some steps.
        scale: First scale of a GradScaler.
        autocast: The net computes in float16.
        once: The net cannot be differentiated twice.
        by_hand: Minibatches do not come from a DataLoader.
        resumed: Steps before which net and optimizer are saved and loaded into new ones.
        frozen: Step before which the controller is frozen.
        wrap: What spreads the net over ranks: "copies" or "shards".
    """

    probe: str = "auto"
    kind: str = "AdamW"
    settings: Mapping[str, Any] = field(default_factory=dict)
    cosine: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 120
    dtype: torch.dtype = torch.float32
    groups: bool = False
    parts: int = 1
    clip: float | None = None
    outliers: Mapping[int, float] = field(default_factory=dict)
    scale: float | None = None
    autocast: bool = False
    once: bool = False
    by_hand: bool = False
    resumed: tuple[int, ...] = ()
    frozen: int | None = None
    wrap: str | None = None

    def __call__(self, rank: int = 0) -> dict[str, Any]:
        """Train; what is to be compared."""
        return Training(self, rank).run()


class Training:
    """A net, its optimizer under control, and the minibatches of a loop."""

    def __init__(self, loop: Loop, rank: int) -> None:
        self.loop = loop
        self.history: list[Any] = []
        self.events: list[Any] = []
        self.begin()
        self.batches = self.minibatches(rank)

    def run(self) -> dict[str, Any]:
        """Train to the end, or to the first error that is raised on purpose."""
        losses, rates, ended = [], [], None
        for step in range(self.loop.steps):
            if step in self.loop.resumed:
                self.resume()
            if step == self.loop.frozen:
                self.controller.freeze()
            try:
                losses.append(self.step(step))
            except find("GalatuneError") as error:
                ended = [step, type(error).__name__]
                break
            rates.append(self.controller.learning_rate)
        return {"losses": losses, "rates": rates, "error": ended, **self.seen()}

    def begin(self) -> None:
        """A new net under control."""
        torch.manual_seed(0)
        norm = nn.Identity() if self.loop.wrap else nn.BatchNorm1d(8)
        net: nn.Module = nn.Sequential(
            nn.Linear(4, 8), norm, nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 3), nn.Linear(3, 3)
        ).to(self.loop.dtype)
        if self.loop.wrap == "copies":
            net = nn.parallel.DistributedDataParallel(net)
        elif self.loop.wrap == "shards":
            fully_shard(net)
        parameters: list[Any] = list(net.parameters())
        if self.loop.groups:
            parameters = [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.3}]
        kind = Sign if self.loop.kind == "Sign" else getattr(torch.optim, self.loop.kind)
        self.net, self.optimizer = net, kind(parameters, lr=3.0, **self.loop.settings)
        rule = torch.optim.lr_scheduler
        self.schedule = rule.CosineAnnealingLR(self.optimizer, self.loop.steps) if self.loop.cosine else None
        self.scaler = torch.amp.GradScaler(
            "cpu", init_scale=self.loop.scale or 1.0, growth_interval=9, enabled=self.loop.scale is not None
        )
        self.controller = find("attach")(self.optimizer, probe=self.loop.probe, **spelled(self.loop.options))

    def minibatches(self, rank: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(1)
        inputs = torch.randn(ROWS, 4, generator=generator)
        labels = (inputs @ torch.randn(4, 3, generator=generator)).argmax(1)
        data = TensorDataset(inputs.to(self.loop.dtype), labels)
        sampler = DistributedSampler(data, RANKS, rank, shuffle=False) if self.loop.wrap else None
        loader = DataLoader(data, BATCH, shuffle=sampler is None, sampler=sampler, generator=generator)
        while True:
            yield from (data[i : i + BATCH] for i in range(0, ROWS, BATCH)) if self.loop.by_hand else loader

    def step(self, number: int) -> float:
        drawn = list(itertools.islice(self.batches, self.loop.parts))

        def evaluate() -> Tensor:
            self.optimizer.zero_grad()
            total = torch.zeros(())
            for x, y in drawn:
                with torch.autocast("cpu", torch.float16) if self.loop.autocast else nullcontext():
                    outputs = Once.apply(self.net(x)) if self.loop.once else self.net(x)
                    loss = functional.cross_entropy(outputs.float(), y) / self.loop.parts
                loss = self.loop.outliers.get(number, 1.0) * loss
                self.scaler.scale(loss).backward()
                total = total + loss.detach()
            if self.loop.clip is not None:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.net.parameters(), self.loop.clip)
            return total

        if self.loop.probe == "closure":
            loss = self.optimizer.step(evaluate)
        else:
            loss = evaluate()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.schedule is not None:
            self.schedule.step()
        return float(loss)

    def resume(self) -> None:
        """Save, begin anew, load."""
        parts = ("net", "optimizer") if self.schedule is None else ("net", "optimizer", "schedule")
        saved = io.BytesIO()
        torch.save([getattr(self, part).state_dict() for part in parts], saved)
        random = torch.get_rng_state()
        self.record()
        self.begin()
        gc.collect()  # the optimizer before, and what listens for it
        saved.seek(0)
        for part, state in zip(parts, torch.load(saved, weights_only=True), strict=True):
            getattr(self, part).load_state_dict(state)
        torch.set_rng_state(random)

    def record(self) -> None:
        """Keep what the controller tells, which is not part of its state."""
        self.history += [renamed(asdict(record)) for record in self.controller.history]
        events = [(e.step, EVENT_KINDS.get(e.kind, e.kind), dict(e.values)) for e in self.controller.events]
        self.events += [[n, kind, renamed(v)] for n, kind, v in events if kind not in NEW_EVENTS]

    def seen(self) -> dict[str, Any]:
        """The state at the end."""
        numbers = ("steps", "probes", "gradient_evaluations", "probe")
        found = {name: getattr(self.controller, name) for name in numbers}
        found["weights"] = [whole(p) for p in self.net.parameters()]
        self.controller.detach()  # which may be an event
        self.record()
        return {**found, "history": self.history, "events": self.events}


def whole(p: Tensor) -> list[float]:
    p = p.detach()
    return (p.full_tensor() if hasattr(p, "full_tensor") else p).double().flatten().tolist()
