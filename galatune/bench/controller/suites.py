"""Which tasks and methods belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        rates: Fixed rates to compare with; None for those of `Method.rates`. Either grid is widened until its
            best rate lies inside.
    """

    tasks: str
    methods: str
    schedules: tuple[Schedule, ...]
    seeds: int
    rates: tuple[float, ...] | None = None


_QUICK_TASKS = (
    "digits-cnn,digits-mlp,digits-dropout,digits-label-noise,digits-deep-tanh,digits-heavy-tails,"
    "friedman1,logistic-ill-conditioned,wine,breast_cancer,iris"
)
_FULL_TASKS = (
    f"{_QUICK_TASKS},digits-batch-16,digits-batch-1024,digits-sorted,digits-cyclic,digits-unscaled,"
    "digits-fine-tune,table-california_housing,table-adult,table-letter,table-diamonds,"
    "table-adult-batch-4096,char-lstm,char-transformer"
)
_HELD_OUT_TASKS = "diabetes,friedman2,friedman3,table-credit_g,table-hypothyroid,table-online_shoppers"
_LONG_TASKS = (
    "digits-mlp-4000,digits-dropout-4000,friedman1-4000,table-letter-4000,table-diamonds-4000,"
    "friedman3-4000,table-hypothyroid-4000,table-online_shoppers-4000,"
    "digits-mlp-20000,friedman1-20000,table-letter-20000,table-diamonds-20000,"
    "friedman3-20000,table-hypothyroid-20000,table-online_shoppers-20000"
)

SUITES = {
    "quick": Suite(_QUICK_TASKS, "gala-graph,gala-closure,prodigy,prodigy-safeguard", ("cosine",), 3),
    "full": Suite(
        f"{_FULL_TASKS},{_HELD_OUT_TASKS}",
        "gala-graph,gala-closure,gala-echo,prodigy,prodigy-safeguard,d-adaptation,mechanic,momo,schedule-free,"
        "dog,dowg,cocob,hypergradient-adam",
        ("cosine", "constant"),
        3,
    ),
    "held-out": Suite(
        _HELD_OUT_TASKS,
        "gala-graph,gala-closure,gala-echo,momo,prodigy-safeguard,dog,dowg,cocob",
        ("cosine", "constant"),
        3,
    ),
    "long": Suite(
        _LONG_TASKS,
        "gala-graph,gala-closure,gala-echo,momo,prodigy-safeguard",
        ("cosine",),
        2,
        (3e-4, 1e-3, 3e-3, 1e-2),
    ),
}
"""The help of ``galatune bench compare`` says what they are for and how long they take."""

DEFAULT = Suite("digits-cnn", "gala-graph,gala-closure,gala-sgd-graph,gala-sgd-closure", ("cosine",), 5)
"""What is compared if no suite is named."""


@dataclass(frozen=True)
class Selection:
    """What a comparison is made of.

    Attributes:
        tasks: Tasks whose data are there.
        methods: Methods, the fixed rates they are compared with among them.
        schedules: Schedules; a method is run with those that it knows.
        seeds: Seeds of torch.
    """

    tasks: tuple[Task, ...]
    methods: tuple[Method, ...]
    schedules: tuple[Schedule, ...]
    seeds: range


def choose(
    suite: str | None,
    tasks: str | None,
    methods: str | None,
    schedules: Sequence[Schedule],
    seeds: int | None,
    first_seed: int = 0,
) -> Selection:
    """Fill in what was left out, from a suite or from the defaults.

    Args:
        suite: Name of a suite. Tasks of a suite whose data are missing are left out.
        tasks: Names of tasks, comma-separated; None for those of the suite.
        methods: Names of methods, comma-separated; None for those of the suite.
        schedules: Schedules; none for those of the suite.
        seeds: Number of seeds; None for that of the suite.
        first_seed: The others follow it.

    Raises:
        GalatuneError: A name is unknown, or the data of a task that was named are missing.
    """
    default = DEFAULT if suite is None else SUITES[suite]
    if tasks is None:
        wanted = find_tasks(default.tasks) if suite is None else available(default.tasks)
    else:
        wanted = find_tasks(tasks)
    found = find_methods(default.methods if methods is None else methods)
    if default.rates is not None:
        found = [replace(method, rates=default.rates) if method.tuned else method for method in found]
    return Selection(
        tuple(wanted),
        tuple(found),
        tuple(schedules) or default.schedules,
        range(first_seed, first_seed + (seeds or default.seeds)),
    )
