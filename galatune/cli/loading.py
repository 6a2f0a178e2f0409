"""Modules are loaded whole or not at all, whenever Ctrl-C comes."""

from __future__ import annotations

from importlib import import_module

from galatune.study.search.signals import Interruption

__all__ = ["load"]


def load(*names: str) -> None:
    """Import modules; a Ctrl-C that comes meanwhile is raised when they are there.

    Inside the start of a module written in C it would be printed, or become an ImportError.

    Args:
        *names: Of modules that a command needs, directly or not.

    Raises:
        KeyboardInterrupt: It came.
    """
    with Interruption() as interruption, interruption.held():
        for name in names:
            import_module(name)
