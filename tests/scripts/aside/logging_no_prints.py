import logging

import optuna
import torch
from sklearn.datasets import make_s_curve
from torch import nn

logging.basicConfig(filename="train.log", filemode="w", level=logging.INFO, format="%(levelname)s:%(name)s:%(message)s")
log = logging.getLogger("tune")
optuna.logging.enable_propagation()
optuna.logging.disable_default_handler()


def data():
    points, t = make_s_curve(600, noise=0.05, random_state=0)
    return torch.tensor(points).float(), torch.tensor(t).float().unsqueeze(1)


def epoch_of(net, X, T, opt, size):
    running = 0.0
    for xb, tb in zip(X.split(size), T.split(size)):
        opt.zero_grad()
        loss = nn.functional.mse_loss(net(xb), tb)
        loss.backward()
        opt.step()
        running += loss.item() * len(xb)
    return running / len(X)


def main():
    X, T = data()

    def objective(trial):
        torch.manual_seed(17)
        net = nn.Sequential(nn.Linear(3, trial.suggest_int("h", 8, 48)), nn.ReLU(), nn.LazyLinear(1))
        net(X[:2])
        opt = torch.optim.SGD(net.parameters(), lr=trial.suggest_float("eta", 1e-3, 3e-1, log=True))
        for epoch in range(5):
            train_loss = epoch_of(net, X[:480], T[:480], opt, 40)
            with torch.no_grad():
                val_loss = nn.functional.mse_loss(net(X[480:]), T[480:]).item()
            log.info("trial=%d epoch=%d train=%.5f val=%.5f", trial.number, epoch, train_loss, val_loss)
        return val_loss

    study = optuna.create_study(study_name="s_curve", sampler=optuna.samplers.TPESampler(seed=17))
    study.optimize(objective, n_trials=6)
    log.info("best %s %s", study.best_value, study.best_params)


if __name__ == "__main__":
    main()
