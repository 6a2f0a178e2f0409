import argparse
import json

import numpy as np
import optuna
import torch
import torch.nn as nn


def make_batch(n):
    x = np.random.uniform(-1, 1, size=(n, 3)).astype(np.float32)
    y = (x[:, 0] ** 2 + np.sin(3 * x[:, 1]) - x[:, 2]).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(y).unsqueeze(1)


def get_scheduler(name, optimizer):
    if name == "step":
        return torch.optim.lr_scheduler.StepLR(optimizer, step_size=max(1, args.steps // 3), gamma=0.3)
    elif name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.steps)
    return None


def objective(trial):
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    config = {
        "lr": trial.suggest_float("lr", args.lr_min, args.lr_max, log=True),
        "width": trial.suggest_int("width", 16, 64),
        "scheduler": trial.suggest_categorical("scheduler", ["none", "step", "cosine"]),
    }
    model = nn.Sequential(nn.Linear(3, config["width"]), nn.SiLU(), nn.Linear(config["width"], 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    scheduler = get_scheduler(config["scheduler"], optimizer)
    for step in range(args.steps):
        x, y = make_batch(args.batch_size)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    x, y = make_batch(512)
    with torch.no_grad():
        return nn.functional.mse_loss(model(x), y).item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr-min", type=float, default=1e-4)
    parser.add_argument("--lr-max", type=float, default=1e-1)
    parser.add_argument("--n-trials", type=int, default=7)
    args = parser.parse_args()

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=args.seed))
    study.optimize(objective, n_trials=args.n_trials)
    with open("best.json", "w") as f:
        json.dump({"value": study.best_value, **study.best_params}, f)
    print(json.dumps(study.best_params))
