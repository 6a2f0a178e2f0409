"""`run --warm-start N`: the best old configurations come first, without their rates."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from tiny_search import go, load, make, objective, old_study, recorded, train, yes

from galatune.errors import PlanError
from galatune.report.savings import savings
from galatune.study.ledger.attributes import INTERRUPTED, TICKET, WARM_START
from galatune.study.ledger.rows import ledger
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.scan.scan import scan
from galatune.study.search.summary import RunSummary
from galatune.study.search.warm_start import best_configurations, queue_first

pytestmark = pytest.mark.usefixtures("folder")


def warm(study: optuna.Study) -> list[tuple[int, int]]:
    """Ticket and old trial of each warm trial that counts."""
    trials = [t for t in study.trials if WARM_START in t.user_attrs and not is_interrupted(t)]
    return sorted((t.user_attrs[TICKET], t.user_attrs[WARM_START]) for t in trials)


def kept(old: optuna.Study, number: int) -> dict[str, Any]:
    return {name: value for name, value in old.trials[number].params.items() if name != "lr"}


@pytest.mark.parametrize(("direction", "best"), [("minimize", [1, 2, 0]), ("maximize", [3, 0, 2])])
def test_the_best_old_configurations_come_first_and_are_counted(direction: str, best: list[int]) -> None:
    old = old_study("old.log", (3.0, 1.0, 2.0, 4.0), directions=(direction,))
    study = go(scan("old.log"), trials=4, warm_start=3)
    assert [trial.params for trial in study.trials[:3]] == [kept(old, number) for number in best]
    assert warm(study) == list(enumerate(best))
    assert len(study.trials) == 4
    assert WARM_START not in study.trials[3].user_attrs
    assert all(recorded(trial).controlled for trial in study.trials)


def test_a_configuration_that_was_tried_with_several_rates_counts_once() -> None:
    old = old_study("old.log", (3.0, 2.0))
    best = old.trials[1]
    for value, rate in ((1.0, 0.1), (0.5, 0.01)):
        old.add_trial(
            create_trial(value=value, params={**best.params, "lr": rate}, distributions=best.distributions)
        )
    assert [one.trial for one in best_configurations(old, ["lr"], 5)] == [3, 0]


def test_failed_pruned_infinite_and_infeasible_trials_are_left_out() -> None:
    old = old_study("old.log", (3.0, TrialState.FAIL, float("-inf"), TrialState.PRUNED, TrialState.RUNNING))
    params, spaces = old.trials[1].params, old.trials[1].distributions
    forbidden = {"constraints": [1.0]}
    old.add_trial(create_trial(value=0.0, params=params, distributions=spaces, system_attrs=forbidden))
    assert [one.trial for one in best_configurations(old, ["lr"], 5)] == [0]


def test_more_than_there_are_is_all_there_are() -> None:
    old_study("old.log")
    study = go(scan("old.log"), trials=5, warm_start=50)
    assert warm(study) == [(0, 2), (1, 1), (2, 0)]
    assert len(study.trials) == 5


def test_an_old_study_without_a_complete_trial_has_none() -> None:
    old_study("old.log", (TrialState.FAIL, TrialState.PRUNED))
    assert warm(go(scan("old.log"), trials=2, warm_start=2)) == []


def test_more_than_the_budget_wait_for_more() -> None:
    old_study("old.log")
    study = go(scan("old.log"), trials=1, warm_start=3)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "WAITING", "WAITING"]
    study = go(scan("old.log"), trials=4, warm_start=3)
    assert [t.user_attrs.get(WARM_START) for t in study.trials] == [2, 1, 0, None]


def test_what_the_space_no_longer_holds_is_left_out() -> None:
    old = old_study("old.log", (1.0, 2.0, 3.0))
    narrower = {**old.trials[0].distributions, "width": CategoricalDistribution([2, 4, 8])}
    narrower["weight_decay"] = FloatDistribution(1e-9, old.trials[0].params["weight_decay"] / 2, log=True)
    params = {**old.trials[1].params, "weight_decay": 1e-8}
    old.add_trial(create_trial(value=9.0, params=params, distributions=narrower))
    numbers = [one.trial for one in best_configurations(old, ["lr"], 5)]
    assert 0 not in numbers
    assert 3 in numbers


def test_an_objective_that_has_changed_since_draws_anew_what_it_does_not_hold() -> None:
    old_study("old.log")

    def changed(trial: Any) -> float:
        net = torch.nn.Linear(4, trial.suggest_categorical("width", [16, 32]))
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        return train(torch.optim.SGD(net.parameters(), lr=lr), net)

    trial = go(scan("old.log"), changed, trials=1, warm_start=1).trials[0]
    assert trial.state == TrialState.COMPLETE
    assert trial.params["width"] in (16, 32)
    said = [event.reason for event in recorded(trial).events if event.kind == "warm start"]
    assert len(said) == 1
    assert said[0].startswith("not in the search space any more, so drawn anew: width=")


def test_a_conditional_space_takes_what_belongs_to_each_branch() -> None:
    space = CategoricalDistribution(["sgd", "adam"])
    old = optuna.create_study(study_name="old", storage="sqlite:///old.db")
    rate, beta = FloatDistribution(1e-5, 1.0, log=True), FloatDistribution(0.5, 0.99)
    old.add_trial(
        create_trial(value=1.0, params={"kind": "sgd", "lr": 0.1}, distributions={"kind": space, "lr": rate})
    )
    old.add_trial(
        create_trial(
            value=2.0,
            params={"kind": "adam", "lr": 0.1, "beta": 0.7},
            distributions={"kind": space, "lr": rate, "beta": beta},
        )
    )

    def branching(trial: Any) -> float:
        kind = trial.suggest_categorical("kind", ["sgd", "adam"])
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        net = torch.nn.Linear(4, 1)
        if kind == "sgd":
            return train(torch.optim.SGD(net.parameters(), lr=lr), net)
        beta = trial.suggest_float("beta", 0.5, 0.99)
        return train(torch.optim.Adam(net.parameters(), lr=lr, betas=(beta, 0.999)), net)

    study = go(scan("old.db"), branching, trials=2, warm_start=2)
    assert [trial.params for trial in study.trials] == [{"kind": "sgd"}, {"kind": "adam", "beta": 0.7}]


def test_of_several_objectives_the_front_comes_first_and_its_ends_before_its_middle() -> None:
    old = old_study("old.log", (1.0,), directions=("minimize", "maximize"))
    template = old.trials[0]
    # (value, value): trials 1 to 5 are the front, 0 and 6 are behind it.
    for place, values in enumerate([(0.1, 3.0), (0.2, 4.0), (0.3, 5.0), (0.4, 6.0), (0.5, 7.0), (0.6, 1.0)]):
        params = {**template.params, "weight_decay": 1e-4 * (1 + place)}
        old.add_trial(create_trial(values=values, params=params, distributions=template.distributions))
    numbers = [one.trial for one in best_configurations(old, ["lr"], 7)]
    assert numbers[:3] == [1, 5, 3]
    assert sorted(numbers[:5]) == [1, 2, 3, 4, 5]
    assert sorted(numbers) == list(range(7))


def test_an_interrupted_warm_trial_is_one_again(interruptible: None) -> None:
    old_study("old.log")
    calls: list[int] = []

    def once_interrupted(trial: Any) -> float:
        calls.append(trial.number)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return objective(trial)

    plan = scan("old.log")
    with pytest.raises(KeyboardInterrupt):
        go(plan, once_interrupted, trials=4, warm_start=3)
    go(plan, once_interrupted, trials=4, warm_start=3)
    study = load()
    assert warm(study) == [(0, 2), (1, 1), (2, 0)]
    whole = go(plan, objective, trials=4, warm_start=3, name="whole")
    counted = {t.user_attrs[TICKET]: t.value for t in study.trials if INTERRUPTED not in t.user_attrs}
    assert counted == {t.user_attrs[TICKET]: t.value for t in whole.trials}
    assert len(ledger(study).finished) == 5  # the one that was interrupted is listed
    assert [one.old_trial for one in RunSummary.of(study, "new.log").warm_start] == [2, 0, 1]


def test_a_kill_between_two_of_them_leaves_none_out_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    old_study("old.log")
    enqueue, made = optuna.Study.enqueue_trial, []

    def killed(study: optuna.Study, *args: Any, **more: Any) -> None:
        if made:
            raise KeyboardInterrupt
        made.append(enqueue(study, *args, **more))

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Study, "enqueue_trial", killed)
        with pytest.raises(KeyboardInterrupt):
            go(scan("old.log"), trials=4, warm_start=3)
    assert warm(load()) == [(0, 2)]
    assert warm(go(scan("old.log"), trials=4, warm_start=3)) == [(0, 2), (1, 1), (2, 0)]


def test_two_processes_that_queue_at_once_try_each_once() -> None:
    old = old_study("old.log")
    plan = scan("old.log")
    chosen = best_configurations(old, plan.placeholders, 3)
    study = go(plan, trials=1, warm_start=3)
    late = load()
    for ticket in (1, 2):  # what a process writes that had not seen the others' yet
        late.enqueue_trial(
            dict(chosen[ticket].params), user_attrs={TICKET: ticket, WARM_START: chosen[ticket].trial}
        )
    study = go(plan, trials=5, warm_start=3)
    counted = [t for t in study.trials if not is_interrupted(t)]
    assert [t.user_attrs.get(WARM_START) for t in counted] == [2, 1, 0, None, None]
    queue_first(study, chosen)
    assert len(study.trials) == 7


def _work(folder: str) -> None:
    os.chdir(folder)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    go(scan("old.log"), trials=6, warm_start=3)


def test_two_processes_share_it() -> None:
    old_study("old.log")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(str(Path.cwd()),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    study = load()
    assert warm(study) == [(0, 2), (1, 1), (2, 0)]
    assert sum(t.state == TrialState.COMPLETE for t in study.trials) == 6


def test_a_study_that_began_without_is_refused() -> None:
    old_study("old.log")
    go(scan("old.log"), trials=1)
    with pytest.raises(PlanError, match=r"begun with warm_start 0 \(now 2\)"):
        go(scan("old.log"), trials=3, warm_start=2)
    with pytest.raises(PlanError, match="--warm-start comes before the first trial"):
        go(scan("old.log"), trials=3, warm_start=2, agree=yes)


def test_a_negative_number_is_refused() -> None:
    old_study("old.log")
    with pytest.raises(PlanError, match="--warm-start must be at least 0, however: -1"):
        go(scan("old.log"), warm_start=-1)


def test_an_old_study_that_goes_on_meanwhile_changes_nothing_that_was_queued() -> None:
    old = old_study("old.log")
    go(scan("old.log"), trials=1, warm_start=2)
    old.add_trial(
        create_trial(
            value=0.0,
            params={**old.trials[0].params, "weight_decay": 1e-3},
            distributions=old.trials[0].distributions,
        )
    )
    assert warm(go(scan("old.log"), trials=3, warm_start=2)) == [(0, 2), (1, 1)]


@pytest.mark.parametrize("control", ["on", "off"])
def test_everything_that_is_said_of_it_says_so(control: str) -> None:
    old = old_study("old.log", (3.0, 1e9, 2.0), directions=("maximize",))
    study = go(scan("old.log"), trials=3, warm_start=2, control=control)
    summary = RunSummary.of(study, "new.log")
    assert summary.to_json()["warm_start"] == [{"number": 0, "old_trial": 1}, {"number": 1, "old_trial": 0}]
    text = summary.text(width=200)
    assert "old configurations first: trials 0 (old 1), 1 (old 0); the best is" in text
    words = "2 of 3 trials had the best configurations of the old study (--warm-start)."
    assert words in savings(old, study).text(width=200)
    assert list(ledger(study).frame()["stage"]) == ["warm-start", "warm-start", "search"]


def test_a_narrow_net_and_a_wide_one_are_both_trained() -> None:
    """The parameters reach the objective, not only the storage."""
    old = old_study("old.log")
    seen: list[Any] = []

    def watching(trial: Any) -> float:
        seen.append(make(trial)[0].out_features)
        return objective(trial)

    go(scan("old.log"), watching, trials=3, warm_start=3)
    assert seen == [old.trials[number].params["width"] for number in (2, 1, 0)]
