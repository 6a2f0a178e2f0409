import os

import optuna
import torch
import torch.distributed as dist
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

WORLD_SIZE = int(os.environ.get("WORLD_SIZE", 1))
RANK = int(os.environ.get("RANK", 0))
N_TRIALS = 5
EPOCHS = 3


def get_dataset():
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X / 16.0).float()
    y = torch.tensor(y)
    return TensorDataset(X[:1300], y[:1300]), TensorDataset(X[1300:], y[1300:])


def objective(single_trial):
    if WORLD_SIZE > 1:
        from optuna_integration import TorchDistributedTrial

        trial = TorchDistributedTrial(single_trial)
    else:
        trial = single_trial

    torch.manual_seed(0)
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    hidden = trial.suggest_int("hidden", 16, 64)
    model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    if WORLD_SIZE > 1:
        model = DDP(model)
    train_set, val_set = get_dataset()
    sampler = DistributedSampler(train_set) if WORLD_SIZE > 1 else None
    loader = DataLoader(train_set, batch_size=100, sampler=sampler, shuffle=sampler is None)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr * WORLD_SIZE)

    for epoch in range(EPOCHS):
        if sampler is not None:
            sampler.set_epoch(epoch)
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            x, y = val_set.tensors
            accuracy = (model(x).argmax(1) == y).float().mean().item()
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.exceptions.TrialPruned()
    return accuracy


def main():
    if WORLD_SIZE > 1:
        dist.init_process_group("gloo")
    study = None
    if RANK == 0:
        study = optuna.create_study(direction="maximize")
        study.optimize(objective, n_trials=N_TRIALS)
    else:
        for _ in range(N_TRIALS):
            try:
                objective(None)
            except optuna.TrialPruned:
                pass
    if RANK == 0:
        assert study is not None
        print("Best: {} {}".format(study.best_value, study.best_params))


if __name__ == "__main__":
    main()
