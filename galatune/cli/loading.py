"""Modules are loaded whole or not at all, whenever Ctrl-C comes."""

from __future__ import annotations

from importlib import import_module

from galatune.errors import GalatuneError
from galatune.formatting import first_line
from galatune.study.search.signals import Interruption

__all__ = ["load"]


def load(*names: str) -> None:
    """Import modules; a Ctrl-C that comes meanwhile is raised when they are there.

    Inside the start of a module written in C it would be printed, or become an ImportError.

    Args:
        *names: Of modules that a command needs, directly or not.

    Raises:
        KeyboardInterrupt: It came.
        GalatuneError: A package is broken, or its settings are.
    """
    with Interruption() as interruption, interruption.held():
        for name in names:
            try:
                import_module(name)
            except Exception as error:  # whatever a broken package or a setting of it asks for
                raise GalatuneError(
                    f"Cannot load {name}: {type(error).__name__}: {first_line(error)}. Install that package "
                    "again, or mend the setting that it names"
                ) from error
