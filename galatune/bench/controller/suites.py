"""Which tasks and methods belong together."""

from __future__ import annotations

from dataclasses import dataclass

from galatune.bench.controller.methods import Schedule

__all__ = ["SUITES", "Suite"]


@dataclass(frozen=True)
class Suite:
    """Defaults of ``galatune bench --suite``.

    Attributes:
        tasks: Comma-separated.
        methods: Comma-separated.
        schedules: Of the methods that know them.
        seeds: Number of seeds.
    """

    tasks: str
    methods: str
    schedules: tuple[Schedule, ...]
    seeds: int


_QUICK_TASKS = (
    "digits-cnn,digits-mlp,digits-dropout,digits-label-noise,digits-deep-tanh,digits-heavy-tails,"
    "friedman1,logistic-ill-conditioned,wine,breast_cancer,iris"
)
_FULL_TASKS = (
    f"{_QUICK_TASKS},digits-batch-16,digits-batch-1024,digits-sorted,digits-cyclic,digits-unscaled,"
    "digits-fine-tune,table-california_housing,table-adult,table-letter,table-diamonds,"
    "table-adult-batch-4096,char-lstm,char-transformer"
)

SUITES = {
    "quick": Suite(_QUICK_TASKS, "gala-graph,gala-closure,prodigy,prodigy-safeguard", ("cosine",), 3),
    "full": Suite(
        _FULL_TASKS,
        "gala-graph,gala-closure,gala-echo,prodigy,prodigy-safeguard,d-adaptation,mechanic,momo,schedule-free,"
        "dog,hypergradient-adam",
        ("cosine", "constant"),
        3,
    ),
}
"""quick: five to fifteen minutes on two cores. full: all tasks and both schedules, over an hour."""
