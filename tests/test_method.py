"""The method as docs/method.md tells it gives the controller's rates, bit for bit."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from controller.training import batches, classifier
from torch.nn import functional
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

import galatune
from galatune.controller import (
    ClosureProbe,
    ConsecutiveProbe,
    EchoProbe,
    GraphProbe,
    Guard,
    ProbeSchedule,
    StepScales,
)
from galatune.controller.groups import rate_group
from galatune.controller.rule import estimate, first_rate, loss_trend, rate
from galatune.controller.rule.estimate import InnerProducts
from galatune.controller.rule.loss_trend import LossTrend

STEPS = 200
TEXT = (Path(__file__).parents[1] / "docs" / "method.md").read_text(encoding="utf-8")


def code() -> str:
    """The step in code, as it stands in the document."""
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    return str(block)


def method() -> ModuleType:
    module = ModuleType("method")
    exec(compile(code(), "docs/method.md", "exec"), module.__dict__)
    return module


@dataclass(frozen=True)
class Seen:
    """What one step shows; the names are those of docs/method.md."""

    taken: int
    schedule: float
    momentum_factor: float
    loss: float | None = None
    norm: float = 0.0
    entries: int = 0
    direction_squared: float = 0.0
    products: InnerProducts | None = None
    by_direction: bool = False
    metric_known: bool = True
    own_share: float = 0.0
    step_scale: float = 1.0
    norm_power: float = 0.0


class Recorder:
    """Keeps what the rule is told in the present step, and nothing of what it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: dict[str, Any] = {}
        own_next, own_add = rate.Rule.next_rate, LossTrend.add
        own_move, own_first = first_rate.first_move, first_rate.first_rate

        def next_rate(rule: Any, state: Any, probed: Any, settings: Any) -> Any:
            self.told |= {
                "products": probed.products,
                "own_share": probed.own_share,
                "by_direction": settings.use_direction_alignment,
                "metric_known": settings.metric_known,
                "step_scale": settings.step_scale,
                "norm_power": settings.norm_power,
            }
            return own_next(rule, state, probed, settings)

        def first_move(norm: float, entries: int) -> float:
            self.told |= {"norm": norm, "entries": entries}
            return own_move(norm, entries)

        def add(losses: LossTrend, loss: float) -> Any:
            self.told |= {"loss": loss}
            return own_add(losses, loss)

        def begin(move: float, direction_squared: float) -> float:
            self.told |= {"direction_squared": direction_squared}
            return own_first(move, direction_squared)

        monkeypatch.setattr(rate.Rule, "next_rate", next_rate)
        monkeypatch.setattr(LossTrend, "add", add)
        monkeypatch.setattr(rate_group, "first_move", first_move)
        monkeypatch.setattr(rate_group, "first_rate", begin)


class Signs(torch.optim.Optimizer):
    """Updates by signs; galatune knows nothing of it."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad.sign(), alpha=group["lr"])


def momentum_factor(group: dict[str, Any]) -> float:
    momentum = group.get("momentum", 0.0)
    return (1.0 - momentum) / (1.0 - group["dampening"]) if momentum else 1.0


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        kind: Makes the optimizer.
        probe: Asked for.
        cosine: With a schedule.
        accident: Number of a step whose gradients are infinite; it is undone. None for none.
        quadratic: The loss is the sum of squared parameters, whose curvature is the same everywhere.
        size: Of the parameters at the start, relative to the usual one.
        steps: Number of steps; gradients that fade count after 600.
    """

    kind: Callable[..., torch.optim.Optimizer]
    probe: str = "graph"
    cosine: bool = False
    accident: int | None = None
    quadratic: bool = False
    size: float = 1.0
    steps: int = STEPS


MOMENTUM = partial(SGD, momentum=0.9, dampening=0.1)
CASES = {
    "adamw, cosine": Case(AdamW, cosine=True),
    "adamw": Case(AdamW),
    "adamw, long": Case(AdamW, steps=700),
    "momentum, long": Case(MOMENTUM, steps=700),
    "momentum, cosine": Case(MOMENTUM, cosine=True),
    "momentum": Case(MOMENTUM),
    "adamw, closure": Case(AdamW, "closure"),
    "adamw, consecutive, cosine": Case(AdamW, "consecutive", cosine=True),
    "adamw, echo, cosine": Case(AdamW, "echo", cosine=True),
    "momentum, echo": Case(MOMENTUM, "echo"),
    "signs": Case(Signs),
    "adamw, accident": Case(AdamW, accident=8),
    "sgd, curvatures agree": Case(SGD, quadratic=True, size=100.0),
    "signs, steps round away": Case(Signs, quadratic=True, size=1e4),
}


def shown_batches(steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Different ones; in a long training two again and again, which the net comes to fit."""
    return batches(steps) if steps == STEPS else batches(2) * (steps // 2)


def training(
    case: Case, recorder: Recorder
) -> tuple[list[Seen], list[tuple[float, float]], galatune.controller.Controller]:
    """What each step shows, and the controller's rate before the schedule and as applied."""
    net = classifier()
    for p in net.parameters():
        p.data.mul_(case.size)
    optimizer = case.kind(net.parameters(), lr=0.1)
    controller = galatune.attach(optimizer, probe=case.probe)
    scheduler = CosineAnnealingLR(optimizer, case.steps) if case.cosine else None
    (group,), seen, chosen = optimizer.param_groups, [], []
    for step, (inputs, labels) in enumerate(DataLoader(shown_batches(case.steps), batch_size=None)):
        recorder.told, shown = {}, Seen(step, group["lr"], momentum_factor(group))

        def closure(inputs: Any = inputs, labels: Any = labels, step: int = step) -> torch.Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(inputs), labels)
            if case.quadratic:
                loss = torch.stack([p.square().sum() for p in net.parameters()]).sum()
            if step == case.accident:
                loss = loss * torch.inf
            loss.backward()
            return loss

        good = [(t, t.detach().clone()) for t in tensors_of(optimizer)]
        if case.probe == "closure":
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        if step == case.accident:
            for tensor, values in good:
                tensor.data.copy_(values)
        seen.append(replace(shown, **recorder.told))
        chosen.append((group["galatune"].rate.rate, group["galatune"].group.applied))
        if scheduler is not None:
            scheduler.step()
    return seen, chosen, controller


def tensors_of(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    for p in optimizer.param_groups[0]["params"]:
        yield p
        yield from (value for value in optimizer.state[p].values() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("name", CASES)
def test_the_step_in_the_document_gives_the_controllers_rates(name, monkeypatch):
    seen, chosen, controller = training(CASES[name], Recorder(monkeypatch))
    if CASES[name].kind is Signs:  # the first step of an unknown metric is not measured before it
        seen[0] = replace(seen[0], direction_squared=1.0, metric_known=False)
    written, found = method(), []
    memory = written.Memory()
    for shown in seen:
        applied = written.step(memory, shown)
        found.append((memory.rate, applied))
    assert found == chosen
    assert len(controller.history) == sum(shown.products is not None for shown in seen) > 20
    assert len({rate for rate, _ in chosen}) > 10
    fades = memory.mean.norm_ratio < 1 and max(shown.norm_power for shown in seen) > 0
    assert fades == (name == "adamw, long")
    kinds = {event.kind for event in controller.events}
    assert ("non-finite" in kinds) == (CASES[name].accident is not None)
    assert ("limit" in kinds) == (CASES[name].size < 1e4)  # steps that round away are not limited


def test_the_document_imports_the_rule_alone_and_is_short() -> None:
    assert len(code().splitlines()) <= 80
    modules = [node for node in ast.walk(ast.parse(code())) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert modules
    for node in modules:
        assert isinstance(node, ast.ImportFrom)
        assert (node.module or "").startswith("galatune.controller.rule")
    assert not re.search(r"\bRule\b|next_rate|__import__", code())


def table(heading: str) -> list[list[str]]:
    """Rows of the table below a heading of the document, without its head."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def spelled(scales: StepScales, cell: str, **options: bool) -> bool:
    """Whether a cell of the table is what these scales are."""
    number, *falls = cell.split(", then ")
    early = scales.adaptive if options["adaptive"] and scales.adaptive is not None else scales
    falling = options["decays"] and early.early is not None
    if falling:
        assert falls == [f"{number} sqrt({early.early} / steps), at least {number} / 5"]
        assert scales.scale(**options, steps=4 * (early.early or 0)) == float(number) / 2
        assert scales.scale(**options, steps=10**9) == float(number) / 5
    return scales.scale(**options) == float(number) and falling == bool(falls)


def test_step_scales_are_those_of_the_probes() -> None:
    rows = table("Step scales")
    probes = {
        "echo": [EchoProbe],
        "closure, graph, consecutive": [ClosureProbe, GraphProbe, ConsecutiveProbe],
    }
    seen = set()
    for names, metric, decaying, constant in rows:
        adaptive = {"adaptive,": True, "other": False}[metric.split()[0]]
        for probe in probes[names]:
            assert spelled(probe.step_scales, decaying, decays=True, adaptive=adaptive)
            assert spelled(probe.step_scales, constant, decays=False, adaptive=adaptive)
            seen.add((probe, adaptive))
    assert len(seen) == 8


def probes_until_full() -> int:
    probes, ones = 0, 0.0
    while ones < estimate.FULL:
        probes, ones = probes + 1, estimate.DISCOUNT * ones + 1
    return probes


def test_numbers_in_the_document_are_those_of_the_code() -> None:
    plain = " ".join(TEXT.split())
    for words in (
        f"max(q, {estimate.CURVATURE_FLOOR:g} L)",
        f"clip(sum {estimate.DISCOUNT:g}^k w a / sum {estimate.DISCOUNT:g}^k w, "
        f"{estimate.LOWEST_ALIGNMENT:g}, {estimate.HIGHEST_ALIGNMENT:g})",
        f"at most {estimate.HEAVIEST:g} times its own running mean",
        f"all from the {probes_until_full() + 1}rd probe on",
        f"k = {estimate.FADING_SLOPE:g} log10(steps / {estimate.FADING_FROM})` between 0 and "
        f"{estimate.FADING_POWER:g}",
        f"A <- {rate.DiscountedFTRL().discount:g} A + w a",
        f"min(fast, {rate.DiscountedFTRL().slow_bound:g} slow)",
        f"at most {Guard().growth:g} times the present one, at least 1/{Guard().shrink:g} of it",
        f"at most {Guard().max_growth_per_step:g} times per step",
        f"not above {rate.LARGE_STEPS:g} times the first rate",
        f"{rate.FAR_BELOW:g} times the present one",
        f"last {rate.CURVATURES.length} curvatures agree",
        f"differ by less than {rate.AGREEMENT:g}",
        f"below {rate.EARLY_IN_SCHEDULE:g} of its peak",
        f"{first_rate.FIRST_MOVE:g} max(||x||, {first_rate.SMALLEST_WEIGHT:g} sqrt(n))".replace(
            "1e-05", "1e-5"
        ).replace("0.001", "1e-3"),
        f"{first_rate.UNKNOWN_STEP_RATE:g}".replace("1e-06", "1e-6"),
        f"first {ProbeSchedule().first} steps",
        f"lowest of the last {loss_trend.WINDOW} losses",
        f"with discount {loss_trend.DISCOUNT:g}",
        f"max({loss_trend.TIMES_NOISE:g} noise, range / {1 / loss_trend.SHARE_OF_RANGE:g}, ",
        f"|lowest of the last {loss_trend.WINDOW}| / {1 / loss_trend.SHARE_OF_LOSS:g})",
        f"from the {loss_trend.FEWEST + 1}th loss on",
    ):
        assert words in plain, words
