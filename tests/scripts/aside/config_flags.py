# usage: python config_flags.py train.epochs=6 tune.n_trials=10
import argparse
import ast
import copy

import optuna
import torch
from sklearn.datasets import make_classification

DEFAULTS = {
    "data": {"n_samples": 800, "n_features": 16, "seed": 0},
    "train": {"epochs": 4, "batch_size": 64},
    "tune": {"n_trials": 6, "lr": [1e-4, 1e-1], "hidden": [8, 16, 32, 64], "study_name": "config_flags"},
}
FLAGS = argparse.Namespace()


def parse(argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    parser.add_argument("--verbose", action="store_true")
    ns = parser.parse_args(argv)
    cfg = copy.deepcopy(DEFAULTS)
    for item in ns.overrides:
        key, _, value = item.partition("=")
        section, name = key.split(".")
        try:
            cfg[section][name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            cfg[section][name] = value
    FLAGS.verbose = ns.verbose
    for section, values in cfg.items():
        setattr(FLAGS, section, argparse.Namespace(**values))


def get_data():
    X, y = make_classification(FLAGS.data.n_samples, FLAGS.data.n_features, n_informative=8, random_state=FLAGS.data.seed)
    return torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def objective(trial):
    lr = trial.suggest_float("train.lr", *FLAGS.tune.lr, log=True)
    hidden = trial.suggest_categorical("model.hidden", FLAGS.tune.hidden)
    torch.manual_seed(FLAGS.data.seed)
    X, y = get_data()
    n_val = len(X) // 5
    model = torch.nn.Sequential(
        torch.nn.Linear(X.shape[1], hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 1), torch.nn.Flatten(0)
    )
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    crit = torch.nn.BCEWithLogitsLoss()
    for epoch in range(FLAGS.train.epochs):
        for xb, yb in zip(X[n_val:].split(FLAGS.train.batch_size), y[n_val:].split(FLAGS.train.batch_size)):
            opt.zero_grad()
            loss = crit(model(xb), yb)
            loss.backward()
            opt.step()
        if FLAGS.verbose:
            print(trial.number, epoch, loss.item())
    with torch.no_grad():
        return crit(model(X[:n_val]), y[:n_val]).item()


def main(argv=None):
    parse(argv)
    study = optuna.create_study(study_name=FLAGS.tune.study_name, direction="minimize")
    study.optimize(objective, n_trials=FLAGS.tune.n_trials)
    print(study.best_params, study.best_value)


if __name__ == "__main__":
    main()
