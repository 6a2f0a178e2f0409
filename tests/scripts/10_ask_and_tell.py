import optuna
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.datasets import load_diabetes
from torch import nn


def main():
    torch.manual_seed(5)
    X, y = load_diabetes(return_X_y=True)
    X = torch.tensor(X / X.std(axis=0), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)

    space = {
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "width": IntDistribution(8, 48, step=8),
        "loss": CategoricalDistribution(["mse", "huber"]),
    }

    def fit(params):
        net = nn.Sequential(nn.Linear(10, params["width"]), nn.ReLU(), nn.Linear(params["width"], 1))
        criterion = nn.MSELoss() if params["loss"] == "mse" else nn.HuberLoss()
        opt = torch.optim.Adam(net.parameters(), lr=params["lr"])
        for epoch in range(8):
            for xb, yb in zip(X[:340].split(34), y[:340].split(34)):
                opt.zero_grad()
                criterion(net(xb).squeeze(1), yb).backward()
                opt.step()
        with torch.no_grad():
            return (net(X[340:]).squeeze(1) - y[340:]).abs().mean().item()

    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=5))
    for _ in range(6):
        trial = study.ask(space)
        value = fit(trial.params)
        study.tell(trial, value)
        print(f"trial {trial.number}: mae={value:.4f} {trial.params}")

    print("best:", study.best_params)


if __name__ == "__main__":
    main()
