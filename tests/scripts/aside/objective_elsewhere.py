import optuna
import torch

from gaussian_objective import objective

if __name__ == '__main__':
    torch.manual_seed(123)
    sampler = optuna.samplers.TPESampler(seed=123, n_startup_trials=4)
    study = optuna.create_study(direction='maximize', sampler=sampler)
    study.set_user_attr('contact', 'me')
    study.optimize(objective, n_trials=8, catch=(RuntimeError,))

    trial = study.best_trial
    print('Accuracy: {}'.format(trial.value))
    print('Best hyperparameters: {}'.format(trial.params))
