import copy

import optuna
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class Objective(object):
    def __init__(self, X, y, epochs=4, batch_size=100):
        # Hold this implementation specific arguments as the fields of the class.
        self.X_train, self.X_val, self.y_train, self.y_val = train_test_split(X, y, test_size=0.25, random_state=0)
        self.epochs = epochs
        self.batch_size = batch_size
        self.best_acc = 0
        self.best_model = None

    def __call__(self, trial):
        self.hidden = trial.suggest_int('hidden', 16, 96, log=True)
        self.lr = trial.suggest_float('lr', 1e-4, 1e-1, log=True)
        self.label_smoothing = trial.suggest_float('label_smoothing', 0.0, 0.2)

        model = nn.Sequential(nn.Linear(64, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=self.lr)
        criterion = nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)

        for epoch in range(self.epochs):
            for i in range(0, len(self.X_train), self.batch_size):
                xb = self.X_train[i:i + self.batch_size]
                yb = self.y_train[i:i + self.batch_size]
                optimizer.zero_grad()
                loss = criterion(model(xb), yb)
                loss.backward()
                optimizer.step()

        with torch.no_grad():
            acc = (model(self.X_val).argmax(1) == self.y_val).float().mean().item()
        if acc > self.best_acc:
            self.best_acc = acc
            self.best_model = copy.deepcopy(model)
        return acc


def main():
    torch.manual_seed(6)
    X, y = load_digits(return_X_y=True)
    objective = Objective(torch.tensor(X, dtype=torch.float32) / 16, torch.tensor(y))
    study = optuna.create_study(direction='maximize')
    study.optimize(objective, n_trials=6)
    print('Best accuracy', objective.best_acc)
    print('Best parameters', study.best_params)
    torch.save(objective.best_model, 'best_model.pt')


if __name__ == '__main__':
    main()
