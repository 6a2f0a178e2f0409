"""What a run refuses or asks before it begins, in one line."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest
import tiny_search
import torch
from tiny_search import OBJECTIVE, go, load, objective, objective_file, old_study, train, yes

from galatune.errors import ControlError, GalatuneError, ObjectiveError, PlanError, StorageError
from galatune.study.ledger.attributes import RECORD
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search.fingerprint import Fingerprint
from galatune.study.search.objective import imported
from galatune.study.search.options import RunOptions
from galatune.study.search.run import run
from galatune.study.storage.journal import WholeJournal

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"min_lr": 0.2, "max_lr": 0.1}, ControlError, "min_lr"),
        ({"min_lr": float("inf")}, PlanError, "--min-lr"),
        ({"min_lr": float("nan")}, GalatuneError, "min"),
        ({"max_lr": 0.0}, ControlError, "max_lr"),
        ({"step_scale": -1.0}, ControlError, "step_scale"),
        ({"max_growth_per_step": 0.5}, ControlError, "max_growth_per_step"),
        ({"probe": "none"}, ControlError, "probe"),
        ({"seed": -1}, PlanError, "--seed"),
        ({"seed": 2**32}, PlanError, "--seed"),
        ({"trials": 0}, PlanError, "--trials"),
        ({"into": "old.log"}, PlanError, "--into"),
    ],
)
def test_a_contradiction_is_said_before_anything_is_made(
    plan: ShrinkPlan, folder: Path, given: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        go(plan, **given)
    assert [path.name for path in folder.iterdir()] == ["old.log"]


pytestmark = pytest.mark.usefixtures("folder")


def test_a_study_without_learning_rates_names_the_way_out(folder: Path) -> None:
    old_study("old.log", rates={})
    with pytest.raises(PlanError, match=r"no learning rate.*width, weight_decay.*--lr"):
        go(scan("old.log"))


def only_the_rate(trial: Any) -> float:
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    net = torch.nn.Linear(4, 1)
    return train(torch.optim.SGD(net.parameters(), lr=lr), net)


def test_where_only_the_rate_was_searched_a_few_seeds_are_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_search, "KEPT", {})
    old_study("old.log", [-3.0, -2.0, -1.0, -1.0, -1.0])
    plan = scan("old.log")
    words = (
        r"^study 'old' searched nothing but lr, so every trial would be .*--trials, or --yes for at most 3$"
    )
    with pytest.raises(PlanError, match=words):
        go(plan, only_the_rate)
    assert [path.name for path in folder.iterdir()] == ["old.log"]
    asked: list[str] = []
    study = go(plan, only_the_rate, agree=lambda question: (asked.append(question), True)[1])
    assert asked[0].endswith("Run it at most 3 times?")
    assert len(study.trials) == 3
    assert len({trial.value for trial in study.trials}) == 3, "the seeds differ"
    assert len(go(plan, only_the_rate).trials) == 3, "asked once"
    assert len(go(plan, only_the_rate, trials=4).trials) == 4
    assert [(way.way, way.trials) for way in plan.projected] == [("until-match", 3), ("trials", 2)]


def test_options_and_settings_exclude_each_other(plan: ShrinkPlan) -> None:
    with pytest.raises(TypeError, match="trials"):
        go(plan, options=RunOptions(), trials=2)
    with pytest.raises(TypeError):
        go(plan, triaels=2)


def test_the_name_of_a_study_of_somebody_else_is_refused(plan: ShrinkPlan, folder: Path) -> None:
    old_study("new.log", name="old-gala")
    with pytest.raises(PlanError, match=r"not galatune's.*--name"):
        go(plan)
    assert len(go(plan, name="mine", trials=1).trials) == 1


def test_a_study_of_another_plan_is_refused(plan: ShrinkPlan, folder: Path) -> None:
    go(plan, trials=1)
    with pytest.raises(PlanError, match=r"was made with lr=.* dropped, now it is .*weight_decay.*--name"):
        go(scan("old.log", lr=["weight_decay"]), trials=2)
    old_study("other.log", name="other")
    with pytest.raises(PlanError, match=r"continues 'old', not 'other'.*--name"):
        go(scan("other.log"), name="old-gala", trials=2)


def test_other_options_are_asked_for(plan: ShrinkPlan) -> None:
    go(plan, trials=1)
    changed = {"seed": 3, "max_lr": 0.5}
    with pytest.raises(PlanError, match=r"seed 0 \(now 3\), max_lr not set \(now 0.5\).*--yes.*--name"):
        go(plan, trials=2, **changed)
    asked: list[str] = []

    def answer(yes: bool) -> Callable[[str], bool]:
        return lambda question: (asked.append(question), yes)[1]

    with pytest.raises(PlanError, match="was begun with"):
        go(plan, trials=2, agree=answer(False), **changed)
    assert len(go(plan, trials=2, agree=answer(True), **changed).trials) == 2
    assert len(asked) == 2
    assert asked[0].startswith("Study 'old-gala' was begun with seed 0")
    assert asked[0].endswith("?")
    assert len(go(plan, trials=3, agree=answer(False), **changed).trials) == 3, "now these are its options"


def written(folder: Path, text: str = OBJECTIVE, name: str = "mine.py") -> Callable[[Any], Any]:
    with imported(f"{objective_file(folder, text, name)}:objective") as function:
        return function


def test_an_objective_whose_file_has_changed_is_asked_for(plan: ShrinkPlan, folder: Path) -> None:
    go(plan, written(folder), trials=1)
    assert len(go(plan, written(folder / "moved"), trials=2).trials) == 2, "the same text"
    changed = written(folder, OBJECTIVE.replace("AdamW", "Adam"))
    words = r"^study 'old-gala' was begun with another version of mine.py; continue it .* --yes.*--name$"
    with pytest.raises(PlanError, match=words):
        go(plan, changed, trials=3)
    assert len(go(plan, changed, trials=3, agree=yes).trials) == 3
    assert len(go(plan, changed, trials=4).trials) == 4, "now this is its objective"
    words = r"begun with seed 0 \(now 1\), mine.py:objective \(now tiny_search.py:objective\);"
    with pytest.raises(PlanError, match=words):
        go(plan, trials=5, seed=1)


def test_an_objective_that_only_failed_may_change(plan: ShrinkPlan, folder: Path) -> None:
    with pytest.raises(ObjectiveError, match="every trial failed"):
        go(plan, written(folder, "def objective(trial):\n    return None\n"), trials=1)
    assert len(go(plan, written(folder), trials=2).trials) == 2


def test_an_objective_without_a_file_is_never_asked_for(plan: ShrinkPlan) -> None:
    scope: dict[str, Any] = {}
    exec(OBJECTIVE, scope)
    go(plan, scope["objective"], trials=1)
    assert load().user_attrs[RECORD]["objective"] == {"reference": "objective", "sha256": None}
    assert len(go(plan, trials=2).trials) == 2


class Wrapped:
    def __call__(self, trial: Any) -> float:
        return objective(trial)


@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (Wrapped(), "test_refusals.py:Wrapped"),
        (Wrapped().__call__, "test_refusals.py:Wrapped.__call__"),
        (partial(partial(objective)), "tiny_search.py:objective"),
        (wraps(objective)(lambda trial: objective(trial)), "tiny_search.py:objective"),
        (float, "float"),
    ],
)
def test_the_code_behind_an_objective_is_found(function: Any, reference: str) -> None:
    assert Fingerprint.of(function).reference == reference


def test_another_budget_is_no_other_option(plan: ShrinkPlan) -> None:
    go(plan, trials=1)
    assert len(go(plan, trials=2, patience=9, until_match=True, tolerance=0.0).trials) == 2


@pytest.mark.slow
def test_a_storage_lost_on_the_way_is_one_line(folder: Path) -> None:
    old_study("old.log")
    plan = scan("old.log")

    def breaking(trial: Any) -> float:
        value = objective(trial)
        if trial.number == 1:
            with closing(sqlite3.connect("new.db")) as connection:
                connection.execute("ALTER TABLE trial_user_attributes RENAME TO elsewhere")
                connection.commit()
        return value

    with pytest.raises(StorageError, match=r"Lost .* new.db: no such table.*the same command continues"):
        run(plan, breaking, into="new.db", trials=3)


def test_a_journal_that_cannot_be_written_is_one_line(
    plan: ShrinkPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = WholeJournal._append

    def full(self: Any, lines: bytes) -> None:
        if b'"op_code":6' in lines and len(load().trials) == 2:
            raise OSError(28, "No space left on device")
        append(self, lines)

    monkeypatch.setattr(WholeJournal, "_append", full)
    with pytest.raises(StorageError, match="No space left on device"):
        go(plan, trials=3)


def test_a_password_left_out_of_a_plan_is_asked_for(plan: ShrinkPlan) -> None:
    hidden = replace(plan, storage="postgresql://ada:***@nowhere/old")
    with pytest.raises(PlanError, match=r"source="):
        go(hidden, trials=1)
