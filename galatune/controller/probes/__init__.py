"""Sources of gradient pairs, by name, and which replaces which."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from galatune.controller.probes.base import Probe
from galatune.controller.probes.closure import ClosureProbe
from galatune.controller.probes.consecutive import ConsecutiveProbe
from galatune.controller.probes.echo import EchoProbe
from galatune.controller.probes.graph import GraphProbe

__all__ = ["PROBES", "SUCCESSORS", "ClosureProbe", "ConsecutiveProbe", "EchoProbe", "GraphProbe", "Probe"]

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
"""What replaces a probe that cannot serve a loop; the last one serves every loop."""
