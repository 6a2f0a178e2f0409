import optuna
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch.optim.lr_scheduler import CosineAnnealingLR

N_EPOCHS = 12


def load_data():
    data, target = load_wine(return_X_y=True)
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    tr_x, va_x, tr_y, va_y = train_test_split(data, target, test_size=0.25, random_state=7)
    return (
        torch.tensor(tr_x, dtype=torch.float),
        torch.tensor(tr_y),
        torch.tensor(va_x, dtype=torch.float),
        torch.tensor(va_y),
    )


def objective(trial):
    params = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
        "n_unit": trial.suggest_int("n_unit", 4, 32),
    }
    torch.manual_seed(0)
    tr_x, tr_y, va_x, va_y = load_data()
    net = nn.Sequential(
        nn.Linear(13, params["n_unit"]), nn.LeakyReLU(), nn.Linear(params["n_unit"], 3)
    )
    opt = torch.optim.AdamW(net.parameters(), lr=params["learning_rate"], weight_decay=params["weight_decay"])
    sched = CosineAnnealingLR(opt, T_max=N_EPOCHS)
    loss_func = nn.CrossEntropyLoss()
    for _ in range(N_EPOCHS):
        for xb, yb in zip(tr_x.split(32), tr_y.split(32)):
            opt.zero_grad()
            loss_func(net(xb), yb).backward()
            opt.step()
        sched.step()
    with torch.no_grad():
        val_loss = loss_func(net(va_x), va_y).item()
        acc = (net(va_x).argmax(1) == va_y).float().mean().item()
    trial.set_user_attr("accuracy", acc)
    return val_loss


if __name__ == "__main__":
    study_name = "wine-mlp"
    storage_name = "sqlite:///{}.db".format(study_name)
    study = optuna.create_study(study_name=study_name, storage=storage_name, load_if_exists=True)
    study.optimize(objective, n_trials=6)

    df = study.trials_dataframe(attrs=("number", "value", "params", "user_attrs", "state"))
    df.to_csv("wine_trials.csv", index=False)
    print(df)
    print("Best:", study.best_trial.number, study.best_value, study.best_params)
