"""Estimators for tables: fit and predict, no learning rate."""
