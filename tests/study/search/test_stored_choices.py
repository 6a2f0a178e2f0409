"""Choices that are tuples or lists: the storage keeps lists, the objective sees its own."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from optuna.storages.journal import JournalFileBackend

from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search.fixed_trial import fixed_trial
from galatune.study.search.stored_choices import as_stored, own_choice
from tests.tiny_search import go, train

RATES = [(1e-4, 1e-3), (1e-2, 1e-1), (5e-2, 1e-1)]
LAYERS: list[Any] = [(4,), (4, 8), [8, 4], {1: 2}, None, "auto"]

pytestmark = pytest.mark.filterwarnings("ignore:Choices for a categorical distribution:UserWarning")


class Nets:
    """An objective that needs its choices as it wrote them, and remembers what it was given."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, Any]] = []

    def __call__(self, trial: Any) -> float:
        rates = trial.suggest_categorical("lrs", RATES)
        layers = trial.suggest_categorical("layers", LAYERS)
        decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
        assert trial.params == {"lrs": rates, "layers": layers, "weight_decay": decay}
        self.seen.append((rates, layers))
        sizes = layers if isinstance(layers, (tuple, list)) else (2,)
        net = torch.nn.Sequential(torch.nn.Linear(4, sizes[0]), torch.nn.Tanh(), torch.nn.Linear(sizes[0], 1))
        groups = [
            {"params": part.parameters(), "lr": lr} for part, lr in ((net[0], rates[0]), (net[2], rates[1]))
        ]
        return train(torch.optim.Adam(groups, weight_decay=decay), net)


def old() -> ShrinkPlan:
    """Optuna's own TPE refuses tuples that it finds again as lists, so somebody drew at random."""
    place = optuna.storages.JournalStorage(JournalFileBackend("old.log"))
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(study_name="old", storage=place, sampler=sampler)
    objective = Nets()
    study.optimize(lambda trial: objective(trial) + 9, n_trials=4)
    return scan("old.log", lr=["lrs"])


def the_same_objects(given: list[tuple[Any, Any]]) -> bool:
    """Whether every choice is one of the objective's own, not a copy from a storage.

    Rates are copies that know where they come from.
    """
    return all(r in RATES and any(c is o for o in LAYERS) for r, c in given)


@pytest.mark.parametrize("into", ["new.db", "new.log"])
def test_they_are_answered_drawn_and_continued_as_the_objective_wrote_them(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, into: str
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = old()
    for trials in (6, 12):  # more than TPE's first ten, which are drawn at random
        objective = Nets()
        study = go(plan, objective, into=into, trials=trials)
        assert len(objective.seen) == 6
        assert the_same_objects(objective.seen)
        states = [trial.state.name for trial in study.trials]
        assert states == ["COMPLETE"] * trials
    answered = {rates for rates, _ in objective.seen}
    assert answered == {tuple(plan.placeholders["lrs"])}


def test_a_match_is_confirmed_with_them(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    objective = Nets()
    study = go(old(), objective, trials=6, until_match=True, confirm=True)
    confirmed = [trial for trial in study.trials if trial.user_attrs.get("galatune_stage") == "confirm"]
    assert len(confirmed) == 1
    assert the_same_objects(objective.seen)
    assert objective.seen.count(objective.seen[confirmed[0].number]) >= 2


def test_one_that_is_enqueued_by_hand_is_run(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = old()
    study = go(plan, Nets(), trials=1)
    study.enqueue_trial({"layers": (4, 8), "weight_decay": 1e-3})
    objective = Nets()
    go(plan, objective, trials=2)
    assert objective.seen[0][1] is LAYERS[1]


def test_the_best_trial_can_be_trained_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = go(old(), Nets(), trials=3)
    objective = Nets()
    objective(fixed_trial(study))
    assert the_same_objects(objective.seen)


def test_choices_that_no_storage_keeps_stay_as_they_are() -> None:
    with pytest.warns(UserWarning, match="Choices for a categorical"):
        own = CategoricalDistribution([torch.nn.ReLU, torch.nn.Tanh])  # type: ignore[list-item]
    assert as_stored(own) is own
    assert own_choice(torch.nn.Tanh, own, own) is torch.nn.Tanh
