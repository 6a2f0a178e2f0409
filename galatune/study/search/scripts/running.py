"""Run somebody's script as Python itself would: as `__main__`, with its arguments."""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from galatune.errors import ObjectiveError
from galatune.formatting import printable

__all__ = ["Script"]


@dataclass(frozen=True)
class Script:
    """A program that calls `study.optimize` itself.

    Attributes:
        place: Path of a .py file, or the name of a module.
        arguments: What stands behind it on its command line.
        is_module: Whether ``place`` is a module, as in ``python -m``.
    """

    place: str
    arguments: tuple[str, ...] = ()
    is_module: bool = False

    @property
    def name(self) -> str:
        """As it is called in messages."""
        return printable(self.place if self.is_module else Path(self.place).name)

    @property
    def file(self) -> str | None:
        """Path of its source; None if that is not known."""
        if not self.is_module:
            return os.path.abspath(self.place)  # noqa: PTH100  # a link keeps its name, as for Python
        with _first_on_path(str(Path.cwd())):
            spec = _found(self.place)
        return None if spec is None else spec

    def check(self) -> None:
        """Refuse a place where there is no script.

        Raises:
            ObjectiveError: There is none.
        """
        if not self.is_module and not Path(self.place).is_file():
            raise ObjectiveError(f"No such file: {printable(self.place)!r}. Name the script, a .py file")
        if self.is_module and self.file is None:
            raise ObjectiveError(
                f"No module {printable(self.place)!r} is found from here; name it as for python -m, from the "
                "folder that holds its package"
            )

    def execute(self) -> None:
        """Run it to its end, as ``python place arguments`` would.

        Its module is ``sys.modules["__main__"]`` meanwhile, so that classes of it can be pickled and
        processes that start anew find it. Afterwards `sys.argv`, `sys.path` and that module are as before.
        """
        arguments, path = sys.argv, list(sys.path)
        first = str(Path.cwd()) if self.is_module else str(Path(self.place).resolve().parent)
        sys.argv = [self.place, *self.arguments]
        sys.path.insert(0, first)
        try:
            if self.is_module:
                runpy.run_module(self.place, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(str(self.file), run_name="__main__")  # Python makes it absolute, too
        finally:
            sys.argv, sys.path[:] = arguments, path


@contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path[:] = before


def _found(module: str) -> str | None:
    """File of a module, of a package its ``__main__``."""
    try:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{module}.__main__")
    except (ImportError, ValueError):
        return None
    return None if spec is None else spec.origin
