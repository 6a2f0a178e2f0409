"""Processes that a script starts: galatune is not in them, so they must not open the script's storages."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from galatune.errors import ObjectiveError

__all__ = ["Refusal", "refused_in"]

LOKY = ("loky", "joblib.externals.loky")
"""Its workers import what they need later than others."""


def refused_in(script: str) -> ObjectiveError:
    """Why a process that a script has started does not search.

    Args:
        script: What it is called.
    """
    return ObjectiveError(
        f"{script} searches in processes that it starts itself, where galatune cannot take the search over; "
        "call study.optimize once, in the script's own process, and let --workers N start the processes"
    )


@dataclass(frozen=True)
class Refusal:
    """Travels with a process that starts anew; from then on that opens no storage.

    Attributes:
        script: What the script is called.
    """

    script: str

    def __reduce__(self) -> Any:
        """Unpickled, it acts."""
        return _refuse, (self.script,)


def _refuse(script: str) -> Refusal:
    """Let Optuna's storages refuse to be opened; a process that does not know Optuna need not load it."""
    if "optuna" in sys.modules or any(name in sys.modules for name in LOKY):
        from optuna import storages
        from optuna.storages.journal import JournalFileBackend

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise refused_in(script)

        for one in (storages.RDBStorage, storages.GrpcStorageProxy, JournalFileBackend):
            one.__init__ = refuse  # type: ignore[method-assign]
    return Refusal(script)
