"""Places that a report goes to, found through the entry-point group ``galatune.sinks``.

A host package declares, say, ``mlflow = "galatune_mlflow.sink:MlflowSink"``; the class is made without
arguments and then asked to `Sink.send`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from galatune.errors import ReportError
from galatune.formatting import printable
from galatune.report.savings import SavingsReport
from galatune.study.ledger.rows import Ledger

__all__ = ["GROUP", "Delivery", "Sink", "available", "find_sink"]

GROUP = "galatune.sinks"


@dataclass(frozen=True)
class Delivery:
    """A finished report.

    Attributes:
        report: From `galatune.savings`.
        baseline: Ledger of the old study.
        shrunk: Ledger of the smaller study.
        page: The HTML page.
    """

    report: SavingsReport
    baseline: Ledger
    shrunk: Ledger
    page: str


class Sink(Protocol):
    """A place that a report goes to."""

    def send(self, delivery: Delivery, tracking_uri: str | None = None) -> str:
        """Send what is not there yet: sending the same report twice changes nothing.

        Args:
            delivery: The report.
            tracking_uri: Where to; None for the place that the host would take by itself.

        Returns:
            Where it lies now, in words and without a password.

        Raises:
            ReportError: It could not be sent. Nothing is lost: the studies are the record.
        """
        ...


def available() -> tuple[str, ...]:
    """Names of the installed sinks."""
    return tuple(sorted(_entries()))


def find_sink(name: str) -> Sink:
    """Load a sink by its name.

    Args:
        name: As declared in the entry-point group.

    Raises:
        ReportError: There is none of that name, or it cannot be loaded.
    """
    entries = _entries()
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none is installed"
        raise ReportError(f"no sink is called {printable(name)!r}; available: {known}")
    try:
        return cast(Sink, entries[name].load()())
    except ImportError as error:
        raise ReportError(f"the sink {name!r} cannot be loaded ({error}); install its host") from error


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
