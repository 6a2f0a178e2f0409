from types import SimpleNamespace

import optuna
import torch
from sklearn.datasets import make_blobs
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

optuna.logging.disable_default_handler()

args = SimpleNamespace(epochs=4, n_trials=6, seed=77, device="cuda" if torch.cuda.is_available() else "cpu")


def print_best_callback(study, trial):
    print(f"[{trial.number:02d}] value={trial.value:.4f}  best={study.best_value:.4f} ({study.best_trial.number})")


def get_loaders(batch_size, seed):
    X, y = make_blobs(n_samples=800, centers=5, n_features=6, cluster_std=4.0, random_state=seed)
    X = (X - X.mean(0)) / X.std(0)
    ds = TensorDataset(torch.tensor(X).float(), torch.tensor(y).long())
    train, val = torch.utils.data.random_split(ds, [0.8, 0.2], generator=torch.Generator().manual_seed(seed))
    return DataLoader(train, batch_size, shuffle=True), DataLoader(val, 200)


def train_and_eval(trial, args):
    torch.manual_seed(args.seed)
    lr = trial.suggest_float("optim/lr", 1e-4, 1e-1, log=True)
    wd = trial.suggest_float("optim/weight_decay", 1e-6, 1e-2, log=True)
    width = trial.suggest_int("model/width", 16, 64, step=16)
    norm = trial.suggest_categorical("model/norm", ["none", "layer"])
    train_loader, val_loader = get_loaders(64, args.seed)
    model = nn.Sequential(
        nn.Linear(6, width),
        nn.LayerNorm(width) if norm == "layer" else nn.Identity(),
        nn.GELU(),
        nn.Linear(width, 5),
    ).to(args.device)
    optimizer = optim.AdamW([{"params": model.parameters()}], lr=lr, weight_decay=wd)
    for epoch in range(args.epochs):
        for x, y in train_loader:
            loss = nn.CrossEntropyLoss()(model(x.to(args.device)), y.to(args.device))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
    right = total = 0
    with torch.no_grad():
        for x, y in val_loader:
            right += int((model(x.to(args.device)).argmax(-1).cpu() == y).sum())
            total += y.numel()
    return right / total


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize")
    study.optimize(
        lambda trial: train_and_eval(trial, args), n_trials=args.n_trials, callbacks=[print_best_callback]
    )
    print(study.best_trial)
