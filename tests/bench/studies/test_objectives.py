from __future__ import annotations

import math
from dataclasses import replace

import optuna
import pytest
import torch
from optuna.pruners import ThresholdPruner
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, TrialState

import galatune
from galatune.bench.studies.objectives.objective import OBJECTIVES, SETTINGS, Objective, Part, Rows, Setting
from galatune.bench.studies.objectives.rows import half
from galatune.bench.studies.objectives.shoppers import FOLDER

AGAIN = SETTINGS["again"]
BRIEF = Setting("brief", epochs=0.1, rows=0.25)
DIMENSIONS = range(5, 9)
"""Of each space, the rate included."""


def objective_named(name: str) -> Objective:
    if name == "shoppers" and not (FOLDER / "online_shoppers.parquet").is_file():
        pytest.skip("needs the table online_shoppers; set GALATUNE_DATA")
    return OBJECTIVES[name]


@pytest.fixture(params=list(OBJECTIVES))
def objective(request: pytest.FixtureRequest) -> Objective:
    return objective_named(request.param)


def study(pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    return optuna.create_study(sampler=RandomSampler(seed=0), pruner=pruner or optuna.pruners.NopPruner())


def parts(rows: Rows) -> tuple[Part, Part, Part]:
    return rows.train, rows.validation, rows.test


def distinct(rows: Rows) -> set[tuple[float, ...]]:
    """Inputs and targets of all three parts."""
    return {
        tuple(x.flatten().tolist() + y.flatten().tolist())
        for part in parts(rows)
        for x, y in zip(part.x, part.y, strict=True)
    }


def test_there_are_six_under_their_names() -> None:
    assert len(OBJECTIVES) == 6
    assert all(name == objective.name for name, objective in OBJECTIVES.items())


def test_each_kind_of_moving_is_on_two_objectives() -> None:
    moved = [name for objective in OBJECTIVES.values() for name in objective.moved]
    assert sorted(moved) == sorted(2 * [name for name in SETTINGS if name != "again"])


def test_spaces_have_a_log_rate_of_two_to_four_decades_and_four_to_seven_more(objective: Objective) -> None:
    searched = study()
    objective.train(searched.ask(), objective.rows(0, False, BRIEF), BRIEF)
    space = searched.trials[0].distributions
    rate = space[objective.rate]
    assert isinstance(rate, optuna.distributions.FloatDistribution)
    assert rate.log
    assert 2 <= round(math.log10(rate.high / rate.low), 6) <= 4
    assert len(space) in DIMENSIONS


def test_old_and_fresh_rows_share_none(objective: Objective) -> None:
    old = [distinct(objective.rows(seed, False, AGAIN)) for seed in (0, 1)]
    fresh = [distinct(objective.rows(seed, True, AGAIN)) for seed in (0, 1, 2)]
    assert not set().union(*old) & set().union(*fresh)


def test_real_rows_of_a_study_are_in_one_part() -> None:
    rows = objective_named("shoppers").rows(0, False, AGAIN)
    train, validation, test = ({tuple(x.flatten().tolist()) for x in part.x} for part in parts(rows))
    assert not train & validation
    assert not (train | validation) & test


def test_halves_of_real_rows_share_none_and_are_the_same_for_all() -> None:
    old, fresh = half(101, False), half(101, True)
    assert sorted([*old, *fresh]) == list(range(101))
    assert (half(101, False) == old).all()


def test_rows_are_those_of_the_seed(objective: Objective) -> None:
    first, again = objective.rows(3, True, AGAIN), objective.rows(3, True, AGAIN)
    for one, two in zip(parts(first), parts(again), strict=True):
        assert torch.equal(one.x, two.x)
        assert torch.equal(one.y, two.y)
    assert not torch.equal(first.train.x, objective.rows(4, True, AGAIN).train.x)


def test_a_quarter_of_the_data_is_of_the_training_rows_only(objective: Objective) -> None:
    whole, quarter = (objective.rows(0, True, SETTINGS[name]) for name in ("again", "quarter of the data"))
    assert len(quarter.train) == len(whole.train) // 4
    assert len(quarter.validation) == len(whole.validation)
    assert len(quarter.test) == len(whole.test) >= 1000


def test_training_repeats_under_a_seed(objective: Objective) -> None:
    rows = objective.rows(0, False, BRIEF)
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(objective.train(study().ask(), rows, BRIEF))
    assert results[0] == results[1]
    torch.manual_seed(8)
    assert objective.train(study().ask(), rows, BRIEF) != results[0]


@pytest.mark.parametrize(
    ("name", "moved"), [(name, moved) for name, one in OBJECTIVES.items() for moved in one.moved]
)
def test_trains_where_it_is_moved(name: str, moved: str) -> None:
    objective = objective_named(name)
    brief = replace(SETTINGS[moved], epochs=0.05 * SETTINGS[moved].epochs)
    torch.manual_seed(0)
    result = objective.train(study().ask(), objective.rows(0, True, brief), brief)
    assert math.isfinite(result.validation)
    assert math.isfinite(result.test)


def test_a_fixed_trial_trains_like_the_live_one(objective: Objective) -> None:
    rows = objective.rows(0, False, BRIEF)
    searched = study()
    torch.manual_seed(0)
    live = objective.train(searched.ask(), rows, BRIEF)
    torch.manual_seed(0)
    assert objective.train(FixedTrial(searched.trials[0].params), rows, BRIEF) == live


def test_ends_once_its_pruner_says_so(objective: Objective) -> None:
    rows = objective.rows(0, False, BRIEF)
    searched = study(ThresholdPruner(upper=-1.0))
    searched.optimize(lambda trial: objective.train(trial, rows, BRIEF).validation, n_trials=1)
    assert searched.trials[0].state == TrialState.PRUNED
    assert len(searched.trials[0].intermediate_values) == 1


def test_its_rate_can_be_controlled(objective: Objective) -> None:
    rows = objective.rows(0, False, BRIEF)
    torch.manual_seed(0)
    with galatune.controlled() as capture:
        result = objective.train(study().ask(), rows, BRIEF)
    assert math.isfinite(result.validation)
    assert len(capture.controllers) == 1
    assert capture.left_alone == []
