"""Probes by name, and which takes whose place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from galatune.controller.closure import ClosureProbe
from galatune.controller.echo import EchoProbe
from galatune.controller.graph import GraphProbe
from galatune.controller.probe import ConsecutiveProbe, Probe

__all__ = ["PROBES", "SUCCESSORS"]

PROBES: Mapping[str, Callable[[], Probe]] = {
    "closure": ClosureProbe,
    "graph": GraphProbe,
    "echo": EchoProbe,
    "consecutive": ConsecutiveProbe,
}

SUCCESSORS: Mapping[str, Callable[[], Probe]] = {
    "closure": GraphProbe,
    "graph": EchoProbe,
    "echo": ConsecutiveProbe,
}
"""What takes the place of a probe that cannot serve a loop; the last one serves every loop."""
