"""An ordinary Optuna study with the learning rate searched: what you have already."""

import optuna

from galatune.demo.objective import objective

study = optuna.create_study(
    study_name="digits",
    storage="sqlite:///digits.db",
    sampler=optuna.samplers.TPESampler(seed=0),
    load_if_exists=True,
)
study.optimize(objective, n_trials=8)
print(f"{len(study.trials)} trials, best {study.best_value:.4f}")
