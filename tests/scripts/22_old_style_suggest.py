import optuna
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable
from sklearn.datasets import load_iris

# written some years ago, still works

iris = load_iris()
perm = torch.randperm(150, generator=torch.Generator().manual_seed(0))
X = torch.from_numpy(iris.data).float()[perm]
y = torch.from_numpy(iris.target).long()[perm]


class Net(nn.Module):

    def __init__(self, trial):
        super(Net, self).__init__()
        mid_units = int(trial.suggest_uniform("mid_units", 5, 40))
        self.fc1 = nn.Linear(4, mid_units)
        self.fc2 = nn.Linear(mid_units, 3)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


def get_optimizer(trial, model):
    optimizer_names = ["Adam", "MomentumSGD"]
    optimizer_name = trial.suggest_categorical("optimizer", optimizer_names)
    weight_decay = trial.suggest_loguniform("weight_decay", 1e-10, 1e-3)
    if optimizer_name == optimizer_names[0]:
        adam_lr = trial.suggest_loguniform("adam_lr", 1e-4, 1e-1)
        optimizer = torch.optim.Adam(model.parameters(), lr=adam_lr, weight_decay=weight_decay)
    else:
        momentum_sgd_lr = trial.suggest_loguniform("momentum_sgd_lr", 1e-4, 1e-1)
        optimizer = torch.optim.SGD(model.parameters(), lr=momentum_sgd_lr, momentum=0.9, weight_decay=weight_decay)
    return optimizer


def objective(trial):
    model = Net(trial)
    optimizer = get_optimizer(trial, model)
    for epoch in range(30):
        data, target = Variable(X[:100]), Variable(y[:100])
        optimizer.zero_grad()
        loss = F.nll_loss(F.log_softmax(model(data), dim=1), target)
        loss.backward()
        optimizer.step()
    error = 1 - (model(X[100:]).max(1)[1] == y[100:]).float().mean().item()
    return error


study = optuna.create_study()
study.optimize(objective, n_trials=8)
print(study.best_params)
print(study.best_value)
