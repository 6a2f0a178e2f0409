"""What the controller decided or noticed, in words and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Event", "EventLog", "Note"]

Note = Callable[[str, str, Mapping[str, float]], None]
"""Called with (kind, reason, values)."""


@dataclass(frozen=True)
class Event:
    """One thing that the controller decided or noticed.

    Attributes:
        step: Optimizer step, from 1; 0 before the first.
        kind: Short name: "probe", "schedule", "start", "limit", "non-finite", ...
        reason: In words.
        values: Numbers behind it.
    """

    step: int
    kind: str
    reason: str
    values: Mapping[str, float] = field(default_factory=dict)


class EventLog:
    """The events of one controller.

    Args:
        step: Returns the number of the present step, from 1.
        told: Called with each event; None if nobody wants to be told.
        events: Those of the optimizer before, if there was one over the same parameters.

    Attributes:
        events: Oldest first.
    """

    def __init__(
        self,
        step: Callable[[], int],
        told: Callable[[Event], None] | None,
        events: list[Event] | None = None,
    ) -> None:
        self.events: list[Event] = [] if events is None else events
        self._step, self._told = step, told
        self._once: set[str] = set()

    def note(self, kind: str, reason: str, values: Mapping[str, float]) -> None:
        """Add an event."""
        event = Event(self._step(), kind, reason, dict(values))
        self.events.append(event)
        if self._told is not None:
            self._told(event)

    def note_once(self, kind: str, reason: str) -> None:
        """Add an event unless one with this reason was added before, or before the last `forget_once`."""
        if reason not in self._once:
            self._once.add(reason)
            self.note(kind, reason, {})

    def forget_once(self) -> None:
        """Let every reason be said once more; a checkpoint was loaded."""
        self._once.clear()
