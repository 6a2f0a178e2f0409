"""The best trial, answered in full."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from galatune.errors import PlanError, StorageError
from galatune.study.ledger.attributes import RECORD, SCHEMA
from galatune.study.ledger.record import OptimizerRecord, RatePoint, TrialRecord
from galatune.study.scan.scan import plan_study
from galatune.study.search.fixed_trial import fixed_trial

WIDTH = FloatDistribution(1, 9)


def record(*rates: float) -> dict[str, Any]:
    return TrialRecord(
        optimizers=(OptimizerRecord("AdamW", True, "graph", "controlled"),),
        steps=len(rates),
        probes=1,
        gradient_evaluations=len(rates) + 2,
        learning_rate=tuple(RatePoint(0, step + 1, rate) for step, rate in enumerate(rates)),
    ).to_attribute()


def smaller(space: dict[str, BaseDistribution], values: dict[str, Any], *rates: float) -> optuna.Study:
    """An old study of these dimensions, and the smaller one that came out of it."""
    old = optuna.create_study(study_name="old")
    old.add_trial(
        create_trial(params={**values, "width": 1}, distributions={**space, "width": WIDTH}, value=1.0)
    )
    study = optuna.create_study(study_name="old-gala")
    plan = plan_study(old, "memory", drop_schedule=True)
    study.set_user_attr(RECORD, {"schema": SCHEMA, "plan": plan.to_json()})
    for width, value in ((3, 0.5), (5, 0.7)):
        study.add_trial(
            create_trial(
                params={"width": width},
                distributions={"width": WIDTH},
                value=value,
                user_attrs={RECORD: record(*rates)} if rates else {},
            )
        )
    return study


@pytest.mark.parametrize(
    ("name", "distribution", "placeholder", "answer"),
    [
        ("lr", FloatDistribution(1e-5, 1e-1, log=True), 1e-2, 0.004),
        ("lr", FloatDistribution(1e-5, 1e-3, log=True), 1e-4, 1e-3),
        ("lr", CategoricalDistribution([1e-4, 1e-3, 1e-2]), 1e-4, 1e-2),
        ("lr", CategoricalDistribution(["1e-4", "3e-3"]), "1e-4", "3e-3"),
        ("log_lr", FloatDistribution(-5.0, -1.0), -2.0, -2.3979400086720375),
        ("log_lr", FloatDistribution(-5.0, -1.0, step=0.5), -2.0, -2.5),
        ("lr_exp", IntDistribution(1, 5), 4, 2),
        ("lr", IntDistribution(1, 5), 4, 4),
        ("lr_mult", FloatDistribution(0.0, 1.0), 0.25, 0.25),
    ],
)
def test_dropped_rate_is_answered_with_the_peak(
    name: str, distribution: BaseDistribution, placeholder: Any, answer: Any
) -> None:
    trial = fixed_trial(smaller({name: distribution}, {name: placeholder}, 0.001, 0.004, 0.002))
    assert trial._suggest(name, distribution) == pytest.approx(answer)
    assert trial.suggest_float("width", 1, 9) == 3


def test_rate_that_was_not_recorded_is_answered_with_the_placeholder() -> None:
    space = {"lr": FloatDistribution(1e-5, 1e-1, log=True)}
    assert fixed_trial(smaller(space, {"lr": 0.01})).suggest_float("lr", 1e-5, 1e-1, log=True) == 0.01


def test_rate_that_was_never_positive_is_answered_with_the_placeholder() -> None:
    space = {"lr": FloatDistribution(1e-5, 1e-1, log=True)}
    trial = fixed_trial(smaller(space, {"lr": 0.01}, 0.0, float("nan")))
    assert trial.suggest_float("lr", 1e-5, 1e-1, log=True) == 0.01


def test_other_studies_are_refused() -> None:
    with pytest.raises(PlanError, match="best_params"):
        fixed_trial(optuna.create_study(study_name="s"))


def test_study_without_a_complete_trial_is_refused() -> None:
    made = smaller({"lr": WIDTH}, {"lr": 1})
    study = optuna.create_study(study_name="s")
    study.set_user_attr(RECORD, made.user_attrs[RECORD])
    with pytest.raises(StorageError, match="complete"):
        fixed_trial(study)


def test_several_objectives_have_no_best_trial() -> None:
    made = smaller({"lr": WIDTH}, {"lr": 1})
    study = optuna.create_study(study_name="s", directions=["minimize", "minimize"])
    study.set_user_attr(RECORD, made.user_attrs[RECORD])
    with pytest.raises(PlanError, match="several objectives"):
        fixed_trial(study)
