"""Objective and data of `galatune demo`."""
