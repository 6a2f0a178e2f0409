import copy
import os

import optuna
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler
from torch.utils.data import DataLoader, TensorDataset


class Trainer:
    def __init__(self):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.epochs = 5
        self.n_trials = 6
        self.best_state = None
        self.best_loss = float("inf")
        self.save_dir = "weights"
        self.criterion = nn.BCEWithLogitsLoss()
        os.makedirs(self.save_dir, exist_ok=True)
        self.prepare_data()

    def prepare_data(self):
        X, y = load_breast_cancer(return_X_y=True)
        X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.2, random_state=0)
        scaler = MinMaxScaler()
        self.train_data = TensorDataset(
            torch.tensor(scaler.fit_transform(X_train), dtype=torch.float32),
            torch.tensor(y_train, dtype=torch.float32),
        )
        self.val_data = TensorDataset(
            torch.tensor(scaler.transform(X_val), dtype=torch.float32), torch.tensor(y_val, dtype=torch.float32)
        )

    def suggest(self, trial):
        self.lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        self.hidden = trial.suggest_int("hidden", 8, 64)
        self.dropout = trial.suggest_float("dropout", 0.0, 0.5)
        self.batch_size = trial.suggest_categorical("batch_size", [32, 64])

    def setup(self):
        self.model = nn.Sequential(
            nn.Linear(30, self.hidden), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, 1)
        ).to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.lr)
        self.train_loader = DataLoader(self.train_data, self.batch_size, shuffle=True)
        self.val_loader = DataLoader(self.val_data, 128)

    def train_step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x).squeeze(1), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def train(self):
        self.model.train()
        for x, y in self.train_loader:
            self.train_step(x.to(self.device), y.to(self.device))

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        losses = [self.criterion(self.model(x.to(self.device)).squeeze(1), y.to(self.device)) for x, y in self.val_loader]
        return torch.stack(losses).mean().item()

    def objective(self, trial):
        self.suggest(trial)
        self.setup()
        for self.epoch in range(self.epochs):
            self.train()
            loss = self.validate()
            trial.report(loss, self.epoch)
            if trial.should_prune():
                raise optuna.exceptions.TrialPruned()
            if loss < self.best_loss:
                self.best_loss = loss
                self.best_state = copy.deepcopy(self.model.state_dict())
        return loss

    def search(self):
        study = optuna.create_study(
            direction="minimize", pruner=optuna.pruners.PercentilePruner(50.0, n_startup_trials=2)
        )
        study.optimize(self.objective, n_trials=self.n_trials)
        torch.save(self.best_state, os.path.join(self.save_dir, "best.pth"))
        return study

    def fit_final(self, params):
        for k, v in params.items():
            setattr(self, k, v)
        self.setup()
        for _ in range(2 * self.epochs):
            self.train()
        return self.validate()


if __name__ == "__main__":
    torch.manual_seed(0)
    trainer = Trainer()
    study = trainer.search()
    print("search:", study.best_value, study.best_params)
    print("final loss:", trainer.fit_final(study.best_params))
