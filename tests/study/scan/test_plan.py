"""From a study to a plan: counts, hours, distinct configurations, what is projected."""

from __future__ import annotations

import json
import math
import re
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from galatune.errors import PlanError, StorageError
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.projection import COST_OF_CONTROL
from galatune.study.scan.scan import plan_study, scan, scan_storage

ARCANUM = "Zeos-ctrl__ARCANUM__optuna_study.db"
START = datetime(2024, 5, 1, 12)
SPACE = {"lr": FloatDistribution(1e-5, 1e-1, log=True), "width": FloatDistribution(1, 9)}


def trial(
    lr: float, width: float, state: TrialState = TrialState.COMPLETE, minutes: float | None = 30
) -> FrozenTrial:
    made = create_trial(
        state=state,
        params={"lr": lr, "width": width},
        distributions=SPACE,
        value=width if state == TrialState.COMPLETE else None,
    )
    made.datetime_start = START if minutes is not None else None
    finished = state.is_finished() and minutes is not None
    made.datetime_complete = START + timedelta(minutes=minutes or 0) if finished else None
    return made


def plan_of(*trials: FrozenTrial, directions: tuple[str, ...] = ("minimize",), **options: Any) -> ShrinkPlan:
    study = optuna.create_study(study_name="s", directions=directions)
    for made in trials:  # unlike add_trial, this takes trials as crashed processes leave them
        study._storage.create_new_trial(study._study_id, template_trial=made)
    return plan_study(study, "memory", **options)


def test_arcanum_amp_tune(studies: Path) -> None:
    plan = scan(str(studies / ARCANUM), "amp_tune")
    assert [(d.name, d.role, d.dropped) for d in plan.learning_rate] == [("learning_rate", "rate", True)]
    assert plan.trials.total == 52
    assert plan.unique_configurations == 27
    assert (plan.trials.complete, plan.trials.pruned, plan.trials.failed) == (17, 33, 1)
    assert [trial.number for trial in plan.running] == [51]
    assert plan.kept == ("amp_hidden_size", "banks", "dropout", "layers")
    assert {way.way: way.trials for way in plan.projected} == {"until-match": 51, "trials": 26}


def test_scan_all_reads_every_study(studies: Path) -> None:
    plans = scan_storage(str(studies / ARCANUM)).plans
    assert [plan.study for plan in plans] == ["amp_tune", "phase_tune"]
    assert plans[0] == scan(str(studies / ARCANUM), "amp_tune")


def test_studies_without_a_learning_rate(studies: Path) -> None:
    plans = scan_storage(str(studies / "simeonensing__eeg-gat__tracking__optuna.db")).plans
    assert len(plans) == 5
    assert all(not plan.learning_rate and not plan.projected for plan in plans)


def test_space_that_changed_midway(studies: Path) -> None:
    plan = scan(str(studies / "perdo1305__Time-Series-Library__optuna.db"))
    assert list(plan.placeholders) == ["lr"]
    assert (plan.trials.failed, plan.unique_configurations) == (14, 48)


@pytest.mark.parametrize("name", ["Pittmann-XIE__ACT__optuna_study.db", ARCANUM])
def test_plan_survives_json(studies: Path, name: str) -> None:
    for plan in scan_storage(str(studies / name)).plans:
        body = plan.to_json()
        assert ShrinkPlan.from_json(json.loads(json.dumps(body, allow_nan=False))) == plan


def test_json_has_the_promised_keys() -> None:
    body = plan_of(trial(1e-3, 1)).to_json()
    assert {
        "study",
        "directions",
        "trials",
        "hours",
        "learning_rate",
        "kept",
        "refused",
        "unique_configurations",
        "projected",
    } <= body.keys()
    assert body["trials"].keys() == {"total", "complete", "pruned", "failed", "running", "waiting"}
    entry = body["learning_rate"][0]
    assert {"name", "role", "distribution", "placeholder", "dropped", "evidence"} <= entry.keys()
    assert json_to_distribution(entry["distribution_json"]) == SPACE["lr"]
    assert body["projected"][0].keys() == {"way", "trials", "hours", "assumption"}


def test_a_plan_of_an_earlier_version_is_read() -> None:
    body = plan_of(trial(1e-3, 1)).to_json()
    for added_later in ("tried", "repeated", "options"):
        del body[added_later]
    assert ShrinkPlan.from_json(body).options == ()


def test_something_else_is_no_plan() -> None:
    for body in ({}, {"study": "s"}, {**plan_of().to_json(), "trials": 3}):
        with pytest.raises(PlanError, match="Not a plan"):
            ShrinkPlan.from_json(body)


def test_hours_are_those_of_every_finished_trial() -> None:
    plan = plan_of(
        trial(1e-3, 1, minutes=30),
        trial(1e-3, 2, TrialState.PRUNED, minutes=15),
        trial(1e-3, 3, TrialState.FAIL, minutes=15),
        trial(1e-3, 4, TrialState.RUNNING),
        trial(1e-3, 5, minutes=None),
    )
    assert plan.hours == pytest.approx(1.0)
    # Of the two COMPLETE trials one has a duration: 30 minutes, for each of 4 and of 2 trials.
    assert {way.way: way.hours for way in plan.projected} == {
        "until-match": pytest.approx(2.0),
        "trials": pytest.approx(1.0),
    }


def test_the_cost_of_control_is_the_measured_one() -> None:
    text = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text()
    section = text[text.index("## What a probe costs") :]
    cpu, gpu = section.split("### On a GPU")

    def percent(tables: str, probes: str, column: int) -> tuple[int, int]:
        rows = re.findall(rf"^\| (?:{probes}) \|.*$", tables, flags=re.MULTILINE)
        ratios = [float(row.split("|")[column].strip(" *")) for row in rows]
        return round(100 * min(ratios) - 100), round(100 * max(ratios) - 100)

    probes = "closure|graph|echo|consecutive"
    (cpu_low, cpu_high), (gpu_low, gpu_high) = percent(cpu, probes, 4), percent(gpu, probes, 5)
    said = f"control adds {cpu_low} to {cpu_high} % on a CPU, {gpu_low} to {gpu_high} % on a GPU"
    assert said in COST_OF_CONTROL


@pytest.mark.parametrize("minutes", [None, 0, -5])
def test_what_was_not_recorded_is_none(minutes: int | None) -> None:
    plan = plan_of(trial(1e-3, 1, minutes=minutes))
    assert plan.hours is None
    assert [way.hours for way in plan.projected] == [None, None]


def test_configurations_are_compared_without_the_dropped_dimensions() -> None:
    trials = [
        trial(1e-3, 1),
        trial(1e-2, 1, TrialState.FAIL),
        trial(1e-3, 2, TrialState.PRUNED),
        trial(1e-4, 2, TrialState.RUNNING),
        create_trial(state=TrialState.WAITING),
    ]
    assert plan_of(*trials).unique_configurations == 2
    assert plan_of(*trials, keep=["lr"]).unique_configurations == 4
    assert plan_of(*trials, keep=["lr"]).projected == ()


def test_lists_and_nan_among_the_choices(tmp_path: Path) -> None:
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(f"{tmp_path}/study.log")
    )
    study = optuna.create_study(storage=storage, study_name="s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        choices = CategoricalDistribution([[1, 2], [3], math.nan])  # type: ignore[list-item]
        for value in ([1, 2], [1, 2], [3], math.nan, math.nan):
            params = {"lr": 1e-3, "sizes": value}
            space = {"lr": SPACE["lr"], "sizes": choices}
            study.add_trial(create_trial(params=params, distributions=space, value=1.0))
    plan = scan(f"{tmp_path}/study.log")
    assert plan.unique_configurations == 3
    json.dumps(plan.to_json(), allow_nan=False)


def test_running_trial_is_abandoned_once_it_is_far_too_old() -> None:
    now = datetime.now()
    fresh, old, aware, unknown = (trial(1e-3, i + 1, TrialState.RUNNING) for i in range(4))
    fresh.datetime_start = now - timedelta(hours=2)
    old.datetime_start = now - timedelta(days=3)
    aware.datetime_start = datetime.now(timezone.utc) - timedelta(days=3)
    unknown.datetime_start = None
    plan = plan_of(trial(1e-3, 9, minutes=30), fresh, old, aware, unknown)
    assert [running.abandoned for running in plan.running] == [False, True, True, False]
    assert plan.running[3].started is None


def test_slow_study_gets_more_patience() -> None:
    running = trial(1e-3, 1, TrialState.RUNNING)
    running.datetime_start = datetime.now() - timedelta(days=3)
    assert not plan_of(trial(1e-3, 9, minutes=60 * 24), running).running[0].abandoned


@pytest.mark.parametrize("directions", [("minimize",), ("maximize",)])
def test_placeholder_is_the_best_trials(directions: tuple[str, ...]) -> None:
    plan = plan_of(trial(1e-4, 1), trial(1e-3, 5), trial(1e-2, 9), directions=directions)
    assert plan.placeholders == {"lr": 1e-4 if directions == ("minimize",) else 1e-2}


def test_study_without_trials() -> None:
    plan = plan_of()
    assert plan.trials.total == plan.unique_configurations == 0
    assert plan.hours is None
    assert plan.learning_rate == plan.kept == plan.projected == ()


def test_study_of_several_objectives() -> None:
    study = optuna.create_study(study_name="s", directions=["minimize", "maximize"])
    for lr, values in ((1e-4, [0.0, 0.0]), (1e-3, [1.0, 1.0]), (1e-2, [2.0, 2.0]), (1e-1, [2.0, 0.0])):
        study.add_trial(create_trial(params={"lr": lr, "width": 1}, distributions=SPACE, values=values))
    plan = plan_study(study, "memory")
    assert plan.directions == ("minimize", "maximize")
    assert plan.placeholders == {"lr": 1e-3}  # the middle of the front
    assert [way.way for way in plan.projected] == ["until-match", "trials"]


def test_no_complete_trial_cannot_be_matched() -> None:
    assert [way.way for way in plan_of(trial(1e-3, 1, TrialState.FAIL)).projected] == ["trials"]


def test_wishes_of_a_storage_with_several_studies(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/two.db"
    for name, space in (("a", {"speed": SPACE["lr"]}), ("b", {"width": SPACE["width"]})):
        study = optuna.create_study(storage=url, study_name=name)
        params = dict.fromkeys(space, 0.01 if name == "a" else 2)
        study.add_trial(create_trial(params=params, distributions=space, value=1.0))
    plans = scan_storage(url, lr=["speed"]).plans
    assert [list(plan.placeholders) for plan in plans] == [["speed"], []]
    with pytest.raises(PlanError, match="speed, width"):
        scan_storage(url, lr=["nope"])


def test_scan_of_a_storage_with_several_studies_needs_a_name(studies: Path) -> None:
    with pytest.raises(StorageError, match="--study"):
        scan(str(studies / ARCANUM))


def test_postgresql_is_scanned(postgresql_url: str) -> None:
    study = optuna.create_study(storage=postgresql_url, study_name="s")
    study.add_trials([trial(1e-3, 1), trial(1e-2, 1)])
    plan = scan(postgresql_url)
    assert plan.storage == postgresql_url
    assert plan.unique_configurations == 1
