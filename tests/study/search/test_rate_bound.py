"""In reinforcement learning the rate's bounds come from the old study, if none is given."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
import tiny_search
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from tiny_search import KEPT, OBJECTIVE, RATE, go, load, objective, objective_file

from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.record import TrialRecord
from galatune.study.ledger.rows import ledger
from galatune.study.scan.scan import plan_study, scan
from galatune.study.search.objective import imported
from galatune.study.search.rate_bound import RateBound, rate_bound

CLIP: Mapping[str, BaseDistribution] = {"clip_range": FloatDistribution(0.1, 0.4)}


def study_of(
    extra: Mapping[str, BaseDistribution], *, maximize: bool = True, rate: BaseDistribution = RATE
) -> optuna.Study:
    """Rates 0.001 to 0.012 in twelve trials, of which the last three are the best; one had a huge rate."""
    study = optuna.create_study(study_name="old", direction="maximize" if maximize else "minimize")
    spaces = {**KEPT, **extra, "lr": rate}
    for number in range(12):
        params = study.ask(dict(spaces)).params | {"lr": (number + 1) / 1000}
        value = float(number if maximize else -number)
        study.add_trial(create_trial(value=value, params=params, distributions=spaces))
    params = params | {"lr": 0.9}
    study.add_trial(create_trial(state=TrialState.FAIL, params=params, distributions=spaces))
    return study


def bound_of(study: optuna.Study, function: Callable[..., Any] = objective, **given: Any) -> RateBound | None:
    return rate_bound(plan_study(study, "old.db", **given), ledger(study), function)


@pytest.mark.parametrize("maximize", [True, False])
def test_bounds_are_the_rates_of_the_best_quarter(maximize: bool) -> None:
    bound = bound_of(study_of(CLIP, maximize=maximize))
    assert bound is not None
    assert (bound.lowest, bound.highest) == (0.01, 0.011)
    assert "clip_range" in bound.reason
    assert "--max-lr inf" in bound.reason


@pytest.mark.parametrize(
    "names",
    [
        ["gae_lambda"],
        ["ent-coef"],
        ["Exploration_Fraction"],
        ["gamma", "tau", "buffer_size"],
        ["gamma", "n_steps", "n_envs"],
    ],
)
def test_parameters_of_reinforcement_learning_are_known(names: list[str]) -> None:
    bound = bound_of(study_of(dict.fromkeys(names, FloatDistribution(0.1, 0.9))))
    assert bound is not None
    assert all(name in bound.reason for name in names)


@pytest.mark.parametrize(
    "names",
    [[], ["gamma"], ["gamma", "step_size"], ["n_steps", "gamma", "n_d", "n_a"], ["tau", "gamma"], ["clip"]],
)
def test_other_studies_have_no_bound(names: list[str]) -> None:
    assert bound_of(study_of(dict.fromkeys(names, FloatDistribution(0.1, 0.9)))) is None


@pytest.mark.parametrize(
    "line",
    [
        "import gymnasium as gym",
        "from stable_baselines3 import PPO",
        "import ray.rllib",
    ],
)
@pytest.mark.parametrize("inside", [False, True], ids=["file", "function"])
def test_objective_that_imports_reinforcement_learning_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, inside: bool
) -> None:
    packages = tmp_path / "packages"
    for place in ("gymnasium", "stable_baselines3", "ray", "ray/rllib"):
        (packages / place).mkdir(parents=True, exist_ok=True)
        (packages / place / "__init__.py").write_text("class PPO: ...\n")
    monkeypatch.syspath_prepend(packages)
    for name in ("gymnasium", "stable_baselines3", "ray", "ray.rllib"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    if inside:
        text = OBJECTIVE.replace("    net = make(trial)\n", f"    {line}\n    net = make(trial)\n")
    else:
        text = f"{line}\n{OBJECTIVE}"
    study = study_of({})
    with imported(f"{objective_file(tmp_path, text)}:objective") as function:
        bound = bound_of(study, function)
        again = bound_of(study, functools.partial(function))
    for name in ("gymnasium", "stable_baselines3", "ray", "ray.rllib"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert bound is not None
    assert bound == again
    assert "it imports" in bound.reason


def test_rates_that_only_the_code_knows_give_no_bound() -> None:
    study = optuna.create_study(study_name="old")
    spaces = {**CLIP, "lr": IntDistribution(1, 5)}
    study.add_trial(create_trial(value=1.0, params={"clip_range": 0.2, "lr": 3}, distributions=spaces))
    bound = bound_of(study, lr=["lr"])
    assert bound is not None
    assert (bound.lowest, bound.highest) == (0.0, math.inf)
    assert "--max-lr" in bound.reason


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    study = tiny_search.old_study("old.log", (3.0, 2.0, 1.0, 4.0), rates={**CLIP, "lr": RATE})
    return f"{study.best_params['lr']!r}"


def clipped(trial: Any) -> float:
    """The objective of a study that has a clip range."""
    trial.suggest_float("clip_range", 0.1, 0.4)
    return objective(trial)


def test_run_holds_the_rate_within_the_bounds_and_says_so(old: str) -> None:
    plan = scan("old.log")
    go(plan, clipped, trials=2, max_growth_per_step=2.0)
    study = load()
    known = Provenance.of(study)
    assert known.options["min_lr"] == known.options["max_lr"] == float(old)  # a quarter of four trials
    assert "clip_range" in known.source["bounds"]
    for trial in study.trials:
        record = TrialRecord.from_attribute(trial.user_attrs["galatune"])
        assert max(point.rate for point in record.learning_rate) <= float(old)
    go(plan, clipped, trials=3, max_growth_per_step=2.0)  # continues without a question
    assert len(load().trials) == 3


@pytest.mark.parametrize("given", [0.5, math.inf])
def test_bound_that_is_given_counts(old: str, given: float) -> None:
    go(scan("old.log"), clipped, trials=1, max_lr=given)
    known = Provenance.of(load())
    assert known.options["min_lr"] == 0.0
    assert known.options["max_lr"] == (given if math.isfinite(given) else None)
    assert "bounds" not in known.source
