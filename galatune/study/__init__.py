"""Optuna studies, old and smaller: knows nothing of torch."""
