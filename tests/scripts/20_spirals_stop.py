import numpy as np
import optuna
import torch

torch.manual_seed(0)
rng = np.random.RandomState(0)
n = 150
theta = np.sqrt(rng.rand(n)) * 2 * np.pi
r = 2 * theta + np.pi
spiral = np.stack([np.cos(theta) * r, np.sin(theta) * r], 1)
X = np.concatenate([spiral, -spiral]) + rng.randn(2 * n, 2)
X = torch.tensor(X / 10, dtype=torch.float32)
y = torch.cat([torch.zeros(n), torch.ones(n)])
order = torch.randperm(2 * n)
X, y = X[order], y[order]


def objective(trial):
    hidden = trial.suggest_int("hidden", 16, 64)
    # search the exponent, not the rate itself
    lr = 10 ** trial.suggest_float("log_lr", -4, -1)
    model = torch.nn.Sequential(
        torch.nn.Linear(2, hidden),
        torch.nn.Tanh(),
        torch.nn.Linear(hidden, hidden),
        torch.nn.Tanh(),
        torch.nn.Linear(hidden, 1),
    )
    opt = torch.optim.RMSprop(model.parameters(), lr=lr)
    for it in range(80):
        opt.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(X[:200])[:, 0], y[:200])
        loss.backward()
        opt.step()
    acc = ((model(X[200:])[:, 0] > 0).float() == y[200:]).float().mean()
    return acc.item()


def stop_when_good(study, trial):
    if trial.value is not None and trial.value > 0.97:
        print("good enough, stopping")
        study.stop()


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
study.optimize(objective, n_trials=8, callbacks=[stop_when_good])
print("Best accuracy:", study.best_value)
print("Best lr:", 10 ** study.best_params["log_lr"])
