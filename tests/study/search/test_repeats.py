"""Repeats of the old best: what they are, what they cost, and that nothing takes them for the search."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial
from tiny_search import RATE, go, load, make, objective, old_study, outcome, recorded, searched, train, yes

from galatune.errors import ObjectiveError
from galatune.study.ledger.attributes import GOAL, RECORD, STAGE, TICKET
from galatune.study.ledger.goal import goal_for, goal_lines
from galatune.study.ledger.match import goal_of
from galatune.study.ledger.rows import ledger
from galatune.study.scan.scan import scan
from galatune.study.search.fixed_trial import fixed_trial
from galatune.study.search.repeats import OldBest, settle
from galatune.study.search.summary import RunSummary

pytestmark = pytest.mark.usefixtures("folder")


def staged(study: optuna.Study, stage: str) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in study.trials if trial.user_attrs.get(STAGE) == stage]


def test_the_old_best_is_repeated_at_its_own_rate_before_the_search() -> None:
    best = old_study("old.log").best_trial
    study = go(scan("old.log"), repeats=3, trials=2)
    repeats = staged(study, "repeat")
    assert [trial.number for trial in repeats] == [0, 1, 2]
    assert [trial.number for trial in searched(study)] == [3, 4], "both tickets are left"
    for trial in repeats:
        assert trial.params == {name: best.params[name] for name in ("width", "weight_decay")}
        record = recorded(trial)
        assert not record.controlled
        assert {point.rate for point in record.learning_rate} == {best.params["lr"]}
        assert record.gradient_evaluations == 12
    assert len({trial.value for trial in repeats}) == 3, "their seeds differ"


def test_the_goal_is_the_mean_of_the_repeats_and_is_kept() -> None:
    old = old_study("old.log", values=(9.0, 5.0, 0.001))
    study = go(scan("old.log"), repeats=3, trials=1, tolerance=0.0)
    values = [trial.value for trial in staged(study, "repeat")]
    goal = goal_for(ledger(old), ledger(study), 0.0)
    assert goal is not None
    assert goal.repeats is not None
    assert goal.best == pytest.approx(statistics.fmean(values))
    assert goal.margin == pytest.approx(statistics.stdev(values) / 3**0.5)
    assert goal.threshold == pytest.approx(goal.best + goal.margin)
    assert goal.repeats.old_best == 0.001
    assert study.user_attrs[GOAL]["threshold"] == goal.threshold
    old.add_trial(create_trial(value=0.0005, params={}, distributions={}))
    assert goal_for(ledger(old), ledger(study), 0.0) == goal, "whatever becomes of the old study"


def test_a_repeat_that_another_process_ends_meanwhile_is_part_of_the_goal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = old_study("old.log")
    first, last = staged(go(scan("old.log"), repeats=2, trials=1), "repeat")
    study = optuna.create_study(study_name="again")
    study.add_trial(first)
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=last.user_attrs))
    read = study.get_trials

    def ended_afterwards(*args: Any, **kwargs: Any) -> list[optuna.trial.FrozenTrial]:
        found = read(*args, **kwargs)
        if any(trial.state == TrialState.RUNNING for trial in found):
            study.tell(1, last.value)
        return found

    monkeypatch.setattr(study, "get_trials", ended_afterwards)
    goals = [settle(study, goal_of(ledger(old), 0.0)) for _ in range(2)]
    assert goals[1] is not None
    assert goals[1].repeats is not None
    assert goals[1].repeats.values == (first.value, last.value)


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_a_search_in_either_direction_matches_what_repeats_reach(direction: str, sign: float) -> None:
    def signed(trial: Any) -> float:
        return sign * objective(trial)

    old_study("old.log", values=[sign * v for v in (9.0, 5.0, 0.001)], directions=[direction])
    study = go(scan("old.log"), signed, repeats=2, trials=3, until_match=True, tolerance=0.999)
    goal = goal_of(ledger(old_study("same.log", [sign * 9.0, sign * 0.001], directions=[direction])), 0.0)
    assert goal is not None
    assert goal.best == sign * 0.001, "no training of 12 steps comes there"
    assert "matched" in study.user_attrs[RECORD]["stopped_because"]
    assert "confirmed by repeats" in study.user_attrs[RECORD]["stopped_because"]
    assert len(staged(study, "confirm")) == 2
    assert all(recorded(trial).controlled for trial in staged(study, "confirm"))


def test_the_search_draws_the_same_with_repeats_and_without() -> None:
    """The sampler sees neither the repeats nor the tickets that they use."""
    old_study("old.log")
    without = outcome(go(scan("old.log"), into="without.log", trials=14))
    study = go(scan("old.log"), into="with.log", trials=14, repeats=3, confirm=False)
    assert [(trial.params, trial.value) for trial in searched(study)] == without


def test_a_sampler_never_sees_a_repeat() -> None:
    old_study("old.log", rates={"lr": RATE})
    study = go(scan("old.log"), trials=1, repeats=2)
    seen: list[list[int]] = []

    class Watching(optuna.samplers.RandomSampler):
        def sample_independent(self, study: optuna.Study, *args: Any) -> Any:
            seen.append([trial.number for trial in study.get_trials(deepcopy=False)])
            return super().sample_independent(study, *args)

    study.sampler.inner = Watching(seed=0)  # type: ignore[attr-defined]
    study.ask().suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    assert seen == [[2, 3]]


def test_no_seed_is_used_twice() -> None:
    seeds: list[int] = []

    def seeing(trial: Any) -> float:
        seeds.append(torch.initial_seed() % 2**32)
        return objective(trial)

    old_study("old.log", values=(9.0, 5.0, 3.0))
    go(scan("old.log"), seeing, trials=6, repeats=3, until_match=True, tolerance=0.999)
    assert len(set(seeds)) == len(seeds) > 6


def test_a_repeat_is_never_the_best_of_the_smaller_study() -> None:
    """Neither here nor in anything else that reads the storage with Optuna alone."""

    def better_when_repeated(trial: Any) -> float:
        return objective(trial) - 100.0 * (trial.user_attrs.get(STAGE) == "repeat")

    old_study("old.log")
    study = go(scan("old.log"), better_when_repeated, trials=2, repeats=2)
    assert study.best_trial.number in (2, 3)
    assert load().best_value > -50
    assert fixed_trial(study).number == study.best_trial.number
    rows = ledger(study)
    assert [row.number for row in rows.complete] == [2, 3]
    assert [row.stage for row in rows.finished] == ["repeat", "repeat", "search", "search"]
    assert not rows.constrained
    summary = RunSummary.of(study, "new.log")
    assert summary.best_value == study.best_value
    assert summary.trials == 4, "they are counted as cost"
    assert "standard errors); that is more than chance" in summary.text(400)


def test_repeats_without_a_search_have_no_best() -> None:
    old_study("old.log")

    def fails_in_the_search(trial: Any) -> float:
        if STAGE not in trial.user_attrs:
            raise RuntimeError("no memory")
        return objective(trial)

    with pytest.raises(ObjectiveError, match="no memory"):
        go(scan("old.log"), fails_in_the_search, trials=2, repeats=2)
    study = load()
    with pytest.raises(ValueError, match=r"[Nn]o feasible trials"):
        _ = study.best_trial
    assert RunSummary.of(study, "new.log").best_trials == ()


@pytest.mark.parametrize("how", ["fails", "prunes", "nan", "infinite"])
def test_a_repeat_that_comes_to_nothing_is_left_out_and_that_is_said(how: str) -> None:
    def sometimes(trial: Any) -> float:
        value = objective(trial)
        if trial.user_attrs.get(STAGE) == "repeat" and trial.number == 1:
            if how == "fails":
                raise RuntimeError("no memory")
            if how == "prunes":
                raise optuna.TrialPruned
            return float("nan" if how == "nan" else "inf")
        return value

    old = old_study("old.log")
    study = go(scan("old.log"), sometimes, trials=1, repeats=3)
    goal = goal_for(ledger(old), ledger(study), 0.01)
    assert goal is not None
    assert goal.repeats is not None
    assert goal.repeats.asked == 3
    assert goal.repeats.values == tuple(study.trials[n].value for n in (0, 2))
    assert "1 failed or was pruned" in " ".join(goal_lines(goal))
    assert len(staged(study, "repeat")) == 3


def test_if_no_repeat_is_complete_the_goal_is_the_old_best() -> None:
    def fails(trial: Any) -> float:
        if trial.user_attrs.get(STAGE) == "repeat":
            raise RuntimeError("no memory")
        return objective(trial)

    old = old_study("old.log")
    study = go(scan("old.log"), fails, trials=1, repeats=2)
    goal = goal_for(ledger(old), ledger(study), 0.01)
    assert goal is not None
    assert (goal.best, goal.threshold) == (1.0, pytest.approx(1.01))
    assert "none of 2 repeats" in " ".join(goal_lines(goal))


def test_repeats_that_failed_with_everything_else_are_run_again_once_the_objective_is_mended() -> None:
    def broken(trial: Any) -> float:
        raise RuntimeError("no such file")

    old_study("old.log")
    plan = scan("old.log")
    with pytest.raises(ObjectiveError, match="no such file"):
        go(plan, broken, trials=4, repeats=2)
    study = go(plan, trials=6, repeats=2, agree=yes)
    assert len(study.user_attrs[GOAL]["values"]) == 2
    assert len(staged(study, "repeat")) == 4
    assert go(plan, trials=6, repeats=2, agree=yes).user_attrs[GOAL] == study.user_attrs[GOAL]


def test_a_pruner_never_prunes_a_repeat() -> None:
    def pruned(trial: Any) -> float:
        net = make(trial)
        trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=trial.suggest_float("lr", 1e-5, 1.0, log=True))
        for step in range(4):
            trial.report(train(optimizer, net, 2) + trial.number, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return train(optimizer, net, 2)

    old_study("old.log")
    study = go(scan("old.log"), pruned, trials=8, repeats=3, pruner="median", confirm=False)
    assert [trial.state for trial in staged(study, "repeat")] == [TrialState.COMPLETE] * 3
    assert {trial.state for trial in searched(study)} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_an_old_best_without_a_rate_is_repeated_with_what_it_had() -> None:
    """The rate is conditional: the best trial trained with another optimizer."""
    names = CategoricalDistribution(["sgd", "adam"])
    old = optuna.create_study(study_name="old", storage=JournalStorage(JournalFileBackend("old.log")))
    spaces: dict[str, Any] = {"name": names, "sgd_lr": RATE}
    for i, value in enumerate([5.0, 4.0, 3.0]):
        params = {"name": "sgd", "sgd_lr": 0.01 * (i + 1)}
        old.add_trial(create_trial(value=value, params=params, distributions=spaces))
    adam = {"name": names, "adam_lr": FloatDistribution(1e-4, 1e-1, log=True)}
    for rate, value in ((0.02, 6.0), (0.033, 1.0)):
        params = {"name": "adam", "adam_lr": rate}
        old.add_trial(create_trial(value=value, params=params, distributions=adam))
    plan = scan("old.log")
    best = OldBest.of(ledger(old), plan.placeholders, 2)
    assert best is not None
    assert best.params == {"name": "adam"}
    assert best.rates == {"sgd_lr": plan.placeholders["sgd_lr"], "adam_lr": 0.033}

    def conditional(trial: Any) -> float:
        net = torch.nn.Linear(4, 1)
        if trial.suggest_categorical("name", ["sgd", "adam"]) == "sgd":
            lr = trial.suggest_float("sgd_lr", 1e-5, 1.0, log=True)
            return train(torch.optim.SGD(net.parameters(), lr=lr), net)
        lr = trial.suggest_float("adam_lr", 1e-4, 1e-1, log=True)
        return train(torch.optim.Adam(net.parameters(), lr=lr), net)

    study = go(plan, conditional, trials=1, repeats=2)
    for trial in staged(study, "repeat"):
        assert {point.rate for point in recorded(trial).learning_rate} == {0.033}


def test_the_number_of_repeats_stays_whatever_is_asked_for_later() -> None:
    old_study("old.log")
    plan = scan("old.log")
    go(plan, trials=1, repeats=2)
    goal = load().user_attrs[GOAL]
    study = go(plan, trials=2, repeats=5, agree=yes)
    assert len(staged(study, "repeat")) == 2
    assert study.user_attrs[GOAL] == goal


def test_a_search_that_began_without_repeats_gets_none() -> None:
    old_study("old.log")
    plan = scan("old.log")
    go(plan, trials=1)
    study = go(plan, trials=2, repeats=3, confirm=False)
    assert not staged(study, "repeat")
    assert GOAL not in study.user_attrs


def test_an_interrupted_repeat_is_run_again_and_counts_once() -> None:
    calls: list[int] = []

    def interrupted(trial: Any) -> float:
        calls.append(trial.number)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return objective(trial)

    old_study("old.log")
    plan = scan("old.log")
    whole = go(plan, into="whole.log", trials=2, repeats=3)
    with pytest.raises(KeyboardInterrupt):
        go(plan, interrupted, trials=2, repeats=3)
    assert GOAL not in load().user_attrs
    study = go(plan, trials=2, repeats=1, agree=yes)
    assert study.user_attrs[GOAL] == whole.user_attrs[GOAL]
    complete = [t for t in staged(study, "repeat") if t.state == TrialState.COMPLETE]
    assert sorted(t.user_attrs[TICKET] for t in complete) == [2**31, 2**31 + 1, 2**31 + 2]
    assert [(t.params, t.value) for t in searched(study)] == [(t.params, t.value) for t in searched(whole)]


def test_repeats_0_leave_nothing_behind(folder: Path) -> None:
    old_study("old.log")
    study = go(scan("old.log"), trials=2, repeats=0)
    assert len(study.trials) == 2
    assert GOAL not in study.user_attrs
    assert not any(trial.system_attrs for trial in study.trials)
