"""A trial whose optimizer is made anew: each is listed, and what it cost is counted once."""

from __future__ import annotations

import json

import optuna
import torch

import galatune

X = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))


def objective(trial: optuna.Trial) -> float:
    rate, width = trial.suggest_float("lr", 1e-3, 1, log=True), trial.suggest_int("width", 4, 8)
    net = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
    loss = torch.zeros(())
    for _ in range(30):
        optimizer = torch.optim.SGD(net.parameters(), lr=rate)
        loss = (net(X) - X.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_steps_are_counted_once(tmp_path) -> None:
    old, new = f"sqlite:///{tmp_path}/old.db", f"sqlite:///{tmp_path}/new.db"
    sampler = optuna.samplers.RandomSampler(seed=1)
    optuna.create_study(study_name="anew", storage=old, sampler=sampler).optimize(objective, n_trials=5)
    (trial,) = galatune.run(galatune.scan(old), objective, into=new, trials=1, repeats=0).trials
    record = trial.user_attrs["galatune"]
    assert len(record["optimizers"]) == 20
    assert all(one["controlled"] for one in record["optimizers"])
    assert record["steps"] == 30
    assert [step for _, step, _ in record["learning_rate"]] == list(range(1, 31))
    assert record["gradient_evaluations"] == 30 + 3 * record["probes"]
    assert len(json.dumps(record)) < 32_000
