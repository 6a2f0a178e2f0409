"""COCOB and DoWG against a transcription of their papers, and what they cannot be run with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from reference import parameter_free as reference

from galatune.bench.controller.methods import METHODS
from galatune.bench.controller.methods.parameter_free import COCOB, DoWG
from galatune.bench.controller.runs import Run, execute, plan
from galatune.bench.controller.tasks import TASKS

CURVATURES = torch.tensor([3.0, 0.5, 0.05, 0.0], dtype=torch.float64)
"""The last entry never has a gradient."""
STEPS = 80


def noise() -> torch.Tensor:
    draw = torch.randn(STEPS, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return draw * (CURVATURES > 0)


def gradient(x: list[float], step: int) -> list[float]:
    return (CURVATURES * torch.tensor(x, dtype=torch.float64) + noise()[step]).tolist()


def trained(build: Callable[..., torch.optim.Optimizer], start: list[float]) -> list[float]:
    """Two parameters, in two groups, that hold the four numbers."""
    halves = [torch.nn.Parameter(torch.tensor(start[i : i + 2], dtype=torch.float64)) for i in (0, 2)]
    optimizer = build([{"params": [half]} for half in halves])
    for step in range(STEPS):
        optimizer.zero_grad()
        x = torch.cat(halves)
        ((0.5 * CURVATURES * x + noise()[step]) * x).sum().backward()
        optimizer.step()
    return torch.cat(halves).tolist()


@pytest.mark.parametrize(
    ("build", "literal"), [(COCOB, reference.cocob), (DoWG, reference.dowg)], ids=["cocob", "dowg"]
)
def test_steps_are_those_of_the_paper(build, literal) -> None:
    start = [1.0, -2.0, 0.5, 3.0]
    found = trained(build, start)
    assert found == pytest.approx(literal(start, gradient, STEPS), rel=1e-12)
    assert found[:3] != start[:3]
    assert found[3] == start[3]


@pytest.mark.parametrize("build", [COCOB, DoWG])
def test_parameters_without_gradients_stay(build) -> None:
    seen, unseen = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = build([seen, unseen])
    optimizer.step()
    seen.grad = torch.zeros(2)
    optimizer.step()
    assert torch.equal(seen, torch.ones(2))
    seen.grad = torch.ones(2)
    optimizer.step()
    assert bool((seen < 1).all())
    assert torch.equal(unseen, torch.ones(2))


def test_cocob_does_not_depend_on_the_scale_of_the_loss() -> None:
    plain, scaled = (
        execute(Run("line", "cocob", "constant", 1.0, scale=scale, dtype="float64")) for scale in (1.0, 1e-6)
    )
    assert scaled.loss == pytest.approx(plain.loss, rel=1e-9)


@pytest.mark.parametrize("name", ["cocob", "dowg"])
def test_they_are_run_without_a_schedule_alone(name: str) -> None:
    runs = plan([TASKS["line"]], [METHODS[name]], ["cosine", "constant"], seeds=[0, 1])
    assert [(run.schedule, run.seed) for run in runs] == [("constant", 0), ("constant", 1)]
