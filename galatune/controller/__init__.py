"""The learning-rate controller: knows torch, knows nothing of Optuna."""
