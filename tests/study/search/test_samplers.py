"""`run --sampler`: other samplers than TPE, and the grid of an old study without its rate."""

from __future__ import annotations

import importlib.util
import itertools
from typing import Any

import click
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from tiny_search import RATE, go, load, make, objective, old_study, outcome, train, yes

from galatune.cli import main
from galatune.errors import PlanError
from galatune.study.ledger.provenance import Provenance
from galatune.study.scan.grid import Grid, grid_of
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search.sampler import SAMPLERS, SeededSampler, sampler_for

pytestmark = pytest.mark.usefixtures("folder")

HERE = [
    pytest.param(name, marks=pytest.mark.skipif(name == "cmaes" and missing, reason="cmaes is not installed"))
    for missing in [importlib.util.find_spec("cmaes") is None]
    for name in SAMPLERS
]


@pytest.mark.parametrize("sampler", HERE)
def test_an_interrupted_run_draws_what_it_would_have_drawn(sampler: str, interruptible: None) -> None:
    old_study("old.log")
    plan, calls = scan("old.log"), []
    count = 13 if sampler == "gp" else 6  # gp draws at random before
    whole = go(plan, cheap, trials=count, sampler=sampler, name="whole")
    assert len({repr(trial.params) for trial in whole.trials}) == count

    def interrupted(trial: Any) -> float:
        calls.append(trial.number)
        value = cheap(trial)
        if len(calls) in (1, 4):
            raise KeyboardInterrupt
        return value

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            go(plan, interrupted, trials=count, sampler=sampler)
    go(plan, interrupted, trials=count, sampler=sampler)
    assert outcome(load()) == outcome(whole)


def cheap(trial: Any) -> float:
    """One step of training, and a value that a sampler can learn from."""
    net = make(trial)
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    import torch

    train(torch.optim.SGD(net.parameters(), lr=lr), net, 2)
    return float(decay)


@pytest.mark.parametrize("sampler", HERE)
def test_the_name_of_the_sampler_is_kept(sampler: str) -> None:
    old_study("old.log")
    study = go(scan("old.log"), trials=1, sampler=sampler)
    kept = Provenance.of(study)
    assert kept.sampler is not None
    assert kept.sampler.lower().startswith(sampler.replace("-", ""))
    assert kept.options["sampler"] == sampler


def test_the_default_draws_what_it_drew_before() -> None:
    study = optuna.create_study(sampler=SeededSampler(3))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    other = optuna.create_study(sampler=SeededSampler(3, "tpe"))
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert [trial.params for trial in study.trials] == [trial.params for trial in other.trials]


@pytest.mark.parametrize("sampler", ["random", "qmc", "nsgaii", "tpe"])
def test_a_finite_space_is_drawn_once_by_each_of_them(sampler: str) -> None:
    study = optuna.create_study(sampler=SeededSampler(1, sampler))
    study.optimize(lambda t: t.suggest_int("a", 0, 2) + t.suggest_int("b", 0, 1), n_trials=6)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 6


def test_a_sampler_of_optunas_is_used_as_it_is() -> None:
    old_study("old.log")
    given = optuna.samplers.RandomSampler(seed=8)
    study = go(scan("old.log"), trials=2, sampler=given)
    assert Provenance.of(study).sampler == "RandomSampler"
    assert study.sampler is given or getattr(study.sampler, "inner", None) is given


def test_several_objectives_take_what_knows_them() -> None:
    old_study("old.log", directions=("minimize", "minimize"))
    plan = scan("old.log")
    study = go(plan, lambda t: (objective(t), 1.0), trials=2, sampler="nsgaii")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2


@pytest.mark.skipif(importlib.util.find_spec("cmaes") is not None, reason="cmaes is installed")
def test_a_package_that_is_missing_is_named() -> None:
    old_study("old.log")
    with pytest.raises(PlanError, match="--sampler cmaes needs the package cmaes, which is not installed"):
        go(scan("old.log"), sampler="cmaes")


def test_cmaes_refuses_several_objectives(monkeypatch: pytest.MonkeyPatch) -> None:
    old_study("old.log", directions=("minimize", "minimize"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(PlanError, match="--sampler cmaes knows one objective, however: the study has 2"):
        sampler_for("cmaes", scan("old.log"), 0)


def test_what_is_no_sampler_is_refused() -> None:
    old_study("old.log")
    with pytest.raises(PlanError, match=r"--sampler must be one of tpe, .*, grid, however: 'best'"):
        go(scan("old.log"), sampler="best")
    with pytest.raises(PlanError, match="--sampler grid rebuilds the grid of an old study, however: 'old'"):
        go(scan("old.log"), sampler="grid")


def test_another_sampler_in_the_middle_is_asked_for() -> None:
    old_study("old.log")
    go(scan("old.log"), trials=1)
    with pytest.raises(PlanError, match=r"begun with sampler not set \(now random\)"):
        go(scan("old.log"), trials=2, sampler="random")
    assert len(go(scan("old.log"), trials=2, sampler="random", agree=yes).trials) == 2


def test_the_command_line_knows_the_same_names() -> None:
    kind = next(p for p in main.commands["run"].params if p.name == "sampler").type
    assert isinstance(kind, click.Choice)
    assert list(kind.choices) == [*SAMPLERS, "grid"]


@pytest.mark.parametrize("sampler", ["random", "qmc", None])
def test_a_pruner_ends_trials_whatever_draws_them(sampler: str | None) -> None:
    old_study("old.log")

    def reporting(trial: Any) -> float:
        import torch

        net = make(trial)
        optimizer = torch.optim.SGD(net.parameters(), lr=trial.suggest_float("lr", 1e-5, 1.0, log=True))
        for step in range(30):
            train(optimizer, net, 2)
            trial.report(float(trial.number), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(trial.number)

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    study = go(scan("old.log"), reporting, trials=4, sampler=sampler, pruner=pruner)
    assert [trial.state for trial in study.trials][2:] == [TrialState.PRUNED] * 2


# -- the grid

GRID: dict[str, list[Any]] = {"width": [2, 4, 8], "weight_decay": [1e-5, 1e-3], "lr": [0.1, 0.01, 0.001]}


def old_grid(
    trials: int = 18, file: str = "old.log", grid: dict[str, list[Any]] | None = None
) -> optuna.Study:
    """A study that GridSampler has drawn, as Optuna makes it."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(file))
    sampler = optuna.samplers.GridSampler(GRID if grid is None else grid, seed=0)
    study = optuna.create_study(study_name="old", storage=storage, sampler=sampler)

    def quick(trial: Any) -> float:
        width = trial.suggest_categorical("width", [2, 4, 8])
        decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
        return float(width + decay + trial.suggest_float("lr", 1e-5, 1.0, log=True))

    study.optimize(quick, n_trials=trials)
    return study


def cells(study: optuna.Study) -> list[tuple[Any, ...]]:
    trials = [t for t in study.trials if t.state == TrialState.COMPLETE]
    return sorted(tuple(t.params[n] for n in ("width", "weight_decay")) for t in trials)


EVERY = sorted(itertools.product(GRID["width"], GRID["weight_decay"]))


def test_a_grid_is_rebuilt_without_the_rate_and_each_cell_tried_once() -> None:
    old_grid()
    plan = scan("old.log")
    assert plan.grid == Grid({"weight_decay": [1e-5, 1e-3], "width": [2, 4, 8]}, 6, 18)
    assert "GridSampler: a grid of 6 cells without the rate instead of 18." in plan.text(width=200)
    assert ShrinkPlan.from_json(plan.to_json()).grid == plan.grid
    assert plan.projected[0].trials == 6

    study = go(plan, until_match=False, tolerance=0.0, trials=6)
    assert cells(study) == EVERY
    assert Provenance.of(study).sampler == "GridSampler"


def test_without_a_number_of_trials_it_ends_with_the_grid() -> None:
    old_grid()

    def never(trial: Any) -> float:
        return objective(trial) + 100

    study = go(scan("old.log"), never)
    assert cells(study) == EVERY
    assert str(Provenance.of(study).stopped_because).startswith(
        "all 6 configurations were tried; more trials"
    )


def test_more_trials_begin_the_grid_again() -> None:
    old_grid()
    study = go(scan("old.log"), trials=9)
    found = cells(study)
    assert len(found) == 9
    assert sorted(set(found)) == EVERY


def test_an_interrupted_grid_leaves_no_cell_out(interruptible: None) -> None:
    old_grid()
    plan, calls = scan("old.log"), []

    def interrupted(trial: Any) -> float:
        calls.append(trial.number)
        if len(calls) in (1, 4):
            trial.suggest_categorical("width", [2, 4, 8])
            raise KeyboardInterrupt
        return objective(trial)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            go(plan, interrupted, trials=6)
    assert cells(go(plan, interrupted, trials=6)) == EVERY
    assert outcome(load()) == outcome(go(plan, trials=6, name="whole"))


def test_a_warm_start_takes_its_cells_out_of_the_grid() -> None:
    old_grid()
    study = go(scan("old.log"), trials=6, warm_start=2)
    assert cells(study) == EVERY


def test_another_sampler_may_be_asked_for() -> None:
    old_grid()
    study = go(scan("old.log"), trials=1, sampler="tpe")
    assert Provenance.of(study).sampler == "TPESampler"


def test_a_grid_of_rates_alone_leaves_nothing_to_rebuild() -> None:
    assert grid_of([_drawn({"lr": [0.1, 0.01]})], ["lr"]) is None
    assert grid_of([_drawn({"width": [1, 2]})], ["lr"]) is None
    assert grid_of([_drawn("broken")], ["lr"]) is None
    assert grid_of([create_trial(value=1.0)], ["lr"]) is None


def _drawn(values: Any) -> optuna.trial.FrozenTrial:
    return create_trial(value=1.0, system_attrs={"grid_id": 0, "search_space": values})


def test_a_cell_is_found_by_its_values() -> None:
    grid = Grid({"a": [1, 2.5], "b": [True, None, "x"]}, 6, 12)
    every = [grid.cell(place) for place in range(6)]
    assert [grid.places(cell) for cell in every] == [[place] for place in range(6)]
    assert grid.places({"a": 1.0, "b": "x"}) == [2]
    assert grid.places({"a": 3, "b": "x"}) == []
    assert grid.places({"a": 1}) == []
    assert grid.places({"a": 1, "b": 1}) == []


def test_what_the_grid_does_not_hold_is_drawn_and_what_is_conditional_is_left_out() -> None:
    old = optuna.create_study(study_name="old", storage="sqlite:///old.db")
    spaces = {"width": CategoricalDistribution([2, 4]), "lr": RATE}
    values = {"search_space": {"width": [2, 4], "deep": [1, 2], "lr": [0.1]}, "grid_id": 0}
    old.add_trial(
        create_trial(value=1.0, params={"width": 2, "lr": 0.1}, distributions=spaces, system_attrs=values)
    )

    def branching(trial: Any) -> float:
        import torch

        width = trial.suggest_categorical("width", [2, 4])
        if width == 4:
            trial.suggest_int("deep", 1, 2)
        trial.suggest_float("new", 0, 1)
        net = torch.nn.Linear(4, 1)
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        return train(torch.optim.SGD(net.parameters(), lr=lr), net)

    study = go(scan("old.db"), branching, trials=4)
    found = sorted((t.params["width"], t.params.get("deep", 0)) for t in study.trials)
    assert found == [(2, 0), (2, 0), (4, 1), (4, 2)]
    assert len({t.params["new"] for t in study.trials}) == 4
    assert isinstance(study.trials[0].distributions["new"], FloatDistribution)
