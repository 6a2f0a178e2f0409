"""When the smaller search ends."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from galatune.errors import PlanError
from galatune.study.ledger.attributes import INTERRUPTED
from galatune.study.search.confirm import queue_confirmation
from galatune.study.search.lanes import confirm_tickets, queue_on_top
from galatune.study.search.quota import uses_ticket
from galatune.study.search.stopping import Budget, budget_for

SPACE = {"x": FloatDistribution(-100.0, 100.0)}


def study_of(
    values: list[float | TrialState | tuple[float, ...]], directions: tuple[str, ...] = ("minimize",)
) -> optuna.Study:
    study = optuna.create_study(study_name="s", directions=list(directions))
    for number, value in enumerate(values):
        made: dict[str, Any] = {"params": {"x": float(number)}, "distributions": SPACE}
        if isinstance(value, TrialState):
            made["state"] = value
        else:
            made["values"] = list(value) if isinstance(value, tuple) else [value]
        study.add_trial(create_trial(**made))
    return study


def budget(old: optuna.Study, **given: Any) -> Budget:
    usual: dict[str, Any] = {
        "trials": None,
        "until_match": False,
        "tolerance": 0.01,
        "patience": None,
        "confirm": None,
        "repeats": 0,
    }
    return budget_for(old, {}, **{**usual, **given})


OLD = [9.0, 5.0, TrialState.FAIL, TrialState.PRUNED, 1.0, TrialState.RUNNING]


def test_without_a_budget_the_old_one_is_the_bound() -> None:
    found = budget(study_of(OLD))
    assert found.trials == 5
    assert found.goal is not None
    assert found.goal.threshold == pytest.approx(1.04)
    assert found.text() == ("until a trial reaches 1.04 (old best 1, tolerance 1 %), at most 5 trials")


def test_a_number_of_trials_alone_looks_for_no_match() -> None:
    found = budget(study_of(OLD), trials=3)
    assert (found.trials, found.goal) == (3, None)
    assert found.text() == "3 trials"
    assert budget(study_of(OLD), trials=1).text() == "1 trial"
    assert "7 trials in a row" in budget(study_of(OLD), trials=9, patience=7).text()


def test_a_number_of_trials_bounds_a_match() -> None:
    found = budget(study_of(OLD), trials=3, until_match=True)
    assert found.trials == 3
    assert found.goal is not None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"trials": 0}, "--trials"),
        ({"trials": -4}, "--trials"),
        ({"patience": 0}, "--patience"),
        ({"tolerance": 1.0}, "--tolerance"),
        ({"tolerance": -0.1}, "--tolerance"),
        ({"tolerance": float("nan")}, "--tolerance"),
        ({"repeats": -1}, "--repeats"),
        ({"repeats": 51}, "--repeats"),
    ],
)
def test_a_number_out_of_range_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        budget(study_of(OLD), **given)


def test_nothing_to_match_is_an_error_that_names_the_other_way() -> None:
    with pytest.raises(PlanError, match="--trials"):
        budget(study_of([TrialState.FAIL, TrialState.FAIL]))
    assert budget(study_of([TrialState.FAIL]), trials=2).trials == 2


@pytest.mark.parametrize(
    ("direction", "old", "reaches", "misses"),
    [
        ("minimize", [9.0, 5.0, 1.0], 1.03, 1.05),
        ("maximize", [0.1, 0.5, 0.9], 0.8961, 0.895),
        ("minimize", [0.0, 0.0, 0.0], 0.0, 1e-9),
        ("minimize", [-1.0, -5.0, -9.0], -8.97, -8.95),
        ("maximize", [-9.0, -5.0, -1.0], -1.03, -1.05),
        ("maximize", [-0.5, 0.0, 0.5], 0.496, 0.49),
    ],
)
def test_a_match_is_within_the_tolerance(
    direction: str, old: list[Any], reaches: float, misses: float
) -> None:
    found = budget(study_of(old, (direction,)))
    assert found.stop_reason(study_of([misses], (direction,))) is None
    assert found.stop_reason(study_of([misses, reaches], (direction,))) == (
        "the old best was matched after 2 trials"
    )


def test_a_pruned_or_failed_trial_never_matches() -> None:
    found = budget(study_of(OLD), trials=9, until_match=True)
    pruned = study_of([])
    pruned.add_trial(
        create_trial(
            state=TrialState.PRUNED, intermediate_values={0: 0.0}, params={"x": 1.0}, distributions=SPACE
        )
    )
    assert found.stop_reason(pruned) is None


def test_complete_pruned_and_failed_trials_use_a_ticket_each() -> None:
    found = Budget(3)
    states = [1.0, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING]
    assert found.stop_reason(study_of([*states])) is None
    assert found.used(study_of([*states])) == 2
    assert found.stop_reason(study_of([*states, TrialState.FAIL])) == "the budget of 3 trials is used up"


def test_an_interrupted_trial_uses_no_ticket() -> None:
    trial = create_trial(state=TrialState.FAIL, user_attrs={INTERRUPTED: True})
    assert not uses_ticket(trial)


def test_patience_counts_trials_without_a_better_value() -> None:
    found = Budget(100, patience=3)
    assert found.stop_reason(study_of([5.0, 4.0, 4.0, 6.0])) is None
    assert found.stop_reason(study_of([5.0, 4.0, 4.0, 6.0, TrialState.FAIL])) == (
        "3 trials in a row brought no better value"
    )
    assert found.stop_reason(study_of([TrialState.FAIL] * 4)) is None


def test_patience_of_several_objectives_looks_at_the_front() -> None:
    both = ("minimize", "minimize")
    found = Budget(100, patience=2)
    assert found.stop_reason(study_of([(5.0, 1.0), (4.0, 2.0), (3.0, 3.0)], both)) is None
    assert found.stop_reason(study_of([(5.0, 1.0), (4.0, 2.0), (6.0, 3.0), (6.0, 3.0)], both)) is not None


def test_several_objectives_match_the_old_hypervolume() -> None:
    both = ("minimize", "maximize")
    old = study_of([(3.0, 1.0), (2.0, 2.0), (1.0, 3.0)], both)
    found = budget(old)
    assert "hypervolume" in found.text()
    assert found.stop_reason(study_of([(2.0, 2.0)], both)) is None
    assert (
        found.stop_reason(study_of([(2.0, 2.0), (1.0, 3.0)], both))
        == "the old best was matched after 2 trials"
    )
    with pytest.raises(PlanError, match="2 objectives"):
        budget(old, confirm=True)


def run_queued(study: optuna.Study, *values: float | TrialState) -> None:
    """Run what is queued, with these outcomes."""
    for value in values:
        trial = study.ask()
        trial.suggest_float("x", -100.0, 100.0)
        if isinstance(value, TrialState):
            study.tell(trial, state=value)
        else:
            study.tell(trial, value)
    assert not study.get_trials(states=[TrialState.WAITING])


def begin_confirmation(found: Budget, study: optuna.Study) -> int:
    """Queue the repeats of what is to be confirmed, and say of which trial."""
    again = found.to_confirm(study)
    assert again is not None
    assert found.stop_reason(study) is None
    queue_confirmation(study, again, found.confirm)
    assert found.to_confirm(study) is None, "it is queued already"
    assert found.stop_reason(study) is None, "it waits"
    return again.number


def test_a_match_counts_once_its_repeat_matches() -> None:
    found = budget(study_of(OLD), confirm=True)
    assert found.text().endswith("on top of that 1 repeat of a trial that matches")
    study = study_of([3.0, 1.0])
    assert begin_confirmation(found, study) == 1
    run_queued(study, 2.0)
    assert found.stop_reason(study) is None, "the first one was a lucky one"
    assert found.to_confirm(study) is None

    study.add_trial(create_trial(value=1.0, params={"x": 50.0}, distributions=SPACE))
    assert begin_confirmation(found, study) == 3
    run_queued(study, 1.0)
    assert found.stop_reason(study) == "the old best was matched after 5 trials, confirmed by repeats"
    assert found.used(study) == 3, "repeats come on top"


def test_the_mean_of_the_repeats_has_to_match() -> None:
    found = budget(study_of(OLD), confirm=True, repeats=3, trials=12, until_match=True)
    study = study_of([3.0, 0.2])
    begin_confirmation(found, study)
    run_queued(study, 0.9, 1.4, 1.0)
    assert found.stop_reason(study) is None, "their mean is 1.1; 0.2, which was selected, is no part of it"
    study.add_trial(create_trial(value=1.0, params={"x": 50.0}, distributions=SPACE))
    assert begin_confirmation(found, study) == 5
    run_queued(study, 0.9, 1.2, 0.9)
    assert found.stop_reason(study) == "the old best was matched after 9 trials, confirmed by repeats"


def test_a_failed_repeat_confirms_nothing_and_is_not_tried_for_ever() -> None:
    found = budget(study_of(OLD), repeats=2, trials=12, until_match=True)
    study = study_of([1.0])
    begin_confirmation(found, study)
    run_queued(study, 1.0, TrialState.FAIL)
    assert found.stop_reason(study) is None
    assert found.to_confirm(study) is None


def test_a_configuration_is_confirmed_once() -> None:
    found = budget(study_of(OLD), repeats=2, trials=12, until_match=True)
    study = study_of([1.0])
    begin_confirmation(found, study)
    run_queued(study, 3.0, 3.0)
    study.add_trial(create_trial(value=0.9, params={"x": 0.0}, distributions=SPACE))
    assert found.to_confirm(study) is None, "drawn again in a finite space"


def test_confirmations_are_bounded_by_the_budget() -> None:
    found = budget(study_of(OLD), repeats=3, trials=12, until_match=True)
    study = study_of([1.0, 0.9, 0.8, 0.7])
    for number in (3, 2):
        assert begin_confirmation(found, study) == number, "the best first"
        run_queued(study, 3.0, 3.0, 3.0)
    assert found.to_confirm(study) is None, "6 repeats are half of 12 trials"


def test_repeats_that_a_killed_process_did_not_queue_are_queued() -> None:
    found = budget(study_of(OLD), repeats=3, trials=12, until_match=True)
    study = study_of([1.0])
    again = found.to_confirm(study)
    assert again is not None
    about = {"of": 3, "trial": 0}
    queue_on_top(study, confirm_tickets(0, 3)[:1], "confirm", again.params, about)
    begin_confirmation(found, study)
    run_queued(study, 1.0, 1.0, 1.0)
    assert found.stop_reason(study) is not None


def test_without_until_match_the_best_is_confirmed_after_the_search() -> None:
    found = budget(study_of(OLD), repeats=2, trials=3)
    assert found.goal is not None
    study = study_of([0.9, 5.0])
    assert found.to_confirm(study) is None, "the search goes on in any case"
    study.add_trial(create_trial(value=0.8, params={"x": 50.0}, distributions=SPACE))
    assert begin_confirmation(found, study) == 2
    run_queued(study, 0.8, 0.8)
    assert found.stop_reason(study) == "the budget of 3 trials is used up"


def test_a_repeat_of_an_earlier_version_still_confirms() -> None:
    found = budget(study_of(OLD), confirm=True)
    study = study_of([1.0])
    study.enqueue_trial({"x": 0.0}, user_attrs={"galatune_stage": "confirm"})
    run_queued(study, 1.0)
    assert found.stop_reason(study) == "the old best was matched after 2 trials, confirmed by repeats"
    failed = study_of([1.0])
    failed.enqueue_trial({"x": 0.0}, user_attrs={"galatune_stage": "confirm"})
    run_queued(failed, TrialState.FAIL)
    assert found.to_confirm(failed) is None


@pytest.mark.parametrize("repeats", [0, 3])
def test_confirm_is_asked_for_by_repeats_unless_it_is_given(repeats: int) -> None:
    assert budget(study_of(OLD), repeats=repeats).confirm == repeats
    assert budget(study_of(OLD), repeats=repeats, confirm=False).confirm == 0
    assert budget(study_of(OLD), repeats=repeats, confirm=True).confirm == max(repeats, 1)


def test_several_objectives_are_not_repeated_and_that_is_said() -> None:
    both = ("minimize", "maximize")
    found = budget(study_of([(3.0, 1.0), (2.0, 2.0)], both), repeats=3)
    assert (found.old_best, found.confirm) == (None, 0)
    assert found.text().endswith("several objectives have no single best trial")
