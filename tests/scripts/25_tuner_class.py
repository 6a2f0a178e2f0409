import logging
import os
import sys

import optuna
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_breast_cancer
from torch.utils.data import DataLoader, Subset, TensorDataset

logger = logging.getLogger(__name__)
HERE = os.path.dirname(os.path.abspath(__file__))


class HyperparameterTuner:
    def __init__(self, n_trials=6, n_epochs=4, study_name="cancer_tuning"):
        self.n_trials = n_trials
        self.n_epochs = n_epochs
        self.study_name = study_name
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.train_set, self.val_set = self._load()

    def _load(self):
        X, y = load_breast_cancer(return_X_y=True)
        X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
        y = torch.tensor(y, dtype=torch.float32)
        ds = TensorDataset(X, y)
        split = int(len(ds) * 0.8)
        return Subset(ds, range(split)), Subset(ds, range(split, len(ds)))

    def build_model(self, trial):
        hidden_dims = []
        for i in range(trial.suggest_int("num_layers", 1, 2)):
            hidden_dims.append(trial.suggest_categorical(f"hidden_dim_{i}", [16, 32]))
        layers = []
        in_dim = 30
        for dim in hidden_dims:
            layers.extend([nn.Linear(in_dim, dim), nn.ReLU()])
            in_dim = dim
        layers.append(nn.Linear(in_dim, 1))
        return nn.Sequential(*layers)

    def objective(self, trial):
        model = self.build_model(trial).to(self.device)
        optimizer = optim.Adam(
            model.parameters(),
            lr=trial.suggest_float("lr", 1e-4, 1e-2, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-6, 1e-3, log=True),
        )
        train_loader = DataLoader(self.train_set, batch_size=64, shuffle=True)
        for epoch in range(self.n_epochs):
            train_loss = self._train_epoch(model, train_loader, optimizer)
            val_loss = self._validate(model)
            logger.info("trial %d epoch %d train %.4f val %.4f", trial.number, epoch, train_loss, val_loss)
        return val_loss

    def _train_epoch(self, model, loader, optimizer):
        model.train()
        total = 0.0
        for x, y in loader:
            x, y = x.to(self.device), y.to(self.device)
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(x).squeeze(1), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        return total / len(loader.dataset)

    @torch.no_grad()
    def _validate(self, model):
        model.eval()
        total = 0.0
        for x, y in DataLoader(self.val_set, batch_size=128):
            total += nn.functional.binary_cross_entropy_with_logits(
                model(x.to(self.device)).squeeze(1), y.to(self.device), reduction="sum"
            ).item()
        return total / len(self.val_set)

    def tune(self):
        self.study = optuna.create_study(
            study_name=self.study_name,
            direction="minimize",
            storage="sqlite:///" + os.path.join(HERE, self.study_name + ".db"),
            load_if_exists=True,
        )
        self.study.optimize(self.objective, n_trials=self.n_trials)
        return self.study.best_params


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(sys.stdout), logging.FileHandler(os.path.join(HERE, "tuning.log"))],
    )
    torch.manual_seed(0)
    tuner = HyperparameterTuner()
    best_params = tuner.tune()
    logger.info("best: %s", best_params)
