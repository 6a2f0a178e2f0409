#!/usr/bin/env python
import copy

import optuna
import torch
from optuna.pruners import HyperbandPruner
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(2021)

MAX_EPOCHS = 9
PATIENCE = 3


class EarlyStopping:
    def __init__(self, patience):
        self.patience = patience
        self.best = None
        self.counter = 0
        self.stop = False
        self.weights = None

    def __call__(self, score, model):
        if self.best is None or score > self.best:
            self.best = score
            self.counter = 0
            self.weights = copy.deepcopy(model.state_dict())
        else:
            self.counter += 1
            self.stop = self.counter >= self.patience


class Net(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(30, cfg["hidden"]),
            nn.BatchNorm1d(cfg["hidden"]) if cfg["batch_norm"] else nn.Identity(),
            nn.ReLU(inplace=True),
            nn.Dropout(cfg["dropout"]),
            nn.Linear(cfg["hidden"], 1),
        )

    def forward(self, x):
        return self.body(x).squeeze(-1)


def make_loaders(batch_size):
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.2, random_state=2021, stratify=y)
    sc = StandardScaler().fit(X_train)
    train = TensorDataset(torch.Tensor(sc.transform(X_train)), torch.Tensor(y_train))
    val = TensorDataset(torch.Tensor(sc.transform(X_val)), torch.Tensor(y_val))
    return (
        DataLoader(train, batch_size=batch_size, shuffle=True, drop_last=True),
        DataLoader(val, batch_size=256, shuffle=False),
    )


def objective(trial: optuna.Trial) -> float:
    config = {
        "lr": trial.suggest_float("lr", 1e-4, 3e-2, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128]),
        "hidden": trial.suggest_int("hidden", 8, 40, step=8),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "batch_norm": trial.suggest_categorical("batch_norm", [True, False]),
        "optimizer": trial.suggest_categorical("optimizer", ["adam", "adamw"]),
    }
    train_loader, val_loader = make_loaders(config["batch_size"])
    model = Net(config)
    if config["optimizer"] == "adam":
        opt = optim.Adam(model.parameters(), lr=config["lr"])
    else:
        opt = optim.AdamW(model.parameters(), lr=config["lr"], weight_decay=1e-2)
    criterion = nn.BCEWithLogitsLoss()
    stopper = EarlyStopping(PATIENCE)

    for epoch in range(MAX_EPOCHS):
        model.train()
        for xb, yb in train_loader:
            opt.zero_grad(set_to_none=True)
            loss = criterion(model(xb), yb)
            loss.backward()
            opt.step()

        model.eval()
        scores, labels = [], []
        with torch.inference_mode():
            for xb, yb in val_loader:
                scores.append(torch.sigmoid(model(xb)))
                labels.append(yb)
        auc = roc_auc_score(torch.cat(labels).numpy(), torch.cat(scores).numpy())
        trial.report(auc, step=epoch)
        if trial.should_prune():
            raise optuna.TrialPruned()
        stopper(auc, model)
        if stopper.stop:
            break
    return stopper.best


if __name__ == "__main__":
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=2021),
        pruner=HyperbandPruner(min_resource=1, max_resource=MAX_EPOCHS, reduction_factor=3),
    )
    study.optimize(objective, n_trials=8, gc_after_trial=True)
    print(f"Best AUC {study.best_value:.4f} with {study.best_params}")
