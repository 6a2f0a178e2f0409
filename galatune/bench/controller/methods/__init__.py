"""The methods of the testbed."""

from __future__ import annotations

from collections.abc import Iterable

from galatune.bench.controller.methods.controlled import CONTROLLED
from galatune.bench.controller.methods.fixed import FIXED, ONE_RATE
from galatune.bench.controller.methods.hypergradient import HYPERGRADIENT
from galatune.bench.controller.methods.learners import LEARNERS
from galatune.bench.controller.methods.method import SCHEDULES, Driver, Method, Schedule
from galatune.bench.controller.methods.parameter_free import PARAMETER_FREE
from galatune.bench.controller.methods.peers import PEERS
from galatune.errors import GalatuneError

__all__ = [
    "METHODS",
    "ONE_RATE",
    "SCHEDULES",
    "Driver",
    "Method",
    "Schedule",
    "controlled_first",
    "find_methods",
]

METHODS = {
    method.name: method
    for method in (*FIXED, *ONE_RATE, *CONTROLLED, *LEARNERS, *HYPERGRADIENT, *PARAMETER_FREE, *PEERS)
}
"""Every method, by name."""


def find_methods(names: str) -> list[Method]:
    """Return methods by a comma-separated list of names, and the fixed rates they are compared with.

    Raises:
        GalatuneError: A name is unknown, or the list is empty.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise GalatuneError(f"no method is named in {names!r}; use {', '.join(METHODS)}")
    for name in wanted:
        if name not in METHODS:
            raise GalatuneError(
                f"no method {name!r}; use {', '.join(METHODS)} (other optimizers come with "
                "pip install 'galatune[bench]')"
            )
    bases = {METHODS[name].base for name in wanted}
    return [METHODS[name] for name in dict.fromkeys((*sorted(bases), *wanted))]


def controlled_first(names: Iterable[str]) -> list[str]:
    """Sort names of methods: those under control first, each kind in the order of `METHODS`."""
    wanted = set(names)
    found = [method for method in METHODS.values() if method.name in wanted]
    return [method.name for method in sorted(found, key=lambda method: not method.controlled)]
