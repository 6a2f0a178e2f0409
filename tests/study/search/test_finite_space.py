"""A remaining space of few configurations: each is tried once, and the run says when all were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search.finite_space import finite_space
from tests.tiny_search import go, train


def few(trial: Any) -> float:
    """Six configurations beside the rate."""
    width = trial.suggest_int("width", 2, 6, step=2)
    depth = trial.suggest_categorical("depth", ["one", "two"])
    net = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
    rate = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    return train(torch.optim.Adam(net.parameters(), lr=rate), net, 4 if depth == "one" else 8)


def conditional(trial: Any) -> float:
    """Two configurations, or so it seems until the second appears, which has four of its own."""
    if trial.suggest_categorical("kind", ["plain", "deep"]) == "deep":
        trial.suggest_int("layers", 1, 4)
    return few(trial)


def old(function: Callable[[Any], float], better: float = -9.0) -> ShrinkPlan:
    place = JournalStorage(JournalFileBackend("old.log"))
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name="old", storage=place, sampler=sampler)
    study.optimize(lambda trial: function(trial) + better, n_trials=20)
    return scan("old.log")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configurations(study: optuna.Study) -> list[str]:
    return [repr(sorted(trial.params.items())) for trial in study.trials]


@pytest.mark.parametrize("seed", range(3))
def test_each_configuration_is_tried_once_and_then_it_ends(seed: int) -> None:
    study = go(old(few), few, seed=seed)
    assert len(study.trials) == len(set(configurations(study))) == 6
    assert "all 6 configurations were tried" in study.user_attrs["galatune"]["stopped_because"]


def test_trials_that_are_asked_for_are_run() -> None:
    study = go(old(few), few, trials=9)
    assert len(study.trials) == 9
    assert len(set(configurations(study)[:6])) == 6, "repeats come last"


def test_it_goes_on_where_it_was_interrupted() -> None:
    plan = old(few)
    go(plan, few, trials=4)
    study = go(plan, few)
    assert len(study.trials) == len(set(configurations(study))) == 6


def test_a_match_is_confirmed_before_it_ends() -> None:
    """The last configuration matches: it is still run once more."""
    plan = old(few, better=0.0)

    def only_one_is_good(trial: Any) -> float:
        value = few(trial)
        return value - 9 if trial.params["width"] == 6 and trial.params["depth"] == "two" else value + 9

    study = go(plan, only_one_is_good, confirm=True)
    assert "matched" in study.user_attrs["galatune"]["stopped_because"]


def test_a_space_that_changes_from_trial_to_trial_never_ends() -> None:
    study = go(old(conditional), conditional)
    assert len(study.trials) == 20


def trials(*spaces: dict[str, Any]) -> list[optuna.trial.FrozenTrial]:
    sampler = optuna.samplers.RandomSampler(seed=0)
    drawn = [optuna.create_study(sampler=sampler).ask(space).params for space in spaces]
    return [
        create_trial(value=0.0, params=params, distributions=space)
        for params, space in zip(drawn, spaces, strict=True)
    ]


@pytest.mark.parametrize(
    ("space", "size"),
    [
        ({"a": IntDistribution(1, 7, step=3)}, 3),
        ({"a": IntDistribution(1, 9, log=True), "b": CategoricalDistribution([True, None])}, 18),
        ({"a": FloatDistribution(0.0, 1.0, step=0.1)}, 11),
        ({"a": CategoricalDistribution([0.5])}, 1),
        ({"a": CategoricalDistribution([True, 1, 1.0, "1", None, False, 0])}, 4),
        ({"a": CategoricalDistribution([float("nan"), 0.5, "nan"])}, 3),
        ({"a": FloatDistribution(0.0, 1.0)}, None),
        ({"a": IntDistribution(1, 9), "b": FloatDistribution(1e-3, 1.0, log=True)}, None),
        ({"a": IntDistribution(1, 1000), "b": IntDistribution(1, 1000)}, None),
    ],
)
def test_the_size_of_a_space(space: dict[str, Any], size: int | None) -> None:
    found = finite_space(trials(space))
    assert (None if found is None else found.size) == size


def test_what_counts_as_tried() -> None:
    space = {"a": IntDistribution(1, 3)}
    made = [create_trial(value=0.0, params={"a": a}, distributions=space) for a in (1, 2)]
    found = finite_space(made)
    assert found is not None
    made[1].set_user_attr("galatune_interrupted", True)
    waiting = create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": {"a": 3}})
    assert found.untried([*made, waiting]) == [{"a": 2}, {"a": 3}]


def test_nothing_is_known_without_trials() -> None:
    assert finite_space([]) is None
    assert finite_space(trials({"a": IntDistribution(1, 3)}, {"b": IntDistribution(1, 3)})) is None
