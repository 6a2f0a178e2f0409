"""Run with `python -m packaged.tune`."""
import optuna
import torch

from .data import get_loaders
from .engine import evaluate, train_one_epoch
from .models import MLP

EPOCHS = 3


def objective(trial):
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    batch_size = trial.suggest_categorical("batch_size", [50, 100])
    model = MLP(
        width=trial.suggest_int("width", 16, 64),
        depth=trial.suggest_int("depth", 1, 2),
        dropout=trial.suggest_float("dropout", 0.0, 0.3),
    )
    train, val = get_loaders(batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(EPOCHS):
        train_one_epoch(model, train, optimizer)
        loss, acc = evaluate(model, val)
        trial.report(loss, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned()
    trial.set_user_attr("acc", acc)
    return loss


def main():
    torch.manual_seed(0)
    study = optuna.create_study(study_name="packaged", storage="sqlite:///packaged.db", load_if_exists=True)
    study.optimize(objective, n_trials=6)
    print(study.best_value, study.best_trial.user_attrs["acc"], study.best_params)


if __name__ == "__main__":
    main()
