"""Trials whose optimizer sets its own step use no budget, and a run of nothing else ends."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial
from tiny_search import RATE, go, train

from galatune.errors import ObjectiveError, SelfTuningError
from galatune.study.ledger.attributes import OWN_STEP, REASON
from galatune.study.ledger.rows import ledger
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search.own_step import choice_of
from galatune.study.search.summary import RunSummary

pytestmark = pytest.mark.usefixtures("folder")

OPTIMIZER = CategoricalDistribution(["sgd", "Prodigy"])


class Prodigy(torch.optim.SGD):
    """Stands for an optimizer that sets its own step."""


@pytest.fixture(autouse=True)
def _refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("galatune.controller.controlled")
    controller = module.Controller

    def refusing(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        if isinstance(optimizer, Prodigy):
            raise SelfTuningError("Prodigy sets its own step")
        return controller(optimizer, *args, **kwargs)

    monkeypatch.setattr(module, "Controller", refusing)


@pytest.fixture
def plan(folder: Any) -> ShrinkPlan:
    """Of a study that searched optimizers too."""
    study = optuna.create_study(
        study_name="old",
        storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend("old.log")),
    )
    space = {"lr": RATE, "optimizer": OPTIMIZER}
    for value, name in ((2.0, "sgd"), (1.0, "Prodigy")):
        params = {"lr": 0.01234, "optimizer": name}
        study.add_trial(create_trial(value=value, params=params, distributions=space))
    return scan("old.log")


class Chosen:
    """Trains with the optimizer that the trial says.

    Args:
        names: What it may say.
        factor: Of the rate that Prodigy gets; None if it has one of its own.
    """

    def __init__(self, names: CategoricalDistribution = OPTIMIZER, factor: float | None = 1.0) -> None:
        self.names, self.factor, self.trained = names, factor, 0

    def __call__(self, trial: Any) -> float:
        lr, net = trial.suggest_float("lr", 1e-5, 1.0, log=True), torch.nn.Linear(4, 1)
        if trial.suggest_categorical("optimizer", self.names.choices) == "sgd":
            return train(torch.optim.SGD(net.parameters(), lr=lr), net)
        rate = 1.0 if self.factor is None else self.factor * lr
        value = train(Prodigy(net.parameters(), lr=rate), net)
        self.trained += 1
        return value


def test_its_ticket_is_not_used(plan: ShrinkPlan) -> None:
    function = Chosen()
    study = go(plan, function, trials=8)
    own = [trial for trial in study.trials if OWN_STEP in trial.user_attrs]
    assert own
    assert len(study.trials) == 8 + len(own)
    assert {trial.state for trial in study.trials if trial not in own} == {TrialState.COMPLETE}
    assert {trial.params["optimizer"] for trial in own} == {"Prodigy"}
    assert {trial.user_attrs[OWN_STEP] for trial in own} == {"optimizer=Prodigy"}
    assert {trial.user_attrs[REASON] for trial in own} == {
        "Prodigy sets its own step, so no rate could be controlled, and it trained with lr=0.01234, which is "
        "searched no more; the trial uses no budget. Search it again with --keep lr, or leave "
        "optimizer=Prodigy out"
    }
    assert function.trained == 0, "the trial ends at its first step"
    summary = RunSummary.of(study, "new.log")
    assert summary.own_steps == len(own)
    assert f"({len(own)} with an optimizer that sets its own step, which use no budget)" in summary.text(200)
    assert ledger(study).by_state == {"COMPLETE": 8, "FAIL": len(own)}, "the report counts their time"


def test_a_run_of_nothing_else_ends_with_the_cure(plan: ShrinkPlan) -> None:
    function = Chosen(CategoricalDistribution(["prodigy"]))
    with pytest.raises(
        ObjectiveError, match=r"^20 trials in a row .*--keep lr, or leave optimizer=prodigy out$"
    ):
        go(plan, function, trials=3)
    assert function.trained == 0


def test_they_are_neither_failures_nor_an_end_of_failures(plan: ShrinkPlan) -> None:
    function = Chosen()

    def failing(trial: Any) -> float:
        value = function(trial)
        raise ValueError(f"whatever {value}")

    with pytest.raises(ObjectiveError, match=r"5 trials in a row failed.*whatever"):
        go(plan, failing, trials=30)
    study = optuna.load_study(
        study_name="old-gala",
        storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend("new.log")),
    )
    assert sum(OWN_STEP not in trial.user_attrs for trial in study.trials) == 5
    assert any(OWN_STEP in trial.user_attrs for trial in study.trials)


def test_patience_does_not_see_them(plan: ShrinkPlan) -> None:
    study = go(plan, Chosen(), trials=30, patience=4)
    counted = [trial for trial in study.trials if OWN_STEP not in trial.user_attrs]
    best = min(range(len(counted)), key=lambda i: counted[i].value)
    assert len(counted) == best + 1 + 4 < len(study.trials)


def test_a_rate_of_its_own_beside_a_controlled_optimizer_counts(plan: ShrinkPlan) -> None:
    def both(trial: Any) -> float:
        lr, net, extra = (
            trial.suggest_float("lr", 1e-5, 1.0, log=True),
            *(torch.nn.Linear(4, 1) for _ in "ab"),
        )
        trial.suggest_categorical("optimizer", OPTIMIZER.choices)
        value = train(torch.optim.SGD(net.parameters(), lr=lr), net)
        return value + train(Prodigy(extra.parameters(), lr=1.0), extra)

    study = go(plan, both, trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


def test_one_that_follows_beside_a_controlled_optimizer_does_not_count(plan: ShrinkPlan) -> None:
    def both(trial: Any) -> float:
        lr, net, extra = (
            trial.suggest_float("lr", 1e-5, 1.0, log=True),
            *(torch.nn.Linear(4, 1) for _ in "ab"),
        )
        value = train(torch.optim.SGD(net.parameters(), lr=lr), net)
        return value + train(Prodigy(extra.parameters(), lr=3 * lr), extra)

    with pytest.raises(ObjectiveError, match=r"or leave Prodigy out$"):
        go(plan, both, trials=2)


def test_a_rate_of_its_own_alone_controls_nothing(plan: ShrinkPlan) -> None:
    study = go(plan, Chosen(factor=None), trials=4)
    own = [trial for trial in study.trials if OWN_STEP in trial.user_attrs]
    assert {trial.params["optimizer"] for trial in own} == {"Prodigy"}
    assert len(study.trials) == 4 + len(own)


@pytest.mark.parametrize("end", [lambda: 1.0, lambda: 1 / 0, lambda: float("nan")])
def test_an_objective_that_catches_the_stop_is_told_the_same(
    plan: ShrinkPlan, end: Callable[[], float]
) -> None:
    def catching(trial: Any) -> float:
        try:
            Chosen(CategoricalDistribution(["Prodigy"]))(trial)
        except BaseException:
            return end()
        return 0.0

    with pytest.raises(ObjectiveError, match=r"20 trials in a row .*--keep lr"):
        go(plan, catching, trials=2)


@pytest.mark.parametrize(
    ("name", "params", "choice"),
    [
        ("Prodigy", {"opt": "prodigy"}, "opt=prodigy"),
        ("Prodigy", {"model": "mlp", "opt": "prodigyopt"}, "opt=prodigyopt"),
        ("AdamWScheduleFree", {"opt": "schedule-free"}, "opt=schedule-free"),
        ("DAdaptAdam", {"first": "adam", "second": "dadapt_adam"}, "second=dadapt_adam"),
        ("LBFGS", {"width": 4, "opt": "sgd"}, None),
        ("DoG", {"data": "dogs", "opt": "DoG"}, "opt=DoG"),
        ("DoG", {"data": "dogs"}, None),
    ],
)
def test_the_choice_is_named_as_far_as_it_can_be_known(
    name: str, params: dict[str, Any], choice: Any
) -> None:
    assert choice_of(name, params) == choice
