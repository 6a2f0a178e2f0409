"""Optuna studies: the old one is read, the smaller one is run. Only search/ knows the controller."""
