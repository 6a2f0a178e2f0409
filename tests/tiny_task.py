"""A task of the testbed that trains in no time."""

from __future__ import annotations

import torch

from galatune.bench.controller.tasks import Task
from galatune.bench.controller.tasks.task import Data, Training, mean_squared_error, supervised


def _line(dtype: torch.dtype) -> Training:
    x = torch.randn(64, 3, dtype=dtype)
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=dtype)
    data = Data(x[:48], y[:48], x[48:], y[48:])
    return supervised(torch.nn.Linear(3, 1).to(dtype), data, batch_size=16, loss=mean_squared_error)


def line_task() -> Task:
    """A linear regression of 60 steps."""
    return Task("line", 60, _line)
