"""The methods of the testbed."""

from __future__ import annotations

from galatune.bench.controller.methods.hypergradient import HYPERGRADIENT
from galatune.bench.controller.methods.method import SCHEDULES, Driver, Method, Schedule
from galatune.bench.controller.methods.ours import FIXED, OURS
from galatune.bench.controller.methods.peers import PEERS
from galatune.errors import GalatuneError

__all__ = ["METHODS", "OURS", "SCHEDULES", "Driver", "Method", "Schedule", "find_methods"]

METHODS = {method.name: method for method in (*FIXED, *OURS, *HYPERGRADIENT, *PEERS)}
"""Every method, by name."""


def find_methods(names: str) -> list[Method]:
    """Methods by a comma-separated list of names, with the fixed rates they are compared with.

    Raises:
        GalatuneError: One of them is none, or the list is empty.
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
