import optuna
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets, model_selection, preprocessing
from torch.utils.data import DataLoader, TensorDataset


def train(model, device, train_loader, optimizer):
	model.train()
	for batch_idx, (data, target) in enumerate(train_loader):
		data, target = data.to(device), target.to(device)
		optimizer.zero_grad()
		output = model(data)
		loss = F.nll_loss(output, target)
		loss.backward()
		optimizer.step()


def test(model, device, test_loader):
	model.eval()
	correct = 0
	with torch.no_grad():
		for data, target in test_loader:
			data, target = data.to(device), target.to(device)
			output = model(data)
			pred = output.argmax(dim=1, keepdim=True)
			correct += pred.eq(target.view_as(pred)).sum().item()
	return 1 - correct / len(test_loader.dataset)


def get_optimizer(trial, model):
	optimizer_name = trial.suggest_categorical("optimizer", ["Adam", "Adadelta", "Adagrad"])
	lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
	weight_decay = trial.suggest_float("weight_decay", 1e-10, 1e-3, log=True)
	return getattr(torch.optim, optimizer_name)(model.parameters(), lr=lr, weight_decay=weight_decay)


def objective(trial):
	hidden = trial.suggest_int("hidden", 8, 48)
	model = nn.Sequential(nn.Linear(13, hidden), nn.ReLU(), nn.Linear(hidden, 3), nn.LogSoftmax(dim=1)).to(device)
	optimizer = get_optimizer(trial, model)
	for step in range(EPOCH):
		train(model, device, train_loader, optimizer)
		error_rate = test(model, device, test_loader)
		trial.report(error_rate, step)
		if trial.should_prune():
			raise optuna.TrialPruned()
	return error_rate


if __name__ == "__main__":
	EPOCH = 6
	torch.manual_seed(100)
	device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
	X, y = datasets.load_wine(return_X_y=True)
	X = preprocessing.scale(X)
	X_train, X_test, y_train, y_test = model_selection.train_test_split(X, y, test_size=0.3, random_state=100)
	train_loader = DataLoader(TensorDataset(torch.tensor(X_train).float(), torch.tensor(y_train)), batch_size=16, shuffle=True)
	test_loader = DataLoader(TensorDataset(torch.tensor(X_test).float(), torch.tensor(y_test)), batch_size=64)

	study = optuna.create_study(direction="minimize")
	study.optimize(objective, n_trials=8)

	print("Best trial:")
	trial = study.best_trial
	print("  Value: ", trial.value)
	print("  Params: ")
	for key, value in trial.params.items():
		print("    {}: {}".format(key, value))
