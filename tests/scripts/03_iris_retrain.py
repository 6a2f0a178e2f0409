# iris classifier, tune -> retrain with best params -> save
import random

import numpy as np
import optuna
import torch
import torch.nn as nn
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset


def seed_everything(seed=1234):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


class IrisDataset(Dataset):
    def __init__(self, X, y):
        self.X = torch.FloatTensor(X)
        self.y = torch.LongTensor(y)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, idx):
        return self.X[idx], self.y[idx]


class IrisNet(nn.Module):
    def __init__(self, hidden_size, dropout):
        super(IrisNet, self).__init__()
        self.fc1 = nn.Linear(4, hidden_size)
        self.fc2 = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = self.dropout(torch.relu(self.fc2(x)))
        return self.out(x)


seed_everything()
device = "cuda" if torch.cuda.is_available() else "cpu"

iris = load_iris()
X_train, X_test, y_train, y_test = train_test_split(
    iris.data, iris.target, test_size=0.3, stratify=iris.target, random_state=1234
)
scaler = StandardScaler()
X_train = scaler.fit_transform(X_train)
X_test = scaler.transform(X_test)
train_ds = IrisDataset(X_train, y_train)
test_ds = IrisDataset(X_test, y_test)


def train_model(model, loader, lr, weight_decay, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for epoch in range(epochs):
        for xb, yb in loader:
            xb, yb = xb.to(device), yb.to(device)
            pred = model(xb)
            loss = loss_fn(pred, yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def evaluate(model, loader):
    model.eval()
    hits = 0
    with torch.no_grad():
        for xb, yb in loader:
            hits += (model(xb.to(device)).argmax(1).cpu() == yb).sum().item()
    return hits / len(loader.dataset)


def objective(trial):
    hidden_size = trial.suggest_categorical("hidden_size", [8, 16, 32])
    dropout = trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    lr = trial.suggest_categorical("lr", [1e-4, 5e-4, 1e-3, 5e-3, 1e-2])
    wd = trial.suggest_categorical("weight_decay", [0, 1e-5, 1e-4])
    bs = trial.suggest_categorical("batch_size", [16, 32])

    train_loader = DataLoader(train_ds, batch_size=bs, shuffle=True, num_workers=0)
    test_loader = DataLoader(test_ds, batch_size=64, num_workers=0)
    model = IrisNet(hidden_size, dropout).to(device)
    train_model(model, train_loader, lr, wd, epochs=6)
    return evaluate(model, test_loader)


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=6)

    print("best accuracy", study.best_value)
    best = study.best_params

    # retrain on the full training set with the best parameters
    final = IrisNet(best["hidden_size"], best["dropout"]).to(device)
    loader = DataLoader(train_ds, batch_size=best["batch_size"], shuffle=True, num_workers=0)
    final = train_model(final, loader, study.best_params["lr"], best["weight_decay"], epochs=20)
    print("test accuracy after retraining:", evaluate(final, DataLoader(test_ds, batch_size=64)))
    torch.save(final.state_dict(), "iris_best.pth")
