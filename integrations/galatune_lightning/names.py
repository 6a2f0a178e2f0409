"""Names of the logged rates: those of Lightning's LearningRateMonitor, and a suffix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

__all__ = ["SUFFIX", "rate_names"]

SUFFIX = "-applied"
"""Behind the monitor's name, as its own "-momentum" and "-weight_decay"."""


def rate_names(optimizers: Sequence[Any], schedulers: Sequence[Any]) -> list[list[str]]:
    """Name of the rate of each group of each optimizer.

    Args:
        optimizers: Of the trainer.
        schedulers: Its `lr_scheduler_configs`, each with a `name` and the `scheduler` of one optimizer.
    """
    named: dict[int, list[str]] = {}
    counts: Counter[type] = Counter()
    for config in schedulers:
        optimizer = config.scheduler.optimizer
        named[id(optimizer)] = _names_of(optimizer, config.name, counts)
    for optimizer in optimizers:
        if id(optimizer) not in named:
            named[id(optimizer)] = _names_of(optimizer, None, counts)
    return [named[id(optimizer)] for optimizer in optimizers]


def _names_of(optimizer: Any, name: str | None, counts: Counter[type]) -> list[str]:
    kind = type(optimizer)
    if name is None:
        name = f"lr-{kind.__name__}"
        counts[kind] += 1
    if counts[kind] > 1:
        name = f"{name}-{counts[kind] - 1}"
    groups = optimizer.param_groups
    if len(groups) == 1:
        own = groups[0].get("name")
        return [f"{name}/{own}{SUFFIX}" if own else f"{name}{SUFFIX}"]
    return [f"{name}/{group.get('name', f'pg{i}')}{SUFFIX}" for i, group in enumerate(groups, start=1)]
