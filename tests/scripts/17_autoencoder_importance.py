import optuna
import torch
from optuna.importance import get_param_importances
from sklearn.datasets import load_digits
from torch import nn


class AutoEncoder(nn.Module):
    def __init__(self, code, hidden):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, code))
        self.decoder = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, 64), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x))


def step(model, batch, optimizer=None):
    loss = nn.functional.mse_loss(model(batch), batch)
    if optimizer is not None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def objective(trial, train, val):
    code = trial.suggest_int("code", 2, 8)
    hidden = trial.suggest_categorical("hidden", [16, 32, 64])
    lr = trial.suggest_float("lr", 1e-4, 3e-2, log=True)
    model = AutoEncoder(code, hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(4):
        model.train()
        losses = [step(model, batch, optimizer) for batch in train.split(64)]
        model.eval()
        with torch.no_grad():
            val_loss = step(model, val)
        trial.report(val_loss, epoch)
        trial.set_user_attr("train_loss", sum(losses) / len(losses))
    return val_loss


def main():
    torch.manual_seed(8)
    data = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    train, val = data[:1024], data[1024:]
    func = lambda trial: objective(trial, train, val)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=8))
    study.optimize(func, n_trials=8)
    print("best reconstruction error", study.best_value)
    for name, importance in get_param_importances(study).items():
        print(f"{name:>10s} {importance:.3f}")


if __name__ == "__main__":
    main()
