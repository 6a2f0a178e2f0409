"""The smaller study from its first trial to its last."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from tiny_search import go, load, objective, old_study, outcome, yes

from galatune.errors import ObjectiveError
from galatune.study.ledger.attributes import RECORD
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search.run import run

pytestmark = pytest.mark.usefixtures("folder")


def test_a_run_says_what_it_did_and_leaves_the_source_alone(folder: Path) -> None:
    old_study("sqlite:///old.db")
    before = hashlib.sha256((folder / "old.db").read_bytes()).hexdigest()
    study = run(scan("old.db"), objective, trials=2, repeats=0)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    attribute = study.user_attrs[RECORD]
    json.dumps([attribute, *(trial.user_attrs for trial in study.trials)], allow_nan=False)
    assert attribute["stopped_because"] == "the budget of 2 trials is used up"
    assert attribute["options"]["max_lr"] is None
    assert attribute["source"] == {"storage": "old.db", "study": "old", "sampler": None, "best_value": 1.0}
    assert (attribute["sampler"], attribute["pruner"]) == ("TPESampler", "NopPruner")
    assert ShrinkPlan.from_json(attribute["plan"]) == scan("old.db")
    assert sorted(path.name for path in folder.iterdir()) == ["old-gala.db", "old.db"]
    assert hashlib.sha256((folder / "old.db").read_bytes()).hexdigest() == before


def test_the_budget_is_exact_also_when_continued(plan: ShrinkPlan) -> None:
    assert len(go(plan, trials=2).trials) == 2
    assert len(go(plan, trials=5).trials) == 5
    study = go(plan, trials=5)
    assert len(study.trials) == 5
    assert study.user_attrs[RECORD]["stopped_because"] == "the budget of 5 trials is used up"
    fewer = go(plan, trials=3)
    assert len(fewer.trials) == 5
    assert fewer.user_attrs[RECORD]["stopped_because"] == "5 trials are done, more than the budget of 3"


def test_it_stops_at_the_match_by_itself(folder: Path) -> None:
    old_study("old.log", [1e9, 1e8, 1e8 - 1])
    study = go(scan("old.log"))
    assert len(study.trials) == 1
    assert study.user_attrs[RECORD]["stopped_because"] == "the old best was matched after 1 trial"


def test_without_a_match_the_old_number_of_trials_is_the_bound(folder: Path) -> None:
    old_study("old.log", [-1.0, TrialState.FAIL, -2.0])
    study = go(scan("old.log"))
    assert len(study.trials) == 3
    assert len(go(scan("old.log"), trials=4, until_match=True).trials) == 4


def test_a_confirmed_match_takes_two_trials(folder: Path) -> None:
    old_study("old.log", [1e9, 1e8, 1e8 - 1])
    study = go(scan("old.log"), confirm=True)
    assert len(study.trials) == 2
    assert study.trials[0].params == study.trials[1].params
    assert study.trials[0].value != study.trials[1].value, "another seed"
    assert study.trials[1].user_attrs["galatune_stage"] == "confirm"


def test_patience_ends_the_search(plan: ShrinkPlan) -> None:
    values = iter([5.0, 4.0, 6.0, 6.0, 6.0])
    study = go(plan, lambda trial: (objective(trial), next(values))[1], trials=30, patience=2)
    assert len(study.trials) == 4


def test_a_maximized_study_stays_one(folder: Path) -> None:
    old_study("old.log", directions=["maximize"])
    study = go(scan("old.log"), lambda trial: -objective(trial), trials=1)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE


def test_a_pruner_only_where_the_old_study_had_one(folder: Path) -> None:
    old_study("old.log", [3.0, TrialState.PRUNED])
    study = go(scan("old.log"), trials=1)
    assert study.user_attrs[RECORD]["pruner"] == "MedianPruner"
    assert isinstance(study.pruner, optuna.pruners.MedianPruner)


def test_the_objective_may_stop_the_study(plan: ShrinkPlan) -> None:
    def content(trial: Any) -> float:
        if trial.number == 1:
            trial.study.stop()
        return objective(trial)

    study = go(plan, content, trials=9)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert study.user_attrs[RECORD]["stopped_because"] == "the objective stopped the study"
    assert len(go(plan, trials=4, agree=yes).trials) == 4


# -- seeds
def test_the_same_command_gives_the_same_study(plan: ShrinkPlan) -> None:
    first = outcome(go(plan, into="one.log", trials=13))
    assert outcome(go(plan, into="two.log", trials=13)) == first
    assert outcome(go(plan, into="three.log", trials=13, seed=1)) != first
    assert len({str(params) for params, _ in first}) == 13


def test_a_continued_run_is_the_one_that_was_never_stopped(plan: ShrinkPlan) -> None:
    whole = outcome(go(plan, into="whole.log", trials=13))
    for trials in (4, 12, 13):
        parts = outcome(go(plan, into="parts.log", trials=trials))
    assert parts == whole


def test_python_numpy_and_torch_are_seeded(plan: ShrinkPlan) -> None:
    draws: list[tuple[float, ...]] = []

    def drawing(trial: Any) -> float:
        draws.append((random.random(), float(np.random.rand()), torch.rand(1).item()))
        return objective(trial)

    go(plan, drawing, into="one.log", trials=2)
    go(plan, drawing, into="two.log", trials=2)
    assert draws[:2] == draws[2:]
    assert len(set(draws)) == 2


# -- constraints
def test_an_infeasible_trial_is_no_match(folder: Path) -> None:
    old_study("old.log", [1e9, 1e8, 1e8 - 1])

    def constrained(trial: Any) -> float:
        trial.set_constraint("late", 1.0 if trial.number < 2 else -1.0)
        return objective(trial)

    study = go(scan("old.log"), constrained, confirm=False)
    assert study.user_attrs[RECORD]["stopped_because"] == "the old best was matched after 3 trials"


# -- failures
def always(trial: Any) -> float:
    raise ZeroDivisionError("by zero")


def test_an_objective_that_always_fails_ends_after_five(plan: ShrinkPlan) -> None:
    with pytest.raises(ObjectiveError) as caught:
        go(plan, always, trials=50)
    words = str(caught.value)
    assert words.startswith(
        "5 trials in a row failed, the last one with: ZeroDivisionError: by zero (test_run"
    )
    assert words.endswith("Mend it and run the same command again to continue")
    assert [trial.state for trial in load().trials] == [TrialState.FAIL] * 5
    assert load().user_attrs[RECORD]["stopped_because"] == "5 trials in a row failed"
    assert len(outcome(go(plan, trials=7))) == 2


@pytest.mark.parametrize("trials", [1, 4, 5])
def test_a_search_that_failed_to_the_end_is_no_success(plan: ShrinkPlan, trials: int) -> None:
    for _ in range(2):
        with pytest.raises(ObjectiveError, match=r"by zero \(test_run.*ask for more with --trials"):
            go(plan, always, trials=trials)
    assert len(load().trials) == trials


def test_an_objective_that_fails_after_a_success_is_continued_with_yes(plan: ShrinkPlan) -> None:
    go(plan, trials=1)
    with pytest.raises(ObjectiveError, match="Mend it and run the same command again with --yes to continue"):
        go(plan, always, trials=50, agree=yes)


def test_a_failure_now_and_then_does_not_end_the_search(plan: ShrinkPlan) -> None:
    calls = 0

    def moody(trial: Any) -> float:
        nonlocal calls
        calls += 1
        return objective(trial) if calls % 5 == 0 else always(trial)

    assert len(go(plan, moody, trials=10).trials) == 10
