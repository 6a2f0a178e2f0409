#!/usr/bin/env python3
import functools
import sys
import traceback

import optuna
import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris


def load(seed):
    X, y = load_iris(return_X_y=True)
    g = torch.Generator().manual_seed(seed)
    perm = torch.randperm(len(X), generator=g)
    X = torch.tensor(X, dtype=torch.float32)[perm]
    y = torch.tensor(y)[perm]
    return (X[:110], y[:110]), (X[110:], y[110:])


def objective(train, test, trial):
    (X, y), (X_test, y_test) = train, test
    lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
    l1 = trial.suggest_float("l1", 1e-6, 1e-2, log=True)
    h = trial.suggest_int("h", 3, 24)
    W1 = (0.5 * torch.randn(4, h)).requires_grad_()
    b1 = torch.zeros(h, requires_grad=True)
    W2 = (0.5 * torch.randn(h, 3)).requires_grad_()
    optimizer = torch.optim.SGD([W1, b1, W2], lr=lr)
    for i in range(100):
        logits = torch.tanh(X @ W1 + b1) @ W2
        loss = F.cross_entropy(logits, y) + l1 * (W1.abs().sum() + W2.abs().sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return F.cross_entropy(torch.tanh(X_test @ W1 + b1) @ W2, y_test).item()


def main():
    torch.manual_seed(0)
    train, test = load(0)
    study = optuna.create_study()
    try:
        study.optimize(functools.partial(objective, train, test), n_trials=7)
    except Exception:
        traceback.print_exc()
        return 1
    print(study.best_trial.params)
    return 0


if __name__ == "__main__":
    sys.exit(main())
