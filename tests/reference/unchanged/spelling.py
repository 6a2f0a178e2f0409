"""Names of the old and the new checkout."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

EVENT_KINDS: dict[str, str] = {}
"""Kinds of events that have another name by now, old -> new."""

NEW_EVENTS: frozenset[str] = frozenset()
"""Kinds of events that the old checkout does not have; they are not compared."""

NAMES: dict[str, str] = {}
"""Fields of history records and values of events that have another name by now, old -> new."""

ALIGNMENTS = {"previous_update": "travelled", "same_minibatch": "minibatch"}
"""Values of the option `alignment`, new -> old."""

PLACES = (
    *("galatune", "galatune.controller", "galatune.controller.learners", "galatune.controller.options"),
    *("galatune.controller.guard", "galatune.controller.rule.guard", "galatune.controller.probes.schedule"),
)
"""Where the names used here are, in one checkout or the other."""


def find(name: str) -> Any:
    """A public name of the checkout, wherever it is."""
    for place in PLACES:
        try:
            return getattr(import_module(place), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"{name} is in none of {', '.join(PLACES)}; add its module to PLACES")


def spelled(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `attach` in the new spelling, guard and schedule as keywords, as the checkout wants them."""
    given = dict(options)
    known = inspect.signature(find("attach")).parameters
    if "guard" in given:
        guard, growth = find("Guard"), "max_growth_per_step"
        names = {} if growth in inspect.signature(guard).parameters else {growth: "pace"}
        given["guard"] = guard(**{names.get(name, name): value for name, value in given["guard"].items()})
    if "probe_schedule" in given:
        schedule = given.pop("probe_schedule")
        if "probe_schedule" in known:
            given["probe_schedule"] = find("ProbeSchedule")(**schedule)
        else:
            given.update({f"probe_{name}": value for name, value in schedule.items()})
    if "alignment" in given and given["alignment"] not in find("ALIGNMENTS"):
        given["alignment"] = ALIGNMENTS[given["alignment"]]
    if "learner" in given:
        name, settings = given["learner"]
        parts = {key: find(value)() if isinstance(value, str) else value for key, value in settings.items()}
        given["learner"] = find(name)(**parts)
    return given


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {NAMES.get(name, name): value for name, value in values.items()}
