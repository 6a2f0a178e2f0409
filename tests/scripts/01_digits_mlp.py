"""
Tune the number of layers, hidden units, dropout, optimizer and learning
rate of a small MLP on the 8x8 digits.
"""
import optuna
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from optuna.trial import TrialState
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BATCHSIZE = 128
CLASSES = 10
EPOCHS = 4
SEED = 42


def build_net(trial):
    n_layers = trial.suggest_int("n_layers", 1, 2)
    layers = []
    in_dim = 64
    for i in range(n_layers):
        out_dim = trial.suggest_int("n_units_l{}".format(i), 16, 64)
        layers.append(nn.Linear(in_dim, out_dim))
        layers.append(nn.ReLU())
        p = trial.suggest_float("dropout_l{}".format(i), 0.0, 0.4)
        layers.append(nn.Dropout(p))
        in_dim = out_dim
    layers.append(nn.Linear(in_dim, CLASSES))
    return nn.Sequential(*layers)


def get_digits():
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X / 16.0, dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.long)
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.3, random_state=SEED)
    train = DataLoader(TensorDataset(X_tr, y_tr), batch_size=BATCHSIZE, shuffle=True)
    valid = DataLoader(TensorDataset(X_va, y_va), batch_size=512)
    return train, valid


def objective(trial):
    model = build_net(trial).to(DEVICE)
    optimizer_name = trial.suggest_categorical("optimizer", ["Adam", "RMSprop", "SGD"])
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    optimizer = getattr(optim, optimizer_name)(model.parameters(), lr=lr)
    train_loader, valid_loader = get_digits()

    for epoch in range(EPOCHS):
        model.train()
        for data, target in train_loader:
            data, target = data.to(DEVICE), target.to(DEVICE)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(data), target)
            loss.backward()
            optimizer.step()

        model.eval()
        correct = 0
        total = 0
        with torch.no_grad():
            for data, target in valid_loader:
                data, target = data.to(DEVICE), target.to(DEVICE)
                pred = model(data).argmax(dim=1)
                correct += (pred == target).sum().item()
                total += len(target)
        accuracy = correct / total

        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.exceptions.TrialPruned()

    return accuracy


if __name__ == "__main__":
    torch.manual_seed(SEED)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=3))
    study.optimize(objective, n_trials=8, timeout=600)

    pruned_trials = study.get_trials(deepcopy=False, states=[TrialState.PRUNED])
    complete_trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])

    print("Finished trials: ", len(study.trials))
    print("Pruned trials: ", len(pruned_trials))
    print("Complete trials: ", len(complete_trials))

    best_trial = study.best_trial
    print("Best value: ", best_trial.value)
    print("Best params: ")
    for key, value in best_trial.params.items():
        print("    {}: {}".format(key, value))
