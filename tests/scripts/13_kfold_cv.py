import warnings

import numpy as np
import optuna
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

warnings.filterwarnings("ignore")

SEED = 2023
N_SPLITS = 3


def set_seed(seed):
    np.random.seed(seed)
    torch.manual_seed(seed)


def train_fold(model, lr, l2, X, y, epochs, batch_size):
    opt = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=l2)
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for _ in range(epochs):
        for idx in torch.randperm(len(X)).split(batch_size):
            opt.zero_grad()
            loss_fn(model(X[idx]), y[idx]).backward()
            opt.step()


def main():
    set_seed(SEED)
    X, y = load_wine(return_X_y=True)

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        l2 = trial.suggest_float("l2", 1e-7, 1e-2, log=True)
        hidden = trial.suggest_int("hidden", 8, 32, step=8)
        batch_size = trial.suggest_categorical("batch_size", [16, 32])
        scores = []
        cv = StratifiedKFold(n_splits=N_SPLITS, shuffle=True, random_state=SEED)
        for fold, (tr, va) in enumerate(cv.split(X, y)):
            scaler = StandardScaler().fit(X[tr])
            X_tr = torch.tensor(scaler.transform(X[tr]), dtype=torch.float32)
            X_va = torch.tensor(scaler.transform(X[va]), dtype=torch.float32)
            model = nn.Sequential(nn.Linear(13, hidden), nn.ELU(), nn.Linear(hidden, 3))
            train_fold(model, lr, l2, X_tr, torch.tensor(y[tr]), epochs=6, batch_size=batch_size)
            model.eval()
            with torch.no_grad():
                pred = model(X_va).argmax(dim=1).numpy()
            scores.append((pred == y[va]).mean())
            trial.report(float(np.mean(scores)), fold)
        return float(np.mean(scores))

    sampler = optuna.samplers.TPESampler(seed=SEED, multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=optuna.pruners.NopPruner())
    study.optimize(objective, n_trials=6, show_progress_bar=False)
    print(f"CV accuracy: {study.best_value:.3f}")
    print(f"Params: {study.best_params}")


if __name__ == "__main__":
    main()
