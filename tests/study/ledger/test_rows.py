from __future__ import annotations

from typing import Any

import optuna
import pytest
from fake_studies import MACHINE, fake_study
from optuna.trial import create_trial

from galatune.study.ledger.match import goal_of
from galatune.study.ledger.rows import ledger


def test_ledger_counts_finished_trials_and_lists_running_ones() -> None:
    book = ledger(fake_study([3.0, "pruned", "failed", "running", 1.0]))
    assert len(book.rows) == 5
    assert len(book.finished) == 4
    assert book.by_state == {"RUNNING": 1, "COMPLETE": 2, "PRUNED": 1, "FAIL": 1}
    assert book.rows[3].seconds is None


def test_hours_are_those_of_every_finished_state() -> None:
    book = ledger(fake_study([3.0, "pruned", "failed", "running"], seconds=1200.0))
    assert book.hours == pytest.approx(1.0)


def test_trials_that_were_added_and_not_run_have_no_duration() -> None:
    study = optuna.create_study()
    study.add_trial(create_trial(value=1.0))
    book = ledger(study)
    assert book.rows[0].seconds is None
    assert book.hours is None
    assert book.untimed == 1


def test_values_that_are_not_finite_are_never_a_quality() -> None:
    book = ledger(fake_study([float("inf"), 2.0]))
    assert [row.number for row in book.complete] == [1]


def test_a_controlled_trial_says_what_it_computed() -> None:
    row = ledger(fake_study([1.0], controlled=True)).rows[0]
    assert (row.steps, row.probes, row.gradient_evaluations) == (400, 70, 540)


def test_an_ordinary_trial_knows_nothing_of_steps_rather_than_none() -> None:
    row = ledger(fake_study([1.0])).rows[0]
    assert (row.steps, row.probes, row.gradient_evaluations) == (None, None, None)


@pytest.mark.parametrize("body", ["text", 7, {"schema": 1}, {"schema": 1, "optimizers": 3}, {"schema": 99}])
def test_attributes_of_another_shape_are_not_guessed(body: object) -> None:
    study = fake_study([])
    study.set_user_attr("galatune", body)
    study.add_trial(create_trial(value=1.0, user_attrs={"galatune": body}))
    book = ledger(study)
    assert book.rows[0].record is None
    assert book.provenance.plan == {}


def test_machines_come_from_the_trials_else_from_the_study() -> None:
    other = {**MACHINE, "device": "cuda"}
    assert ledger(fake_study([1.0, 2.0], controlled=True, machine=other)).machines == (other,)
    assert ledger(fake_study([1.0])).machines == (MACHINE,)
    assert ledger(fake_study([1.0], machine=None)).machines == ()


def test_frame_has_a_row_a_trial_and_a_column_a_parameter() -> None:
    frame = ledger(fake_study([3.0, "failed"])).frame()
    assert list(frame["state"]) == ["COMPLETE", "FAIL"]
    assert {"param.width", "param.lr", "value", "seconds"} <= set(frame.columns)


def test_frame_of_several_objectives_has_a_column_each() -> None:
    frame = ledger(fake_study([(1.0, 2.0)], directions=("minimize", "maximize"))).frame()
    assert list(frame[["value.0", "value.1"]].iloc[0]) == [1.0, 2.0]


@pytest.mark.parametrize("attributes", [{"constraints": [-1.0, 0.5]}, {"constraints:size": 0.5}])
def test_an_infeasible_trial_has_no_quality(attributes: dict[str, Any]) -> None:
    study = optuna.create_study()
    study.add_trial(optuna.trial.create_trial(value=1.0, system_attrs=attributes))
    study.add_trial(optuna.trial.create_trial(value=2.0, system_attrs={"constraints:size": -0.5}))
    study.add_trial(optuna.trial.create_trial(value=3.0))
    rows = ledger(study)
    assert [row.value for row in rows.complete] == [2.0, 3.0]
    assert len(rows.finished) == 3
    assert rows.constrained == ("constraints" in attributes)
    goal = goal_of(rows, 0.0)
    assert goal is not None
    assert goal.best == study.best_value == 2.0


def test_constraints_that_an_objective_sets_stand_in_the_ledger() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.set_constraint("half", x - 0.5)
        return x

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=8)
    rows = ledger(study)
    assert not rows.constrained
    assert {row.feasible for row in rows.rows} == {True, False}
    assert all(row.feasible == (row.params["x"] <= 0.5) for row in rows.rows)
