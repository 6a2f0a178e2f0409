import os

import matplotlib
matplotlib.use('Agg')
import optuna
import optuna.visualization.matplotlib as vis
import torch
import torch.nn as nn
import torch.optim as optim
from torch.optim import lr_scheduler
from sklearn.datasets import make_friedman1

OUT = 'plots'
os.makedirs(OUT, exist_ok=True)

X, y = make_friedman1(n_samples=500, noise=0.5, random_state=4)
X = torch.tensor(X, dtype=torch.float32)
y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
torch.manual_seed(4)


def objective(trial):
    params = {
        'lr': trial.suggest_float('lr', 1e-4, 1e-1, log=True),
        'n_hidden': trial.suggest_int('n_hidden', 8, 64),
        'eta_min': trial.suggest_float('eta_min', 1e-6, 1e-4, log=True),
    }
    net = nn.Sequential(nn.Linear(10, params['n_hidden']), nn.ReLU(), nn.Linear(params['n_hidden'], 1))
    optimizer = optim.Adam(net.parameters(), lr=params['lr'])
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=8, eta_min=params['eta_min'])
    for epoch in range(8):
        for i in range(0, 400, 50):
            optimizer.zero_grad()
            loss = nn.functional.smooth_l1_loss(net(X[i:i+50]), y[i:i+50])
            loss.backward()
            optimizer.step()
        scheduler.step()
    with torch.no_grad():
        return nn.functional.mse_loss(net(X[400:]), y[400:]).item()


study = optuna.create_study(direction='minimize')
study.optimize(objective, n_trials=8)

vis.plot_optimization_history(study).figure.savefig(os.path.join(OUT, 'history.png'))
vis.plot_slice(study, params=['lr'])
matplotlib.pyplot.savefig(os.path.join(OUT, 'slice.png'))
print('best', study.best_value, study.best_params)
