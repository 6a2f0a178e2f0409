import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import optuna
import torch
from torch import nn


def main():
    torch.manual_seed(0)
    x = torch.linspace(-math.pi, math.pi, 256).unsqueeze(1)
    y = torch.sin(2 * x) + 0.1 * torch.randn_like(x)
    perm = torch.randperm(256)
    tr, va = perm[:200], perm[200:]

    models = {}

    def objective(trial):
        n_layers = trial.suggest_int("n_layers", 1, 3)
        layers, last = [], 1
        for i in range(n_layers):
            width = trial.suggest_int(f"n_units_l{i}", 8, 32)
            layers += [nn.Linear(last, width), nn.Tanh()]
            last = width
        layers.append(nn.Linear(last, 1))
        model = nn.Sequential(*layers)

        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5)
        mse = nn.MSELoss()
        for step in range(100):
            optimizer.zero_grad()
            loss = mse(model(x[tr]), y[tr])
            loss.backward()
            optimizer.step()
            scheduler.step(loss.item())
        with torch.no_grad():
            val = mse(model(x[va]), y[va]).item()
        models[trial.number] = model
        return val

    study = optuna.create_study(direction="minimize")
    study.optimize(objective, n_trials=7)

    best = models[study.best_trial.number]
    with torch.no_grad():
        plt.plot(x, y, ".", label="data")
        plt.plot(x, best(x), label=f"lr={study.best_params['lr']:.2e}")
    plt.legend()
    plt.savefig("sine_fit.png")
    print(study.best_value, study.best_params)


if __name__ == "__main__":
    main()
