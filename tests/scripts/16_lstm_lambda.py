import numpy as np
import optuna
import torch
import torch.nn as nn


def create_sequences(series, seq_len):
    xs, ys = [], []
    for i in range(len(series) - seq_len):
        xs.append(series[i:i + seq_len])
        ys.append(series[i + seq_len])
    return np.array(xs), np.array(ys)


class LSTMModel(nn.Module):
    def __init__(self, hidden_size, num_layers):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden_size, num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1, :])


def objective(trial, X_train, y_train, X_val, y_val, device):
    hidden_size = trial.suggest_int('hidden_size', 4, 16)
    num_layers = trial.suggest_int('num_layers', 1, 2)
    learning_rate = trial.suggest_float('learning_rate', 1e-4, 1e-1, log=True)
    clip = trial.suggest_float('clip', 0.5, 5.0)

    model = LSTMModel(hidden_size, num_layers).to(device)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)

    best_val = float('inf')
    patience = 2
    for epoch in range(5):
        model.train()
        for i in range(0, len(X_train), 64):
            xb = X_train[i:i + 64].to(device)
            yb = y_train[i:i + 64].to(device)
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_loss = criterion(model(X_val.to(device)), y_val.to(device)).item()
        if val_loss < best_val:
            best_val = val_loss
            patience = 2
        else:
            patience -= 1
            if patience == 0:
                print('early stopping at epoch', epoch)
                break
    return best_val


if __name__ == '__main__':
    np.random.seed(42)
    torch.manual_seed(42)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')

    t = np.arange(0, 60, 0.15)
    series = np.sin(t) + 0.5 * np.sin(3 * t) + 0.1 * np.random.randn(len(t))
    X, y = create_sequences(series, 12)
    X = torch.tensor(X, dtype=torch.float32).unsqueeze(-1)
    y = torch.tensor(y, dtype=torch.float32).unsqueeze(-1)
    split = int(0.8 * len(X))

    study = optuna.create_study(direction='minimize')
    study.optimize(
        lambda trial: objective(trial, X[:split], y[:split], X[split:], y[split:], device),
        n_trials=6,
    )

    print('Best hyperparameters:', study.best_params)
    print('Best loss:', study.best_value)
