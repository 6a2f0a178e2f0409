import optuna
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes

STORAGE = "sqlite:///diabetes_study.db"
NAME = "diabetes"

X, y = load_diabetes(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32) * 20
y = torch.tensor(y, dtype=torch.float32).sub(152).div(77).unsqueeze(1)


def objective(trial):
    hidden = trial.suggest_int("hidden", 4, 32)
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    patience = trial.suggest_int("patience", 1, 4)
    net = nn.Sequential(nn.Linear(10, hidden), nn.ReLU(), nn.Linear(hidden, 1))
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    sched = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, mode="min", patience=patience, factor=0.3)
    for epoch in range(8):
        net.train()
        for xb, yb in zip(X[:352].split(32), y[:352].split(32)):
            opt.zero_grad()
            nn.functional.mse_loss(net(xb), yb).backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            val = nn.functional.mse_loss(net(X[352:]), y[352:])
        sched.step(val)
    trial.set_user_attr("final_lr", opt.param_groups[0]["lr"])
    return float(val)


def create():
    optuna.create_study(study_name=NAME, storage=STORAGE, direction="minimize", load_if_exists=True)


def worker(n):
    study = optuna.load_study(study_name=NAME, storage=STORAGE, sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=n)


def summary():
    study = optuna.load_study(study_name=NAME, storage=STORAGE)
    for t in study.trials:
        print(t.number, t.value, t.params, t.user_attrs.get("final_lr"))
    print("best", study.best_trial.number)


if __name__ == "__main__":
    create()
    worker(6)
    summary()
