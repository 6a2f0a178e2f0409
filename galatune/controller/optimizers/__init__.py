"""What is known of optimizers: their metrics, which of them set their own step, and what wraps what."""

from galatune.controller.optimizers.metrics import (
    OptimizerMetric,
    State,
    adam_first_direction,
    as_real,
    first_diagonal,
    has_seen_gradient,
    has_stepped,
)
from galatune.controller.optimizers.self_tuning import (
    StepLengths,
    own_step,
    register_self_tuning,
    writes_rate,
)
from galatune.controller.optimizers.table import is_plain, metric_of, register_optimizer
from galatune.controller.optimizers.wrappers import (
    Wrappers,
    enclosing,
    inner_optimizers,
    parameter_ids,
)

__all__ = [
    "OptimizerMetric",
    "State",
    "StepLengths",
    "Wrappers",
    "adam_first_direction",
    "as_real",
    "enclosing",
    "first_diagonal",
    "has_seen_gradient",
    "has_stepped",
    "inner_optimizers",
    "is_plain",
    "metric_of",
    "own_step",
    "parameter_ids",
    "register_optimizer",
    "register_self_tuning",
    "writes_rate",
]
