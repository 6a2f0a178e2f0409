import joblib
import optuna
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(1)
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")

digits = load_digits()
images = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
targets = torch.tensor(digits.target)
train_images, train_targets = images[:1000].to(device), targets[:1000].to(device)
val_images, val_targets = images[1000:1400].to(device), targets[1000:1400].to(device)


class SmallCNN(nn.Module):
    def __init__(self, channels=8, dropout=0.2):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels * 2, 3, padding=1)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(channels * 2 * 2 * 2, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.drop(x.flatten(1))
        return self.fc(x)


def objective(trial):
    max_lr = trial.suggest_float("max_lr", 1e-4, 1e-1, log=True)
    channels = trial.suggest_categorical("channels", [4, 8])
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    epochs, bs = 3, 100
    steps = len(train_images) // bs

    model = SmallCNN(channels, dropout).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=max_lr)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=max_lr, epochs=epochs, steps_per_epoch=steps
    )
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(train_images), device=device)
        for i in range(steps):
            batch = order[i * bs : (i + 1) * bs]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(train_images[batch]), train_targets[batch])
            loss.backward()
            optimizer.step()
            scheduler.step()

    model.eval()
    with torch.no_grad():
        acc = (model(val_images).argmax(1) == val_targets).float().mean().item()
    return acc


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize", study_name="digits_cnn")
    # start from what worked last time
    study.enqueue_trial({"max_lr": 1e-2, "channels": 8, "dropout": 0.2})
    study.optimize(objective, n_trials=6)
    joblib.dump(study, "study.pkl")
    study = joblib.load("study.pkl")
    print("Number of finished trials:", len(study.trials))
    print("Best trial:", study.best_trial.params, study.best_trial.value)
