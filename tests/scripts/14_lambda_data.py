import optuna
import pandas as pd
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split


class Regressor(nn.Module):
    def __init__(self, n_in, n_hidden, p):
        super(Regressor, self).__init__()
        self.l1 = nn.Linear(n_in, n_hidden)
        self.l2 = nn.Linear(n_hidden, 1)
        self.p = nn.Dropout(p)

    def forward(self, x):
        return self.l2(self.p(torch.relu(self.l1(x))))


def prepare():
    df: pd.DataFrame = load_diabetes(as_frame=True).frame
    df = (df - df.mean()) / df.std()
    features = df.drop(columns="target")
    return train_test_split(features, df["target"], test_size=0.2, random_state=0)


def objective(trial, X_train, X_test, y_train, y_test):
    params = {
        "n_hidden": trial.suggest_int("n_hidden", 8, 64),
        "dropout": trial.suggest_float("dropout", 0.0, 0.3),
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [16, 32, 64]),
    }
    X = torch.tensor(X_train.values, dtype=torch.float32)
    y = torch.tensor(y_train.values, dtype=torch.float32).view(-1, 1)
    model = Regressor(X.shape[1], params["n_hidden"], params["dropout"])
    opt = torch.optim.Adam(model.parameters(), lr=params["lr"])
    for epoch in range(5):
        model.train()
        perm = torch.randperm(X.size(0))
        for i in range(0, X.size(0), params["batch_size"]):
            idx = perm[i : i + params["batch_size"]]
            loss = nn.functional.mse_loss(model(X[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        pred = model(torch.tensor(X_test.values, dtype=torch.float32)).squeeze(1).numpy()
    return float(((pred - y_test.values) ** 2).mean() ** 0.5)


if __name__ == "__main__":
    torch.manual_seed(0)
    X_train, X_test, y_train, y_test = prepare()
    study = optuna.create_study(direction="minimize")
    study.optimize(lambda trial: objective(trial, X_train, X_test, y_train, y_test), n_trials=7)
    print("RMSE:", study.best_value)
    print("Params:", study.best_params)
