"""What is known of optimizers: their metrics, which of them set their own step, and what wraps what."""

from galatune.controller.optimizers.metrics import (
    State,
    adam_first_direction,
    as_real,
    has_seen_gradient,
    has_stepped,
)
from galatune.controller.optimizers.table import OptimizerMetric, metric_of, register_optimizer

__all__ = [
    "OptimizerMetric",
    "State",
    "adam_first_direction",
    "as_real",
    "has_seen_gradient",
    "has_stepped",
    "metric_of",
    "register_optimizer",
]
