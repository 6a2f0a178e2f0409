import json
import os
import pickle

import optuna
import torch
import torch.nn as nn
import torch.optim as optim

MAX_TRIALS = 6


def make_data(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(n, 2, generator=g)
    return a, (a[:, :1] * a[:, 1:])  # learn to multiply


def main():
    os.makedirs("checkpoints", exist_ok=True)
    x, t = make_data(512, 0)
    xv, tv = make_data(128, 1)

    def objective(trial):
        learning_rate = trial.suggest_float("learning_rate", 1e-3, 3e-1, log=True)
        momentum = trial.suggest_float("momentum", 0.0, 0.9)
        gamma = trial.suggest_float("gamma", 0.7, 1.0)
        model = nn.Sequential(nn.Linear(2, 24), nn.Softplus(), nn.Linear(24, 1))
        optimizer = optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum)
        scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=gamma)
        for epoch in range(6):
            for i in range(0, 512, 32):
                optimizer.zero_grad()
                loss = ((model(x[i:i + 32]) - t[i:i + 32]) ** 2).mean()
                loss.backward()
                optimizer.step()
            scheduler.step()
        torch.save(model.state_dict(), f"checkpoints/model_{trial.number}.pt")
        with torch.no_grad():
            return ((model(xv) - tv) ** 2).mean().item()

    torch.manual_seed(9)
    study = optuna.create_study()
    while len(study.trials) < MAX_TRIALS:
        study.optimize(objective, n_trials=1)
        # save after every trial so we can continue after a crash
        with open("study.pkl", "wb") as f:
            pickle.dump(study, f)

    with open("best_params.json", "w") as f:
        json.dump(study.best_params, f, indent=2)
    print("best model: checkpoints/model_%d.pt, loss %g" % (study.best_trial.number, study.best_value))


if __name__ == "__main__":
    main()
