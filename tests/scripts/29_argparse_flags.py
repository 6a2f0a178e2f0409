import argparse
import logging
import sys
from pathlib import Path

import optuna
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def parse_args():
    p = argparse.ArgumentParser(description="Tune a digits classifier")
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--trials", type=int, default=5)
    p.add_argument("--seed", type=int, default=13)
    p.add_argument("--out", type=Path, default=Path("runs"))
    p.add_argument("--study-name", default="digits-f1")
    p.add_argument("--storage", default=None, help="e.g. sqlite:///digits.db")
    p.add_argument("--no-cuda", action="store_true")
    return p.parse_args()


def build(depth, width, dropout):
    mods = [nn.Flatten()]
    d = 64
    for _ in range(depth):
        mods += [nn.Linear(d, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]
        d = width
    return nn.Sequential(*mods, nn.Linear(d, 10))


def fit(model, loader, optimizer, scheduler, epochs, device):
    lossf = nn.CrossEntropyLoss()
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            lossf(model(x.to(device)), y.to(device)).backward()
            optimizer.step()
            scheduler.step()


def make_objective(args, train, val, device):
    def objective(trial):
        depth = trial.suggest_int("depth", 1, 2)
        width = trial.suggest_int("width", 32, 96, step=32)
        dropout = trial.suggest_float("dropout", 0.0, 0.4)
        base_lr = trial.suggest_float("base_lr", 1e-3, 1e-1, log=True)
        bs = trial.suggest_categorical("batch_size", [64, 128])
        loader = DataLoader(train, batch_size=bs, shuffle=True, drop_last=True)
        model = build(depth, width, dropout).to(device)
        # backbone learns slower than the head
        head = list(model[-1].parameters())
        body = [p for m in list(model)[:-1] for p in m.parameters()]
        optimizer = torch.optim.SGD(
            [{"params": body, "lr": base_lr * 0.5}, {"params": head}], lr=base_lr, momentum=0.9, nesterov=True
        )
        warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=len(loader))
        fit(model, loader, optimizer, warmup, args.epochs, device)
        model.eval()
        with torch.no_grad():
            pred = model(val.tensors[0].to(device)).argmax(1).cpu()
        score = f1_score(val.tensors[1], pred, average="macro")
        ckpt = args.out / f"trial_{trial.number}.pt"
        torch.save(model.state_dict(), ckpt)
        trial.set_user_attr("checkpoint", str(ckpt))
        return score

    return objective


def main(args):
    optuna.logging.get_logger("optuna").addHandler(logging.StreamHandler(sys.stdout))
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() and not args.no_cuda else "cpu")
    args.out.mkdir(parents=True, exist_ok=True)
    X, y = load_digits(return_X_y=True)
    X_tr, X_va, y_tr, y_va = train_test_split(X / 16.0, y, test_size=0.2, random_state=args.seed, stratify=y)
    train = TensorDataset(torch.tensor(X_tr, dtype=torch.float32), torch.tensor(y_tr))
    val = TensorDataset(torch.tensor(X_va, dtype=torch.float32), torch.tensor(y_va))

    study = optuna.create_study(
        study_name=args.study_name,
        storage=args.storage,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=args.seed),
    )
    study.optimize(make_objective(args, train, val, device), n_trials=args.trials)
    study.trials_dataframe().to_csv(args.out / "trials.csv")
    print("best F1 %.4f" % study.best_value)
    print("checkpoint:", study.best_trial.user_attrs["checkpoint"])


if __name__ == "__main__":
    main(parse_args())
