"""What is compared beside trainings: refusals, a smaller study, fits of the estimators."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from spelling import EVENT_KINDS, NEW_EVENTS, find, spelled
from torch import nn

__all__ = ["estimator", "refusals", "smaller_study"]

WORDS = {"assumption", "evidence", "method", "next", "note", "reason", "risk", "stopped_because", "why"}
TIMES = {"hours", "baseline_hours", "shrunk_hours", "hours_percent"}
PLACE_AND_VERSION = {"galatune_process", "machine", "options", "plan", "versions"}


def refusals() -> list[str]:
    """Kinds of what is raised for optimizers and options that are refused."""
    p = [nn.Parameter(torch.ones(2))]
    twice = torch.optim.SGD(p, lr=0.1)
    keep = find("attach")(twice)
    cases: list[tuple[Any, dict[str, Any]]] = [
        *((getattr(torch.optim, kind)(p), {}) for kind in ("LBFGS", "SparseAdam", "Rprop")),
        (torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=1.0), {}),
        (twice, {}),
        *((torch.optim.SGD(p, lr=0.1), {"probe": name}) for name in ("none", 3)),
        (torch.optim.SGD(p, lr=0.1), {"min_lr": 2.0, "max_lr": 1.0}),
        (torch.optim.SGD(p, lr=0.1), {"alignment": "previous_update", "probe": "echo"}),
    ]
    raised = []
    for optimizer, options in cases:
        try:
            find("attach")(optimizer, **spelled(options))
        except Exception as error:
            raised.append(type(error).__name__)
        else:
            raised.append("nothing")
    keep.detach()
    return raised


OBJECTIVE = """
import optuna
import torch

def objective(trial):
    width = trial.suggest_categorical("width", [2, 4, 8])
    net = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    rate = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 80)
    x = torch.linspace(-1, 1, 128).reshape(32, 4)
    for step in range(80):
        optimizer.zero_grad()
        loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        schedule.step()
    return loss.item()

if __name__ == "__main__":
    torch.manual_seed(0)
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(study_name="old", storage="sqlite:///old.db", sampler=sampler)
    study.optimize(objective, n_trials=8)
"""


def smaller_study() -> dict[str, Any]:
    """An old study, `galatune scan`, `run` and `report` of it, and every trial that was run."""
    import optuna

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "objective.py").write_text(OBJECTIVE)
        run = functools.partial(subprocess.run, cwd=folder, check=True, capture_output=True, text=True)
        run([sys.executable, "objective.py"])
        galatune = [sys.executable, "-m", "galatune"]
        commands = {
            "scan": ["scan", "old.db"],
            "run": ["run", "old.db", "objective.py:objective", "--trials", "8", "--seed", "3", "--yes"],
            "report": ["report", "old.db"],
        }
        found = {name: json.loads(run([*galatune, *c, "--json"]).stdout) for name, c in commands.items()}
        study = optuna.load_study(study_name="old-gala", storage=f"sqlite:///{folder}/old-gala.db")
        found["study"] = study.user_attrs
        found["trials"] = [[t.state.name, t.values, t.params, t.user_attrs] for t in study.trials]
    for *_, attributes in found["trials"]:
        events = attributes["galatune"]["events"]
        kinds = [(which, n, EVENT_KINDS.get(kind, kind)) for which, n, kind, _ in events]
        attributes["galatune"]["events"] = [event for event in kinds if event[2] not in NEW_EVENTS]
    return measured(found)


def measured(value: Any) -> Any:
    """Without words, times, machines and versions."""
    if isinstance(value, list | tuple):
        return [measured(item) for item in value]
    if not isinstance(value, dict):
        return value
    left_out = WORDS | TIMES | PLACE_AND_VERSION
    kept = {k: v for k, v in value.items() if k not in left_out and not (k == "saved" and isinstance(v, str))}
    return {key: measured(item) for key, item in kept.items()}


def estimator(kind: str) -> dict[str, Any]:
    """One fit to scikit-learn's digits."""
    from sklearn.datasets import load_digits

    table, target = load_digits(return_X_y=True)
    model = find(kind)(hidden_layer_sizes=(32, 16), max_iter=4, random_state=0).fit(table[:800], target[:800])
    curves = ("n_iter_", "loss_curve_", "validation_scores_", "learning_rate_curve_")
    predict = model.predict_proba if kind == "GalaClassifier" else model.predict
    return {"predictions": predict(table[800:900]).tolist(), **{c: getattr(model, c) for c in curves}}
