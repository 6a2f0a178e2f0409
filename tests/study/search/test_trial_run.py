"""Objectives as people write them, each run once under control."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import re
from collections.abc import Callable, Mapping
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState
from tiny_search import RATE, STEPS, make, objective, old_study, train, with_rate

from galatune.errors import ObjectiveError
from galatune.study.ledger.attributes import REASON, RECORD
from galatune.study.ledger.record import TrialRecord
from galatune.study.scan.scan import scan
from galatune.study.search.run import run

pytestmark = pytest.mark.usefixtures("folder")


def once(
    function: Callable[[Any], Any],
    rates: Mapping[str, BaseDistribution] | None = None,
    lr: tuple[str, ...] = (),
    prior: bool = True,
    **settings: Any,
) -> FrozenTrial:
    """One trial of the smaller study."""
    old_study("old.log", rates=rates, **settings)
    plan = scan("old.log", lr=lr)
    study = run(plan, function, into="new.log", trials=1, repeats=0, prior=prior)
    return study.get_trials()[0]


def failed(function: Callable[[Any], Any], **more: Any) -> str:
    """Why the only trial failed."""
    with pytest.raises(ObjectiveError, match=r"every trial failed|ended the run"):
        once(function, **more)
    return str(optuna.load_study(study_name="old-gala", storage=_journal()).trials[0].user_attrs[REASON])


def _journal() -> optuna.storages.JournalStorage:
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend("new.log"))


def record(trial: FrozenTrial) -> TrialRecord:
    found = TrialRecord.from_attribute(trial.user_attrs[RECORD])
    assert found is not None
    return found


def test_an_ordinary_objective_is_controlled_and_its_rate_is_not_stored() -> None:
    trial = once(objective)
    assert trial.state == TrialState.COMPLETE
    assert set(trial.params) == {"width", "weight_decay"}
    assert record(trial).steps == STEPS
    assert [o.reason for o in record(trial).optimizers] == ["its initial rate follows lr"]


@pytest.mark.parametrize(
    ("suggest", "rates"),
    [
        (lambda t: t.suggest_float("lr", 1e-5, 1.0, log=True), {"lr": RATE}),
        (lambda t: t.suggest_float("lr", 1e-5, 1.0, log=True) * 2, {"lr": RATE}),
        (
            lambda t: t.suggest_categorical("lr", [1e-4, 3e-3, 1e-1]),
            {"lr": CategoricalDistribution([1e-4, 3e-3, 1e-1])},
        ),
        (
            lambda t: float(t.suggest_categorical("lr", ["1e-4", "3e-3"])),
            {"lr": CategoricalDistribution(["1e-4", "3e-3"])},
        ),
        (lambda t: 10 ** t.suggest_float("log10_lr", -5, 0), {"log10_lr": FloatDistribution(-5, 0)}),
        (lambda t: math.exp(t.suggest_float("log_lr", -9, 0)), {"log_lr": FloatDistribution(-9, 0)}),
        (lambda t: 10.0 ** -t.suggest_int("lr_exponent", 1, 5), {"lr_exponent": IntDistribution(1, 5)}),
        (lambda t: {"optim": {"lr": t._suggest("lr", RATE)}}["optim"]["lr"], {"lr": RATE}),
        (
            lambda t: argparse.Namespace(lr=t.suggest_float("lr", 1e-5, 1.0, log=True)).lr,
            {"lr": RATE},
        ),
        (
            lambda t: (t.suggest_float("lr", 1e-5, 1.0, log=True), t.params["lr"])[1],
            {"lr": RATE},
        ),
    ],
)
def test_a_rate_is_followed_however_it_is_suggested(
    suggest: Callable[[Any], float], rates: Mapping[str, BaseDistribution]
) -> None:
    trial = once(with_rate(suggest), rates, lr=tuple(rates))
    assert trial.state == TrialState.COMPLETE
    assert "follows" in record(trial).optimizers[0].reason
    assert not set(trial.params) & set(rates)
    assert not set(trial.distributions) & set(rates)


def test_a_rate_scaled_by_the_batch_size_is_followed() -> None:
    trial = once(with_rate(lambda t: t.suggest_float("lr", 1e-5, 1.0, log=True) * math.sqrt(24)))
    assert record(trial).controlled
    assert record(trial).optimizers[0].reason == "its initial rate follows lr"


def test_one_rate_a_group_keeps_their_ratio_in_one_optimizer() -> None:
    def two_groups(trial: Any) -> float:
        net = make(trial)
        rates = [trial.suggest_float(f"lr_{i}", 1e-5, 1.0, log=True) for i in range(2)]
        groups = [{"params": net[2 * i].parameters(), "lr": rates[i]} for i in range(2)]
        return train(torch.optim.Adam(groups), net)

    trial = once(two_groups, {"lr_0": RATE, "lr_1": RATE})
    assert trial.state == TrialState.COMPLETE
    assert set(trial.params) == {"width"}
    assert len(record(trial).optimizers) == 1


def test_two_optimizers_are_both_controlled_and_told_apart() -> None:
    def gan(trial: Any) -> float:
        one, two = make(trial), make(trial)
        g = torch.optim.Adam(one.parameters(), lr=trial.suggest_float("lr_G", 1e-5, 1.0, log=True))
        d = torch.optim.SGD(two.parameters(), lr=trial.suggest_float("lr_D", 1e-5, 1.0, log=True))
        return train(g, one) + train(d, two)

    trial = once(gan, {"lr_G": RATE, "lr_D": RATE})
    assert [(o.name, o.controlled) for o in record(trial).optimizers] == [("Adam", True), ("SGD", True)]
    assert {point.optimizer for point in record(trial).learning_rate} == {0, 1}
    assert record(trial).steps == 2 * STEPS


def test_an_optimizer_that_has_nothing_to_do_with_the_rate_is_left_alone() -> None:
    seen: list[float] = []

    def calibrated(trial: Any) -> float:
        net, temperature = make(trial), torch.nn.Linear(4, 1)
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        value = train(torch.optim.SGD(net.parameters(), lr=lr), net)
        extra = torch.optim.SGD(temperature.parameters(), lr=0.0123)
        train(extra, temperature)
        seen.append(extra.param_groups[0]["lr"])
        return value

    trial = once(calibrated)
    assert trial.state == TrialState.COMPLETE
    alone = [o for o in record(trial).optimizers if not o.controlled]
    assert [o.reason for o in alone] == ["its initial rate 0.0123 does not follow lr"]
    assert seen == [0.0123]


def test_a_training_too_short_for_its_rate_may_grow_it_faster() -> None:
    def short(trial: Any) -> float:
        net = make(trial)
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        return train(torch.optim.AdamW(net.parameters(), lr=lr), net, steps=30)

    def events(**growth: float) -> set[str]:
        study = run(plan, short, into=f"{len(growth)}.log", trials=1, repeats=0, prior=False, **growth)
        return {event.kind for event in record(study.get_trials()[0]).events}

    old_study("old.log")
    plan = scan("old.log")
    assert "short" in events()
    assert "short" not in events(max_growth_per_step=2.0)


def test_the_trial_is_a_trial_in_every_other_respect() -> None:
    def curious(trial: optuna.Trial) -> float:
        assert isinstance(trial, optuna.Trial)
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        assert trial.suggest_float("lr", 1e-5, 1.0, log=True) == lr
        assert trial.params["lr"] == lr
        assert trial.distributions["lr"] == RATE
        trial.set_user_attr("mine", [1, 2])
        assert trial.study.study_name == "old-gala"
        assert trial.number == 0
        net = make(trial)
        value = train(torch.optim.SGD(net.parameters(), lr=lr), net)
        trial.report(value, step=0)
        assert not trial.should_prune()
        return value

    trial = once(curious)
    assert trial.state == TrialState.COMPLETE
    assert trial.user_attrs["mine"] == [1, 2]
    assert list(trial.intermediate_values) == [0]


def test_several_objectives_are_told_as_several() -> None:
    trial = once(lambda t: (objective(t), 5.0), directions=("minimize", "maximize"))
    assert trial.values is not None
    assert trial.values[1] == 5.0


def test_a_trial_pruned_for_its_configuration_before_it_trains_is_pruned() -> None:
    def impossible(trial: Any) -> float:
        make(trial)
        raise optuna.TrialPruned

    assert once(impossible).state == TrialState.PRUNED


def test_a_trial_pruned_on_the_way_is_pruned_and_recorded() -> None:
    def hopeless(trial: Any) -> float:
        objective(trial)
        raise optuna.TrialPruned

    trial = once(hopeless)
    assert trial.state == TrialState.PRUNED
    assert record(trial).steps == STEPS


def raise_valueerror(trial: Any) -> float:
    raise ValueError("out of\nideas")


def leave(trial: Any) -> float:
    raise SystemExit(2)


def only_refused(trial: Any) -> float:
    net = make(trial)
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    return train(torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, dampening=1.0), net)


def _elsewhere(lr: float) -> None:
    net = torch.nn.Linear(4, 1)
    train(torch.optim.SGD(net.parameters(), lr=lr), net, 2)


def in_a_subprocess(trial: Any) -> float:
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    process = multiprocessing.get_context("spawn").Process(target=_elsewhere, args=(lr,))
    process.start()
    process.join()
    return 1.0


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (raise_valueerror, r"ValueError: out of ideas \(test_trial_run.py:\d+\)"),
        (leave, r"SystemExit: 2 \(test_trial_run.py:\d+\)"),
        (lambda t: None, "the objective returned None, not a number"),
        (lambda t: "fine", "the objective returned 'fine', not a number"),
        (lambda t: [1.0, 2.0], "the objective returned 2 values, the study has 1"),
        (lambda t: math.nan, "the objective returned NaN"),
        (lambda t: 10**400, "the objective returned an integer beyond every float"),
        (lambda t: {10**5000}, "the objective returned a set, not a number"),
        (lambda t: torch.ones(2), r"the objective returned tensor\(\[1., 1.\]\), not a number"),
        (lambda t: 1.0, "no torch optimizer stepped in this process"),
        (only_refused, "no learning rate was controlled.*SGD: .*dampening"),
    ],
)
def test_a_trial_fails_with_the_reason(function: Callable[[Any], Any], reason: str) -> None:
    found = failed(function)
    assert re.search(reason, found), found
    assert "\n" not in found


def of_another_study(trial: Any) -> float:
    net = torch.nn.Linear(4, trial.suggest_int("units", 1, 1))
    rate = trial.suggest_float("step_size", 1e-5, 1.0, log=True)
    return train(torch.optim.SGD(net.parameters(), lr=rate), net)


def grown(trial: Any) -> float:
    trial.suggest_float("dropout", 0.0, 0.5)
    return objective(trial)


def settled(trial: Any) -> float:
    net = make(trial)
    return train(torch.optim.SGD(net.parameters(), lr=0.1), net)


def test_an_objective_of_another_study_fails_with_the_reason() -> None:
    assert failed(of_another_study) == (
        "the objective suggests units, step_size, which study 'old' does not have, and no lr: it belongs to "
        "another study"
    )
    study = optuna.load_study(study_name="old-gala", storage=_journal())
    with pytest.raises(ObjectiveError, match=r"5 trials in a row failed.*it belongs to another study"):
        run(scan("old.log"), of_another_study, into="new.log", trials=30, repeats=0)
    assert len(study.trials) == 6


@pytest.mark.parametrize("function", [grown, settled])
def test_an_objective_may_grow_or_settle_its_rate(function: Callable[[Any], float]) -> None:
    assert once(function).state == TrialState.COMPLETE


def test_a_failure_of_its_own_is_the_reason_of_another_studys_objective_too() -> None:
    def broken(trial: Any) -> float:
        of_another_study(trial)
        raise ValueError("its own")

    assert failed(broken).startswith("ValueError: its own")


@pytest.mark.slow
def test_a_training_in_another_process_fails_with_the_reason() -> None:
    assert "in another process" in failed(in_a_subprocess)


def test_an_objective_that_seeds_torch_itself_is_noted() -> None:
    def seeded(trial: Any) -> float:
        torch.manual_seed(5)
        return objective(trial)

    assert [e.reason for e in record(once(seeded)).events if e.kind == "seed"] == [
        "the objective seeds torch itself"
    ]


def test_a_failed_trial_keeps_its_record() -> None:
    def late(trial: Any) -> float:
        objective(trial)
        raise RuntimeError("CUDA out of memory")

    assert "CUDA out of memory" in failed(late)
    study = optuna.load_study(study_name="old-gala", storage=_journal())
    assert record(study.trials[0]).steps == STEPS


def flat(trial: Any) -> float:
    """A loss that is linear in its only parameter."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=trial.suggest_float("lr", 1e-5, 1.0, log=True))
    return _down(parameter, optimizer)


def _down(parameter: torch.Tensor, optimizer: torch.optim.Optimizer, steps: int = STEPS) -> float:
    for _ in range(steps):
        optimizer.zero_grad()
        parameter.sum().backward()
        optimizer.step()
    return float(parameter.detach().sum())


def test_a_training_of_which_nothing_was_seen_fails_with_the_reason() -> None:
    reason = failed(flat, prior=False)
    assert "no learning rate was chosen" in reason
    assert "SGD: " in reason
    assert "no curvature" in reason


def test_a_loss_without_curvature_trains_at_the_rate_of_the_prior() -> None:
    trial = once(flat)
    assert trial.state == TrialState.COMPLETE
    known = record(trial).optimizers[0].prior
    assert known is not None
    assert record(trial).learning_rate[-1].rate == pytest.approx(known[0])
    assert any(event.kind == "flat" for event in record(trial).events)


def test_one_optimizer_of_which_nothing_was_seen_does_not_fail_the_trial() -> None:
    def both(trial: Any) -> float:
        lr, extra = trial.suggest_float("lr", 1e-5, 1.0, log=True), torch.nn.Parameter(torch.ones(3))
        _down(extra, torch.optim.SGD([extra], lr=lr))
        net = make(trial)
        return train(torch.optim.SGD(net.parameters(), lr=lr), net)

    trial = once(both, prior=False)
    assert trial.state == TrialState.COMPLETE
    assert [event.kind for event in record(trial).events].count("unseen") == 1


def test_a_training_of_two_steps_counts() -> None:
    def short(trial: Any) -> float:
        net = make(trial)
        optimizer = torch.optim.SGD(net.parameters(), lr=trial.suggest_float("lr", 1e-5, 1.0, log=True))
        return train(optimizer, net, steps=2)

    assert once(short).state == TrialState.COMPLETE
