"""Which pruner the smaller study has, what it compares, and from when on it decides."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.pruners import BasePruner, MedianPruner, NopPruner, PercentilePruner
from optuna.trial import TrialState, create_trial
from tiny_search import go, old_study, optimizer_of, recorded, train

from galatune.cli.options import pruner_option
from galatune.errors import PlanError
from galatune.study.ledger.attributes import RECORD, REPORTED_BEFORE, STAGE
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search.pruning import PRUNERS, CurveWatch, OldPruning, Pruning, pruning_for

OLD = OldPruning(pruned=5, finished=16, first_step=3, reports=12)
CONTROLLED = {RECORD: {"steps": 12}}
PRUNED, COMPLETE = TrialState.PRUNED, TrialState.COMPLETE


class Always(BasePruner):
    """Wants to end every trial, and notes which trials it could compare."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        self.seen.append([one.number for one in study.get_trials(deepcopy=False)])
        return True


def study_of(pruner: BasePruner, *trials: tuple[TrialState, Mapping[str, Any], list[float]]) -> optuna.Study:
    study = optuna.create_study(study_name="s", pruner=pruner)
    for state, attributes, reports in trials:
        values = {"value": reports[-1]} if state == COMPLETE else {}
        curve = dict(enumerate(reports))
        study.add_trial(
            create_trial(state=state, user_attrs=dict(attributes), intermediate_values=curve, **values)
        )
    return study


def watch(trial: optuna.trial.Trial, arrived: bool | None, pruning: Pruning | None = None) -> CurveWatch:
    curve = CurveWatch(trial, pruning or Pruning())
    curve.capture = None if arrived is None else SimpleNamespace(rates_arrived=arrived)  # type: ignore[assignment]
    return curve


def prunes(curve: CurveWatch, trial: optuna.trial.Trial, value: float, step: int) -> bool:
    trial.report(value, step)
    return curve.prunes(trial.study, trial.study._storage.get_trial(trial._trial_id))


# -- which pruner


def test_the_old_study_shows_when_it_pruned_and_how_much_a_trial_reports() -> None:
    old = study_of(
        NopPruner(),
        (COMPLETE, {}, [3.0, 2.0, 1.0]),
        (PRUNED, {}, [9.0, 9.0]),
        (PRUNED, {}, [9.0, 9.0, 9.0]),
        (PRUNED, {}, []),
        (TrialState.FAIL, {}, [9.0] * 7),
    )
    assert OldPruning.of(old) == OldPruning(pruned=3, finished=5, first_step=1, reports=3)
    assert OldPruning.of(study_of(NopPruner())) == OldPruning()


def test_without_pruned_trials_there_is_no_pruner_and_nothing_is_said() -> None:
    found = pruning_for(OldPruning(finished=9), None)
    assert isinstance(found.pruner, NopPruner)
    assert found.reason is None


def test_with_pruned_trials_it_is_the_median_pruner_from_the_first_pruned_step_on() -> None:
    found = pruning_for(OLD, None)
    assert type(found.pruner) is MedianPruner
    assert found.pruner._n_warmup_steps == 3
    assert found.old_share == 5 / 16
    assert found.reason is not None
    for words in ("MedianPruner from step 3 on", "5 of 16 trials", "--pruner"):
        assert words in found.reason


@pytest.mark.parametrize("name", PRUNERS)
def test_every_name_gives_a_pruner_without_a_limit_of_its_share(name: str) -> None:
    found = pruning_for(OLD, name)
    assert (found.old_share, found.old_reports) == (None, 12)
    assert "as given" in str(found.reason)


def test_the_command_line_knows_the_same_names() -> None:
    option = pruner_option(lambda: None).__click_params__[0]  # type: ignore[attr-defined]
    assert list(option.type.choices) == list(PRUNERS)


@pytest.mark.parametrize("given", ["Median", "", 3, [], MedianPruner, {"median": 1}])
def test_what_is_no_pruner_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(PlanError, match="--pruner must be one of none, median") as caught:
        pruning_for(OLD, given)
    assert "\n" not in str(caught.value)


def test_several_objectives_have_no_pruner() -> None:
    both = OldPruning(pruned=2, finished=4, objectives=2)
    for given in (None, "none", NopPruner()):
        assert isinstance(pruning_for(both, given).pruner, NopPruner)
    for given in ("median", MedianPruner()):
        with pytest.raises(PlanError, match="2 objectives"):
            pruning_for(both, given)


# -- from when on it decides


@pytest.mark.parametrize(
    ("arrived", "reports", "ends"), [(True, 1, True), (False, 3, False), (False, 4, True), (None, 4, True)]
)
def test_no_trial_is_pruned_before_its_rate_arrived_or_a_third_of_the_reports(
    arrived: bool | None, reports: int, ends: bool
) -> None:
    study = study_of(Always(), (COMPLETE, CONTROLLED, [1.0] * 12), (COMPLETE, {}, [1.0] * 60))
    trial = study.ask()
    curve = watch(trial, arrived)
    assert [prunes(curve, trial, 1.0, step) for step in range(reports)][-1] is ends


def test_while_no_trial_is_complete_the_old_ones_tell_how_much_is_reported() -> None:
    study = study_of(Always(), (PRUNED, CONTROLLED, [1.0]))
    trial = study.ask()
    curve = watch(trial, False, Pruning(old_reports=6))
    assert [prunes(curve, trial, 1.0, step) for step in range(2)] == [False, True]
    unknown = study.ask()
    assert not prunes(watch(unknown, False), unknown, 1.0, 10)


def test_what_was_decided_is_an_event() -> None:
    study = study_of(Always(), (COMPLETE, CONTROLLED, [1.0] * 6))
    trial = study.ask()
    curve = watch(trial, False)
    assert not any(curve.events(pruned=True))
    for step in range(2):
        prunes(curve, trial, 1.0, step)
    words = [event.reason for event in curve.events(pruned=True)]
    assert words == [
        "not pruned at 1 report: its rate had not arrived",
        "pruned after 2 reports: a trial makes 6 reports",
    ]
    assert len(curve.events(pruned=False)) == 1


def test_reports_at_one_step_count_once_and_asking_without_a_report_ends_nothing() -> None:
    study = study_of(Always(), (COMPLETE, CONTROLLED, [1.0] * 6))
    trial = study.ask()
    curve = watch(trial, False)
    with pytest.warns(UserWarning, match="already reported"):
        assert not any(prunes(curve, trial, 1.0, 0) for _ in range(3))
    fresh = study.ask()
    assert not watch(fresh, False).prunes(study, study._storage.get_trial(fresh._trial_id))


def test_the_share_of_pruned_trials_stays_near_the_old_one() -> None:
    some = [(PRUNED, CONTROLLED, [1.0])] * 3 + [(COMPLETE, CONTROLLED, [1.0] * 12)] * 6
    for share, early, ends in (
        (0.25, True, True),
        (0.25, False, False),
        (0.3, False, True),
        (0.1, True, False),
    ):
        study = study_of(Always(), *some)
        trial = study.ask()
        curve = watch(trial, early, Pruning(old_share=share))
        assert [prunes(curve, trial, 1.0, step) for step in range(4)][-1] is ends


def test_a_repeat_that_confirms_a_match_is_not_pruned() -> None:
    study = study_of(Always())
    study.enqueue_trial({}, user_attrs={STAGE: "confirm"})
    trial = study.ask()
    assert not prunes(watch(trial, True), trial, 1.0, 0)


def test_a_trial_that_was_queued_with_reports_is_neither_pruned_nor_compared() -> None:
    pruner = Always()
    study = study_of(pruner)
    study.add_trial(create_trial(state=TrialState.WAITING, intermediate_values={0: 1.0}))
    trial = study.ask()
    assert not prunes(watch(trial, True), trial, 1.0, 1)
    trial.set_user_attr(RECORD, CONTROLLED[RECORD])
    study.tell(trial, 1.0)
    assert study.trials[0].user_attrs[REPORTED_BEFORE]
    other = study.ask()
    assert prunes(watch(other, True), other, 1.0, 0)
    assert pruner.seen == [[other.number]]


def test_a_copy_of_a_trial_knows_no_rate_and_waits_for_its_reports() -> None:
    study = study_of(Always(), (COMPLETE, CONTROLLED, [1.0] * 6))
    trial = study.ask()
    for other in (copy.deepcopy, lambda curve: pickle.loads(pickle.dumps(curve))):
        curve = other(watch(trial, True))
        assert curve.capture is None


# -- what it compares


def test_curves_are_compared_with_those_of_finished_trials_under_control() -> None:
    pruner = Always()
    study = study_of(
        pruner,
        (COMPLETE, {}, [0.0] * 4),  # added by hand
        (COMPLETE, CONTROLLED, [1.0] * 4),
        (PRUNED, CONTROLLED, [1.0]),
        (TrialState.FAIL, CONTROLLED, [0.0]),
        (COMPLETE, {RECORD: {"steps": 0}}, [0.0] * 4),
        (COMPLETE, {RECORD: "damaged"}, [0.0] * 4),
    )
    study.ask()  # of another process
    trial = study.ask()
    prunes(watch(trial, True), trial, 1.0, 0)
    assert pruner.seen == [[1, 2, trial.number]]


@pytest.mark.parametrize(
    "make",
    [
        *(PRUNERS[name] for name in PRUNERS if name != "none"),
        lambda _: PercentilePruner(50.0),
        lambda _: optuna.pruners.PatientPruner(MedianPruner(), patience=0),
        lambda _: optuna.pruners.ThresholdPruner(upper=3.0),
        lambda _: optuna.pruners.WilcoxonPruner(n_startup_steps=0),
    ],
    ids=[*list(PRUNERS)[1:], "half", "patient", "threshold", "wilcoxon"],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_pruner_of_optuna_sees_controlled_trials_alone(make: Callable[[int], BasePruner]) -> None:
    alien = [(COMPLETE, {}, [100.0] * 9)] * 6
    study = study_of(make(0), *alien)
    for value in (*[1.0] * 6, 5.0, *[50.0] * 6):
        trial = study.ask()
        curve = watch(trial, True)
        ended = any(prunes(curve, trial, value + 0.01 * step, step) for step in range(9))
        trial.set_user_attr(RECORD, CONTROLLED[RECORD])
        study.tell(trial, None if ended else value, state=PRUNED if ended else None)
    assert study.trials[-1].state == PRUNED, "although it is better than all aliens"


# -- in a run


def reporting(trial: Any, reports: int = 6) -> float:
    value = 0.0
    for step in range(reports):
        optimizer, net = optimizer_of(trial, trial.suggest_float("lr", 1e-5, 1.0, log=True))
        value = train(optimizer, net, steps=2)
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


@pytest.mark.usefixtures("folder")
def test_a_run_prunes_after_a_third_and_says_by_what() -> None:
    old_study("old.log", [3.0, 2.0])
    study = go(scan("old.log"), reporting, trials=1, pruner="none")
    assert [trial.state for trial in study.trials] == [COMPLETE]
    study = go(scan("old.log"), reporting, trials=3, pruner=Always(), into="other.log")
    attribute = json.loads(json.dumps(study.user_attrs[RECORD]))
    assert (attribute["pruner"], attribute["options"]["pruner"]) == ("Always", "Always")
    assert "Always, as given" in attribute["pruner_because"]
    # Nobody knows yet how much a trial reports, and two steps are no time for a rate to arrive.
    assert [trial.state for trial in study.trials] == [COMPLETE, PRUNED, PRUNED]
    assert [len(trial.intermediate_values) for trial in study.trials] == [6, 2, 2]
    events = [event.reason for event in recorded(study.trials[1]).events if event.kind == "pruning"]
    assert events[-1] == "pruned after 2 reports: a trial makes 6 reports"


def test_the_objective_may_end_a_trial_by_itself(plan: ShrinkPlan) -> None:
    def impossible(trial: Any) -> float:
        if trial.number:
            raise optuna.TrialPruned
        return reporting(trial)

    study = go(plan, impossible, trials=2)
    assert [trial.state for trial in study.trials] == [COMPLETE, PRUNED]
    assert study.user_attrs[RECORD]["pruner_because"] is None


def test_a_study_is_continued_with_its_pruner(plan: ShrinkPlan) -> None:
    go(plan, reporting, trials=1)
    with pytest.raises(PlanError, match=r"pruner not set \(now median\)"):
        go(plan, reporting, trials=2, pruner="median")
