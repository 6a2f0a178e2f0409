import optuna
import torch
from sklearn.datasets import make_circles
from torch import nn


class Experiment:
    """One experiment = data + how one trial is trained."""

    def __init__(self, noise):
        X, y = make_circles(n_samples=600, noise=noise, factor=0.5, random_state=12)
        self.X = torch.tensor(X).float()
        self.y = torch.tensor(y).float()

    def run_trial(self, trial):
        hp = dict(
            lr=trial.suggest_float("lr", 1e-3, 1e-1, log=True),
            hidden=trial.suggest_int("hidden", 8, 32),
            act=trial.suggest_categorical("act", ["relu", "tanh"]),
        )
        act = {"relu": nn.ReLU, "tanh": nn.Tanh}[hp["act"]]
        net = nn.Sequential(nn.Linear(2, hp["hidden"]), act(), nn.Linear(hp["hidden"], 1), nn.Flatten(0))
        opt = torch.optim.Adam(net.parameters(), lr=hp["lr"])
        for epoch in range(10):
            for i in range(0, 450, 75):
                opt.zero_grad()
                loss = nn.functional.binary_cross_entropy_with_logits(net(self.X[i : i + 75]), self.y[i : i + 75])
                loss.backward()
                opt.step()
        with torch.no_grad():
            return ((net(self.X[450:]) > 0) == self.y[450:].bool()).float().mean().item()


if __name__ == "__main__":
    exp = Experiment(noise=0.1)
    study = optuna.create_study(direction="maximize", study_name="circles")
    study.optimize(exp.run_trial, n_trials=8, n_jobs=2)
    print("accuracy:", study.best_value)
    print("params:", study.best_params)
