"""Places that a report is sent to, found through the entry-point group ``galatune.sinks``.

A package declares an entry point such as ``wiki = "my_package.sinks:WikiSink"``. ``galatune report --sink
wiki`` then makes a ``WikiSink()`` and calls its `Sink.send`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from galatune.errors import ReportError
from galatune.formatting import printable
from galatune.report.savings import SavingsReport
from galatune.study.ledger.rows import Ledger

__all__ = ["GROUP", "Delivery", "Sink", "available", "destination_options", "find_sink"]

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
    """A place that a report is sent to.

    A sink may also have ``destination_options``, a tuple of option names such as ``("--server",)``: with
    ``--sink NAME`` they then mean the same as ``--sink-to``, in the words that users of the host know.
    """

    def send(self, delivery: Delivery, destination: str | None = None) -> str:
        """Send what is not there yet: sending the same report twice changes nothing.

        Args:
            delivery: The report.
            destination: Where to send it, as given by ``--sink-to``; None for the sink's own default.

        Returns:
            Where it lies now, in words and without a password.

        Raises:
            ReportError: It could not be sent. Nothing is lost: the studies are the record.
        """
        ...


def available() -> tuple[str, ...]:
    """Return the names of the installed sinks, sorted."""
    return tuple(sorted(_entries()))


def find_sink(name: str) -> Sink:
    """Load a sink by its name.

    Args:
        name: Name of its entry point.

    Raises:
        ReportError: No sink has that name, or it cannot be loaded.
    """
    entries = _entries()
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none is installed"
        raise ReportError(f"no sink is called {printable(name)!r}; available: {known}")
    try:
        return cast(Sink, entries[name].load()())
    except ImportError as error:
        raise ReportError(f"the sink {name!r} cannot be loaded ({error}); install its host") from error
    except (AttributeError, TypeError) as error:
        raise ReportError(
            f"the sink {name!r} cannot be loaded ({error}); its entry point names a class without arguments"
        ) from error


def destination_options(sink: Sink) -> tuple[str, ...]:
    """Return the names that a sink gives to ``--sink-to``; most sinks give none."""
    return tuple(getattr(sink, "destination_options", ()))


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
