"""What a run changes for everybody in the process is as it was afterwards, also if the run raises."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from tiny_search import go, objective, objective_file, train

from galatune.errors import ObjectiveError
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.objective import imported

RANDOM_TEXT = """
import random, numpy, torch
from tiny_search import objective as inner

def objective(trial):
    numpy.random.seed(3); torch.manual_seed(4); random.seed(5)
    return inner(trial)
"""


def seeded() -> None:
    random.seed(11)
    np.random.seed(12)
    torch.manual_seed(13)


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(1)), float(torch.initial_seed())]


@pytest.fixture
def expected() -> list[float]:
    """What is drawn after the run is what would have been drawn without it."""
    seeded()
    random.random(), np.random.normal(), torch.rand(3)
    found = draws()
    seeded()
    random.random(), np.random.normal(), torch.rand(3)
    return found


def broken(trial: Any) -> float:
    raise ValueError("out of ideas")


def interrupted(trial: Any) -> float:
    objective(trial)
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("function", "error"), [(objective, None), (broken, ObjectiveError), (interrupted, KeyboardInterrupt)]
)
def test_random_states_are_the_callers(
    plan: ShrinkPlan, expected: list[float], function: Any, error: type[BaseException] | None
) -> None:
    if error is None:
        go(plan, function, trials=2)
    else:
        with pytest.raises(error):
            go(plan, function, trials=2)
    assert draws() == expected


def test_an_objective_that_seeds_itself_leaves_no_seed(
    plan: ShrinkPlan, folder: Path, expected: list[float]
) -> None:
    objective_file(folder, RANDOM_TEXT, "seeding_objective.py")
    with imported("seeding_objective.py:objective") as function:
        go(plan, function, trials=1)
    assert draws() == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_random_states_of_cuda_are_the_callers(plan: ShrinkPlan) -> None:
    def on_cuda(trial: optuna.trial.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        net = torch.nn.Linear(4, 1)
        torch.rand(3, device="cuda")
        return train(torch.optim.SGD(net.parameters(), lr=lr), net)

    torch.manual_seed(13)
    expected = torch.rand(1, device="cuda").item()
    torch.manual_seed(13)
    go(plan, on_cuda, trials=1)
    assert torch.rand(1, device="cuda").item() == expected


@pytest.mark.parametrize("fails", [False, True])
def test_the_path_and_the_modules_are_as_they_were(plan: ShrinkPlan, folder: Path, fails: bool) -> None:
    body = "    raise ValueError\n" if fails else "    return inner(trial)\n"
    text = (
        f"import sys\nsys.path.append('far')\n{RANDOM_TEXT.partition('def')[0]}def objective(trial):\n{body}"
    )
    objective_file(folder, text, "sub/tiny_search.py")  # a module of this name is there already
    path, modules = list(sys.path), dict(sys.modules)
    with imported("sub/tiny_search.py:objective") as function:
        assert sys.path != path
        if fails:
            with pytest.raises(ObjectiveError):
                go(plan, function, trials=1)
        else:
            go(plan, function, trials=1)
    assert sys.path == path
    assert {name: sys.modules.get(name) for name in modules} == modules
    ours = sys.modules.pop(function.__module__)
    assert ours.__name__ == "_galatune_objective_tiny_search"
