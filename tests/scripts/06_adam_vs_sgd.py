"""Which one is better on the moons, Adam or SGD? Every optimizer gets its own study."""

import optuna
import torch
import torch.nn as nn
from sklearn.datasets import make_moons

optuna.logging.set_verbosity(optuna.logging.WARNING)

features, labels = make_moons(n_samples=500, noise=0.25, random_state=3)
features = torch.tensor(features, dtype=torch.float32)
labels = torch.tensor(labels, dtype=torch.float32).reshape(-1, 1)
train_x, test_x = features[:350], features[350:]
train_y, test_y = labels[:350], labels[350:]


def run(optimizer_cls, hidden, **kw):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 1))
    opt = optimizer_cls(model.parameters(), **kw)
    bce = nn.BCEWithLogitsLoss()
    for _ in range(80):
        opt.zero_grad()
        bce(model(train_x), train_y).backward()
        opt.step()
    with torch.no_grad():
        return bce(model(test_x), test_y).item()


def adam_objective(trial):
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    beta1 = trial.suggest_float("beta1", 0.8, 0.99)
    hidden = trial.suggest_int("hidden", 4, 32)
    return run(torch.optim.Adam, hidden, lr=lr, betas=(beta1, 0.999))


def sgd_objective(trial):
    lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
    momentum = trial.suggest_float("momentum", 0.5, 0.95)
    hidden = trial.suggest_int("hidden", 4, 32)
    return run(torch.optim.SGD, hidden, lr=lr, momentum=momentum, nesterov=True)


if __name__ == "__main__":
    adam_study = optuna.create_study(study_name="moons-adam", sampler=optuna.samplers.TPESampler(seed=3))
    adam_study.optimize(adam_objective, n_trials=5)

    sgd_study = optuna.create_study(study_name="moons-sgd", sampler=optuna.samplers.TPESampler(seed=3))
    sgd_study.optimize(sgd_objective, n_trials=5)

    for s in (adam_study, sgd_study):
        print(s.study_name, round(s.best_value, 4), s.best_params)
    winner = min((adam_study, sgd_study), key=lambda s: s.best_value)
    print("winner:", winner.study_name)
