"""The trial that answers dropped dimensions itself."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from galatune.study.search.placeholder_trial import PlaceholderTrial, legal_answer


def shrunk(study: optuna.Study, **placeholders: Any) -> tuple[optuna.trial.Trial, PlaceholderTrial]:
    trial = study.ask()
    return trial, PlaceholderTrial.adopt(trial, placeholders)


def test_a_dropped_dimension_is_answered_and_never_stored() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    original, trial = shrunk(study, lr=0.03)
    assert trial.suggest_float("lr", 1e-5, 1.0, log=True) == 0.03
    x = trial.suggest_float("x", 0, 1)
    assert trial.params == {"x": x, "lr": 0.03}
    assert list(trial.distributions) == ["x", "lr"]
    study.tell(original, 1.0)
    assert study.trials[0].params == {"x": x}
    assert study.trials[0].distributions == {"x": FloatDistribution(0, 1)}
    assert study.best_params == {"x": x}


def test_only_what_was_asked_for_is_shown() -> None:
    _, trial = shrunk(optuna.create_study(), lr=0.03, other=1)
    assert trial.params == {}


def test_the_sampler_is_asked_once() -> None:
    class Counting(optuna.samplers.RandomSampler):
        calls = 0

        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            Counting.calls += 1

    shrunk(optuna.create_study(sampler=Counting(seed=0)), lr=0.03)
    assert Counting.calls == 1


def test_it_passes_for_an_ordinary_trial() -> None:
    study = optuna.create_study()
    original, trial = shrunk(study, lr=0.03)
    assert isinstance(trial, optuna.trial.Trial)
    trial.report(2.0, 0)
    trial.set_user_attr("mine", 1)
    assert original.user_attrs == trial.user_attrs == {"mine": 1}
    assert trial.study is study
    study.tell(trial, 1.0)
    assert study.trials[0].value == 1.0


@pytest.mark.parametrize(
    ("placeholder", "distribution", "answer"),
    [
        (0.5, FloatDistribution(1e-4, 1e-1, log=True), 0.1),
        (0.5, FloatDistribution(0.0, 1.0, step=0.25), 0.5),
        (1e-3, CategoricalDistribution([1e-3, 1e-2]), 1e-3),
        (2e-3, CategoricalDistribution([1e-3, 1e-2]), 1e-3),
        ("1e-3", FloatDistribution(1e-4, 1e-2, log=True), 1e-3),
        ("cosine", CategoricalDistribution(["step", "cosine"]), "cosine"),
        ("cosine", CategoricalDistribution(["step", "none"]), "step"),
        (None, CategoricalDistribution([None, "step"]), None),
        (3, IntDistribution(1, 5), 3),
        (9, IntDistribution(1, 5), 5),
        (0.5, FloatDistribution(0.2, 0.2), 0.2),
    ],
)
def test_the_answer_is_legal_today(placeholder: Any, distribution: Any, answer: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert legal_answer(placeholder, distribution) == answer


def test_a_list_is_a_legal_answer() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distribution = CategoricalDistribution([[1e-3, 1e-2], [1e-4, 1e-3]])  # type: ignore[list-item]
    assert legal_answer([1e-4, 1e-3], distribution) == [1e-4, 1e-3]  # type: ignore[arg-type]
