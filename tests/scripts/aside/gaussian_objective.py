import torch
from sklearn.datasets import make_gaussian_quantiles
from torch import nn

_X, _y = make_gaussian_quantiles(n_samples=900, n_features=5, n_classes=3, random_state=0)
_X, _y = torch.tensor(_X).float(), torch.tensor(_y).long()


class Model(nn.Module):
    def __init__(self, n_layers, n_hidden, activation):
        super().__init__()
        self.inp = nn.Linear(5, n_hidden)
        self.layers = nn.ModuleList([nn.Linear(n_hidden, n_hidden) for _ in range(n_layers)])
        self.out = nn.Linear(n_hidden, 3)
        self.act = getattr(torch, activation)

    def forward(self, x):
        x = self.act(self.inp(x))
        for layer in self.layers:
            x = self.act(layer(x))
        return self.out(x)


def objective(trial):
    params = {
        'learning_rate': trial.suggest_float('learning_rate', 1e-4, 1e-1, log=True),
        'optimizer': trial.suggest_categorical('optimizer', ['Adam', 'RMSprop', 'SGD']),
        'n_layers': trial.suggest_int('n_layers', 0, 2),
        'n_hidden': trial.suggest_int('n_hidden', 8, 32),
        'activation': trial.suggest_categorical('activation', ['relu', 'tanh', 'sigmoid']),
    }
    model = Model(params['n_layers'], params['n_hidden'], params['activation'])
    optimizer = getattr(torch.optim, params['optimizer'])(model.parameters(), lr=params['learning_rate'])
    for epoch in range(6):
        for idx in torch.randperm(700).split(50):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(_X[idx]), _y[idx])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return (model(_X[700:]).argmax(1) == _y[700:]).float().mean().item()
