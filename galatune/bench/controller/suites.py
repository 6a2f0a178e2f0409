"""Which tasks and methods belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galatune.bench.controller.methods import Method, Schedule, find_methods
from galatune.bench.controller.tasks import Task, available, find_tasks

__all__ = ["SUITES", "Selection", "Suite", "choose"]


@dataclass(frozen=True)
class Suite:
    """Defaults of ``galatune bench compare --suite``.

    Attributes:
        tasks: Names of tasks, comma-separated.
        methods: Names of methods, comma-separated.
        schedules: Schedules; a method is run with those that it knows.
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

DEFAULT = Suite("digits-cnn", "gala-graph,gala-closure,gala-sgd-graph,gala-sgd-closure", ("cosine",), 5)
"""What is compared if no suite is named."""


@dataclass(frozen=True)
class Selection:
    """What a comparison is made of.

    Attributes:
        tasks: Tasks whose data are there.
        methods: Methods, the fixed rates they are compared with among them.
        schedules: Schedules; a method is run with those that it knows.
        seeds: Number of seeds.
    """

    tasks: tuple[Task, ...]
    methods: tuple[Method, ...]
    schedules: tuple[Schedule, ...]
    seeds: int


def choose(
    suite: str | None,
    tasks: str | None,
    methods: str | None,
    schedules: Sequence[Schedule],
    seeds: int | None,
) -> Selection:
    """Fill in what was left out, from a suite or from the defaults.

    Args:
        suite: Name of a suite. Tasks of a suite whose data are missing are left out.
        tasks: Names of tasks, comma-separated; None for those of the suite.
        methods: Names of methods, comma-separated; None for those of the suite.
        schedules: Schedules; none for those of the suite.
        seeds: Number of seeds; None for that of the suite.

    Raises:
        GalatuneError: A name is unknown, or the data of a task that was named are missing.
    """
    default = DEFAULT if suite is None else SUITES[suite]
    if tasks is None:
        wanted = find_tasks(default.tasks) if suite is None else available(default.tasks)
    else:
        wanted = find_tasks(tasks)
    found = find_methods(default.methods if methods is None else methods)
    return Selection(
        tuple(wanted), tuple(found), tuple(schedules) or default.schedules, seeds or default.seeds
    )
