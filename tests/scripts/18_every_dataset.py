import optuna
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.preprocessing import scale
from sklearn.utils import shuffle

DATASETS = {"iris": load_iris, "wine": load_wine, "cancer": load_breast_cancer}


def objective(trial, X, y, n_classes):
    torch.manual_seed(0)
    n = int(len(X) * 0.75)
    lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    hidden = trial.suggest_int("hidden", 4, 32)
    model = nn.Sequential(nn.Linear(X.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, n_classes))
    opt = torch.optim.Adam(model.parameters(), lr)
    for _ in range(40):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(X[:n]), y[:n])
        loss.backward()
        opt.step()
    return nn.functional.cross_entropy(model(X[n:]), y[n:]).item()


if __name__ == "__main__":
    results = {}
    for name, load in DATASETS.items():
        X, y = shuffle(*load(return_X_y=True), random_state=0)
        X, y = torch.tensor(scale(X), dtype=torch.float32), torch.tensor(y)
        study = optuna.create_study(
            study_name=f"mlp_{name}", storage="sqlite:///all_datasets.db", load_if_exists=True
        )
        study.optimize(lambda trial: objective(trial, X, y, int(y.max()) + 1), n_trials=4)
        results[name] = (study.best_value, study.best_params)
    for name, (value, params) in results.items():
        print(name, value, params)
