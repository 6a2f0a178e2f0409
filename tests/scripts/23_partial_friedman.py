"""Friedman #2 regression with a residual MLP."""
from __future__ import annotations

from functools import partial
from typing import Any

import optuna
import torch
from sklearn.datasets import make_friedman2
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.lin = nn.Linear(dim, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(torch.relu(self.lin(self.norm(x))))


def get_data(seed: int) -> dict[str, Tensor]:
    X, y = make_friedman2(n_samples=700, noise=10.0, random_state=seed)
    X = StandardScaler().fit_transform(X)
    y = (y - y.mean()) / y.std()
    X_t, y_t = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    return {"x_train": X_t[:500], "y_train": y_t[:500], "x_val": X_t[500:], "y_val": y_t[500:]}


def objective(trial: optuna.Trial, data: dict[str, Tensor], epochs: int, device: torch.device) -> float:
    dim = trial.suggest_int("dim", 8, 32, step=8)
    n_blocks = trial.suggest_int("n_blocks", 1, 2)
    dropout = trial.suggest_float("dropout", 0.0, 0.2)
    lr = trial.suggest_float("lr", 1e-4, 5e-2, log=True)
    model = nn.Sequential(
        nn.Linear(4, dim), *[Block(dim, dropout) for _ in range(n_blocks)], nn.Linear(dim, 1)
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    x, y = data["x_train"].to(device), data["y_train"].to(device)
    for epoch in range(epochs):
        model.train()
        for idx in torch.randperm(len(x)).split(100):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x[idx]).squeeze(-1), y[idx])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val = nn.functional.mse_loss(model(data["x_val"].to(device)).squeeze(-1), data["y_val"].to(device))
        trial.report(val.item(), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return val.item()


if __name__ == "__main__":
    torch.manual_seed(1)
    kwargs: dict[str, Any] = {"epochs": 8, "device": torch.device("cuda" if torch.cuda.is_available() else "cpu")}
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=2))
    study.optimize(partial(objective, data=get_data(1), **kwargs), n_trials=8)
    print(study.best_trial.value, study.best_trial.params)
