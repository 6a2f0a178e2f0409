import numpy as np
import optuna
import torch
from torch import nn

torch.manual_seed(0)
np.random.seed(0)


def target(x):
    return x ** 3 - 0.5 * x


xs = torch.linspace(-1.5, 1.5, 300)[torch.randperm(300)].view(-1, 1)
ys = target(xs) + 0.05 * torch.randn_like(xs)


def objective(trial):
    lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    width = trial.suggest_int("width", 8, 40)
    batch = trial.suggest_categorical("batch", [20, 40, 60])
    net = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    for epoch in range(8):
        for i in range(0, 240, batch):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(xs[i:i + batch]), ys[i:i + batch])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return nn.functional.mse_loss(net(xs[240:]), ys[240:]).item()


if __name__ == "__main__":
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=5)
    print("after  5:", study.best_value, study.best_params["lr"])

    # a few more
    study.optimize(objective, n_trials=5)
    print("after 10:", study.best_value, study.best_params["lr"])
    assert len(study.trials) == 10
