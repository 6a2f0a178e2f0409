"""The recipes of docs/recipes.md run as they stand."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path

import optuna
import pytest
import torch

from galatune.study.ledger.attributes import LR_FINAL, LR_PEAK, RECORD
from galatune.study.ledger.record import TrialRecord

from .training import load

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## (.+?)\n.*?```python\n(.*?)```", PAGE, flags=re.MULTILINE | re.DOTALL))


def run(title, *needed):
    """What the names of a recipe are at its end."""
    for package in needed:
        load(package)
    torch.manual_seed(0)
    names = {"__name__": "recipe"}
    exec(compile(RECIPES[title], f"docs/recipes.md, {title}", "exec"), names)
    return names


def assert_controlled(study, *searched):
    trials = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    assert trials
    for trial in trials:
        assert set(trial.params) == set(searched)
        assert TrialRecord.from_attribute(trial.user_attrs[RECORD]).controlled
        assert 0 < trial.user_attrs[LR_FINAL] <= trial.user_attrs[LR_PEAK] < 10


def test_every_recipe_is_tried():
    assert len(RECIPES) == PAGE.count("```python") == len(re.findall("^## ", PAGE, flags=re.MULTILINE))
    tried = re.findall(r'run\("(.+?)"', Path(__file__).read_text(encoding="utf-8"))
    assert sorted(RECIPES) == sorted(tried)


def test_lightning():
    names = run("Lightning", "lightning")
    (controller,) = names["callback"].controllers
    assert controller.steps == names["trainer"].global_step == 5 * 29
    logged = names["trainer"].callback_metrics["lr-Adam-applied"].item()
    assert logged in [pytest.approx(rate) for _, rate in controller.rate_curve.points()]
    assert names["trainer"].callback_metrics["train_loss"] < 0.07


def test_transformers():
    names = run("Transformers", "transformers")
    (controller,) = names["callback"].controllers
    assert controller.steps == names["trainer"].state.global_step == 128
    entries = [one for one in names["trainer"].state.log_history if "learning_rate" in one]
    curve = dict(controller.rate_curve.points())
    assert entries
    assert all(one["learning_rate_applied"] == pytest.approx(curve[one["step"]]) for one in entries)


def test_hyperparameter_search(capfd):
    study = run("Transformers' hyperparameter search", "transformers")["study"]
    assert_controlled(study, "weight_decay")


def test_accelerate():
    accelerate = load("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    names = run("Accelerate", "accelerate")
    assert names["controller"].steps == 20 * 8
    assert names["loss"].item() < 0.05


def test_skorch():
    names = run("skorch", "skorch")
    assert names["net"].history[-1, "lr_applied"] > 0
    assert names["net"].history[-1, "valid_acc"] > 0.8


def test_search_of_scikit_learn():
    names = run("OptunaSearchCV", "optuna_integration", "skorch")
    assert_controlled(names["study"], "optimizer__weight_decay", "module__hidden")
    best = names["search"].best_estimator_
    assert best.history[-1, "lr_applied"] > 1e-5
    assert names["search"].best_score_ > 0.6


def test_darts():
    names = run("Darts", "darts")
    (controller,) = names["callback"].controllers
    assert controller.steps == 5 * 9
    assert isinstance(names["callback"], load("pytorch_lightning").Callback)
    assert names["model"].predict(6).values().shape == (6, 1)


def test_reinforcement_learning():
    names = run("stable-baselines3", "stable_baselines3", "gymnasium")
    (controller,) = names["capture"].controllers
    assert controller.steps == names["model"]._n_updates * 2
    assert 1e-4 <= controller.learning_rate <= 1e-3


def test_graph_networks():
    names = run("PyTorch Geometric", "torch_geometric")
    assert names["controller"].steps == 60
    assert names["loss"].item() < 1.0


def test_dashboard():
    load("plotly")
    dashboard = load("optuna_dashboard")
    study = run("optuna-dashboard", "optuna_dashboard")["study"]
    app = dashboard.wsgi(study._storage)

    def asked(path):
        environment = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": BytesIO()}
        return json.loads(b"".join(app(environment, lambda *_: None)))

    detail = asked(f"/api/studies/{study._study_id}")
    sortable = {one["key"]: one["sortable"] for one in detail["union_user_attrs"]}
    assert sortable[LR_PEAK] is True
    assert sortable[LR_FINAL] is True
    shown = {one["key"]: one["value"] for one in detail["trials"][0]["user_attrs"]}
    assert float(shown[LR_PEAK]) == study.trials[0].user_attrs[LR_PEAK]
    (plot,) = detail["plotly_graph_objects"]
    assert plot["id"] == "learning-rate"
    assert len(json.loads(plot["graph_object"])["data"]) == 2
