import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def get_loaders(batch_size, split=1300):
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X, dtype=torch.float32).div_(16)
    y = torch.tensor(y)
    train = TensorDataset(X[:split], y[:split])
    val = TensorDataset(X[split:], y[split:])
    return DataLoader(train, batch_size=batch_size, shuffle=True), DataLoader(val, batch_size=500)
