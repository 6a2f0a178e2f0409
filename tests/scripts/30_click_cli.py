import click
import optuna
import torch
import torch.nn as nn
from sklearn.datasets import make_regression
from torch.utils.data import DataLoader, TensorDataset


def objective(trial, n_samples, epochs, seed):
    torch.manual_seed(seed)
    X, y = make_regression(n_samples=n_samples, n_features=8, noise=1.0, random_state=seed)
    X = torch.as_tensor(X, dtype=torch.float32)
    y = torch.as_tensor(y / y.std(), dtype=torch.float32)
    cut = int(0.8 * n_samples)
    loader = DataLoader(TensorDataset(X[:cut], y[:cut]), batch_size=32, shuffle=True)

    model = nn.Sequential(nn.Linear(8, trial.suggest_int("units", 4, 32)), nn.ReLU(), nn.LazyLinear(1))
    model(X[:1])
    opt_name = trial.suggest_categorical("opt", ["Adam", "NAdam", "RAdam"])
    opt = getattr(torch.optim, opt_name)(model.parameters(), lr=trial.suggest_float("lr", 1e-4, 1e-1, log=True))
    for epoch in range(epochs):
        for xb, yb in loader:
            opt.zero_grad()
            loss = nn.functional.l1_loss(model(xb)[:, 0], yb)
            loss.backward()
            opt.step()
    with torch.no_grad():
        return nn.functional.l1_loss(model(X[cut:])[:, 0], y[cut:]).item()


@click.command()
@click.option("--n-trials", default=6, show_default=True)
@click.option("--n-samples", default=400, show_default=True)
@click.option("--epochs", default=6, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--quiet/--verbose", default=False)
def cli(n_trials, n_samples, epochs, seed, quiet):
    """Search optimizer, units and learning rate for a toy regression."""
    if quiet:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize")

    def run(trial):
        return objective(trial, n_samples, epochs, seed)

    study.optimize(run, n_trials=n_trials)
    click.echo(f"MAE {study.best_value:.4f}")
    for k, v in study.best_params.items():
        click.echo(f"  {k}: {v}")


if __name__ == "__main__":
    cli()
