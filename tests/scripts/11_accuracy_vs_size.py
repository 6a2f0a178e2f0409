# Pareto front between accuracy and number of parameters
import optuna
import torch
import torch.nn as nn
from sklearn.datasets import load_digits


def count_parameters(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def main():
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X, dtype=torch.float32) / 16.0
    y = torch.tensor(y)
    X_train, y_train, X_val, y_val = X[:1200], y[:1200], X[1200:], y[1200:]

    def objective(trial):
        torch.manual_seed(trial.number)
        lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
        hidden = trial.suggest_int("hidden", 4, 64, log=True)
        model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        for epoch in range(4):
            for xb, yb in zip(X_train.split(60), y_train.split(60)):
                loss = nn.functional.cross_entropy(model(xb), yb)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            accuracy = (model(X_val).argmax(1) == y_val).float().mean().item()
        return accuracy, count_parameters(model)

    study = optuna.create_study(directions=["maximize", "minimize"])
    study.optimize(objective, n_trials=8)

    print("Number of trials on the Pareto front:", len(study.best_trials))
    for t in sorted(study.best_trials, key=lambda t: t.values[1]):
        print(f"  #{t.number}: acc={t.values[0]:.3f}, params={int(t.values[1])}, lr={t.params['lr']:.4f}")


if __name__ == "__main__":
    main()
