"""Code that you cannot or do not want to change: train the best trial once more, under control."""

import optuna

import galatune
from galatune.demo.objective import objective

study = optuna.load_study(study_name="digits-gala", storage="sqlite:///digits-gala.db")
trial = galatune.fixed_trial(study)  # the best trial, its dropped dimensions filled in
with galatune.controlled() as capture:
    loss = objective(trial)
for name, controller in zip(capture.names, capture.controllers, strict=True):
    print(f"{name}: {controller.steps} steps, {controller.probes} probes, loss {loss:.4f}")
