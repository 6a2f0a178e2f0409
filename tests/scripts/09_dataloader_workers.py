import argparse
import time

import optuna
import torch
import torch.nn as nn
from sklearn.datasets import make_classification
from torch.utils.data import DataLoader, TensorDataset, random_split


class MLP(nn.Module):
    def __init__(self, in_features, hidden, out_features):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(in_features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, out_features),
        )

    def forward(self, x):
        return self.net(x)


def main():
    torch.manual_seed(11)
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")

    X, y = make_classification(n_samples=1200, n_features=20, n_informative=10, n_classes=3, random_state=11)
    dataset = TensorDataset(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y))
    train_set, val_set = random_split(dataset, [1000, 200])

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        hidden = trial.suggest_int("hidden", 16, 64)
        loader = DataLoader(
            train_set, batch_size=250, shuffle=True, num_workers=2, persistent_workers=True, pin_memory=False
        )
        val_loader = DataLoader(val_set, batch_size=200)
        model = MLP(20, hidden, 3).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        criterion = nn.CrossEntropyLoss()
        for epoch in range(3):
            for inputs, labels in loader:
                inputs, labels = inputs.to(device), labels.to(device)
                optimizer.zero_grad()
                outputs = model(inputs)
                loss = criterion(outputs, labels)
                loss.backward()
                optimizer.step()
        correct = 0
        with torch.no_grad():
            for inputs, labels in val_loader:
                outputs = model(inputs.to(device))
                correct += (outputs.argmax(1).cpu() == labels).sum().item()
        return 100.0 * correct / len(val_set)

    start = time.time()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=11))
    study.optimize(objective, n_trials=4)
    print("took %.1f s" % (time.time() - start))
    print("Accuracy: {:.1f}%".format(study.best_trial.value))
    for k, v in study.best_trial.params.items():
        print(k, "=", v)


if __name__ == "__main__":
    main()
