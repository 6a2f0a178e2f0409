#!/usr/bin/env python
# coding: utf-8

# # Hyperparameter search for the digits classifier

# In[1]:


import numpy as np
import pandas as pd
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
import optuna


# In[2]:


torch.manual_seed(42)
np.random.seed(42)
device = 'cuda' if torch.cuda.is_available() else 'cpu'
print('Using device', device)


# In[3]:


X, y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 16.
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=42)
train_ds = TensorDataset(torch.tensor(X_train), torch.tensor(y_train))
test_ds = TensorDataset(torch.tensor(X_test), torch.tensor(y_test))
X_train.shape, X_test.shape


# In[4]:


class Net(nn.Module):
    def __init__(self, h1, h2, drop):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, h1), nn.ReLU(), nn.Dropout(drop),
                                    nn.Linear(h1, h2), nn.ReLU(), nn.Linear(h2, 10))
    def forward(self, x):
        return self.layers(x)


# In[5]:


def objective(trial):
    h1 = trial.suggest_int('h1', 16, 64)
    h2 = trial.suggest_int('h2', 16, 64)
    drop = trial.suggest_float('drop', 0, 0.5)
    lr = trial.suggest_float('lr', 1e-4, 1e-1, log=True)
    bs = trial.suggest_categorical('bs', [64, 128])
    net = Net(h1, h2, drop).to(device)
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    crit = nn.CrossEntropyLoss()
    for epoch in range(3):
        net.train()
        for xb, yb in DataLoader(train_ds, batch_size=bs, shuffle=True):
            opt.zero_grad()
            l = crit(net(xb.to(device)), yb.to(device))
            l.backward()
            opt.step()
    net.eval()
    with torch.no_grad():
        xb, yb = test_ds.tensors
        acc = (net(xb.to(device)).argmax(1).cpu() == yb).float().mean().item()
    return acc


# In[6]:


study = optuna.create_study(direction='maximize')
study.optimize(objective, n_trials=6)


# In[7]:


study.best_params


# In[8]:


df = study.trials_dataframe()
df.sort_values('value', ascending=False).head()


# In[9]:


plt.scatter(df['params_lr'], df['value'])
plt.xscale('log')
plt.xlabel('lr')
plt.savefig('lr_vs_acc.png')


# In[10]:


best = study.best_params
net = Net(best['h1'], best['h2'], best['drop']).to(device)
opt = torch.optim.Adam(net.parameters(), lr=best['lr'])
hist = []
for epoch in range(5):
    for xb, yb in DataLoader(train_ds, batch_size=best['bs'], shuffle=True):
        opt.zero_grad()
        l = nn.functional.cross_entropy(net(xb.to(device)), yb.to(device))
        l.backward()
        opt.step()
    hist.append(l.item())
print(hist)
