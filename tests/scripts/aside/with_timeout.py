import time

import optuna
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

TIMEOUT = 1.5  # seconds
WARMUP = 10

digits = load_digits()
X = torch.tensor(digits.data / 16.0, dtype=torch.float32)
Y = torch.tensor(digits.target)


def train(lr, hidden):
    model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARMUP))
    for epoch in range(6):
        for idx in torch.randperm(1400).split(50):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(X[idx]), Y[idx])
            loss.backward()
            optimizer.step()
            scheduler.step()
    with torch.no_grad():
        return (model(X[1400:]).argmax(1) == Y[1400:]).float().mean().item()


def objective(trial):
    start = time.perf_counter()
    lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    hidden = trial.suggest_int("hidden", 32, 96)
    acc = train(lr, hidden)
    trial.set_user_attr("seconds", time.perf_counter() - start)
    return acc


if __name__ == "__main__":
    torch.manual_seed(0)
    print("baseline", train(lr=0.01, hidden=64))
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, timeout=TIMEOUT)
    print(len(study.trials), "trials in", TIMEOUT, "s")
    print("best accuracy", study.best_value, "with", study.best_params)
