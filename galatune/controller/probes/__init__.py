"""Probes by name, and which takes whose place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from galatune.controller.probes.base import ConsecutiveProbe, Probe
from galatune.controller.probes.closure import ClosureProbe
from galatune.controller.probes.echo import EchoProbe
from galatune.controller.probes.graph import GraphProbe

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
