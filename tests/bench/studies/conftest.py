"""An objective that trains in a millisecond, for the machinery around it."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
import pytest
import torch

from galatune.bench.studies.objectives import objective as objectives
from galatune.bench.studies.objectives.objective import Losses, Part, Rows, Setting


@dataclass(frozen=True)
class Line:
    """A line fitted with SGD; the seed of its rows is kept, so that a test sees which were drawn."""

    name: str = "line"
    title: str = "a line"
    optimizers: str = "SGD"
    schedule: str = "constant"
    prunes: bool = False
    moved: tuple[str, ...] = ("epochs x 4",)
    rate: str = "lr"

    def rows(self, seed: int, fresh: bool, setting: Setting) -> Rows:
        generator = torch.Generator().manual_seed(2 * seed + fresh)
        x = torch.randn(60, 2, generator=generator)
        y = x.sum(1, keepdim=True) + 0.1 * torch.randn(60, 1, generator=generator)
        return Rows(*(Part(x[i : i + 20], y[i : i + 20]) for i in (0, 20, 40)))

    def train(self, trial: optuna.trial.BaseTrial, rows: Rows, setting: Setting) -> Losses:
        rate = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
        net = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=rate, weight_decay=decay)
        x, y = rows.train.x, rows.train.y
        for step in range(int(8 * setting.epochs)):
            optimizer.zero_grad()
            (net(x) - y).square().mean().backward()
            optimizer.step()
            if step % 4 == 3:
                trial.report(self._loss(net, rows.validation), step // 4)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return Losses(self._loss(net, rows.validation), self._loss(net, rows.test))

    def _loss(self, net: torch.nn.Module, rows: Part) -> float:
        with torch.no_grad():
            return float((net(rows.x) - rows.y).square().mean())


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    """The objective, under its name in the testbed."""
    objective = Line()
    monkeypatch.setitem(objectives.OBJECTIVES, objective.name, objective)
    return objective
