import numpy as np
import optuna
import torch
from sklearn.datasets import make_regression
from torch import nn

np.random.seed(0)
torch.manual_seed(0)

X, y = make_regression(n_samples=600, n_features=12, n_informative=8, noise=5.0, random_state=0)
X = (X - X.mean(0)) / X.std(0)
y = (y - y.mean()) / y.std()
x_train, y_train = torch.from_numpy(X[:450]).float(), torch.from_numpy(y[:450]).float().unsqueeze(1)
x_test, y_test = torch.from_numpy(X[450:]).float(), torch.from_numpy(y[450:]).float().unsqueeze(1)


def create_model(trial):
    hidden = trial.suggest_int("hidden", 8, 64, log=True)
    activation = trial.suggest_categorical("activation", ["ReLU", "Tanh", "SiLU"])
    return nn.Sequential(nn.Linear(12, hidden), getattr(nn, activation)(), nn.Linear(hidden, 1))


def create_optimizer(trial, model):
    kwargs = {}
    name = trial.suggest_categorical("optimizer", ["Adam", "SGD", "RMSprop"])
    kwargs["lr"] = trial.suggest_float(f"{name.lower()}_lr", 1e-4, 1e-1, log=True)
    if name == "SGD":
        kwargs["momentum"] = trial.suggest_float("sgd_momentum", 0.0, 0.95)
    elif name == "RMSprop":
        kwargs["alpha"] = trial.suggest_float("rmsprop_alpha", 0.8, 0.99)
    else:
        kwargs["weight_decay"] = trial.suggest_float("adam_weight_decay", 1e-8, 1e-3, log=True)
    return getattr(torch.optim, name)(model.parameters(), **kwargs)


def train(model, optimizer, epochs=5, batch=64):
    criterion = nn.MSELoss()
    for _ in range(epochs):
        perm = torch.randperm(len(x_train))
        for i in range(0, len(perm), batch):
            idx = perm[i:i + batch]
            optimizer.zero_grad()
            loss = criterion(model(x_train[idx]), y_train[idx])
            loss.backward()
            optimizer.step()


def objective(trial):
    model = create_model(trial)
    optimizer = create_optimizer(trial, model)
    train(model, optimizer)
    model.eval()
    with torch.no_grad():
        return nn.functional.mse_loss(model(x_test), y_test).item()


if __name__ == "__main__":
    study = optuna.create_study(
        study_name="regression", direction="minimize", sampler=optuna.samplers.TPESampler(seed=10)
    )
    study.optimize(objective, n_trials=8)
    print("Best MSE: %.5f" % study.best_value)
    print(study.best_params)
