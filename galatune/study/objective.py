"""Import the user's objective as it is."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna

from galatune.errors import ObjectiveError
from galatune.study.address import printable

__all__ = ["Objective", "load_objective", "where"]

Objective = Callable[[optuna.trial.Trial], Any]


def load_objective(reference: str) -> Objective:
    """Import an objective.

    A file is imported as a script would see itself: its folder is the first place that modules are looked
    for, and what lies under ``if __name__ == "__main__"`` does not run.

    Args:
        reference: ``path/to/file.py:function`` or ``package.module:function``.

    Raises:
        ObjectiveError: It cannot be imported, has no such function, or starts a search when imported.
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name:
        raise ObjectiveError(
            f"{printable(reference)!r} names no objective; write path/to/file.py:function or "
            "package.module:function"
        )
    with _no_search(place):
        module = _import(place)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ObjectiveError(
            f"{printable(place)} has no function {printable(name)!r}; it has: {_functions(module)}"
        )
    return found  # type: ignore[no-any-return]  # callable is all that can be known


def where(error: BaseException) -> str:
    """An exception in one line: what, and the last line of code that is not a library's."""
    words = " ".join(str(error).split())[:200]
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
        traceback = traceback.tb_next
    own = [frame for frame in frames if "site-packages" not in frame[0] and not _ours(frame[0])]
    return f"{text} ({Path(own[-1][0]).name}:{own[-1][1]})" if own else text


def _import(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix != ".py" and path.exists():
        raise ObjectiveError(f"{printable(place)!r} is not a Python file; an objective lies in a .py file")
    if path.suffix == ".py":
        return _import_file(path)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except ObjectiveError:
        raise
    except Exception as error:
        raise ObjectiveError(f"Cannot import {printable(place)!r}: {where(error)}") from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ObjectiveError(f"No such file: {printable(str(path))!r}. Name the .py file of the objective")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # Its own name, so that classes in it can be pickled to the workers of a DataLoader.
    name = (
        path.stem if path.stem.isidentifier() and path.stem not in sys.modules else f"_objective_{path.stem}"
    )
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ObjectiveError:
        raise
    except Exception as error:
        del sys.modules[name]
        raise ObjectiveError(f"Cannot import {printable(str(path))!r}: {where(error)}") from error
    return module


@contextmanager
def _no_search(place: str) -> Iterator[None]:
    """A script that searches when it is imported would spend the whole old budget before we start."""
    original = optuna.Study.optimize

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ObjectiveError(
            f"{printable(place)} calls study.optimize when it is imported; put that call under "
            'if __name__ == "__main__":'
        )

    optuna.Study.optimize = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        optuna.Study.optimize = original  # type: ignore[method-assign]


def _functions(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    return ", ".join(map(printable, names)) or "no function at all"


def _ours(filename: str) -> bool:
    """Whether a file is galatune's own machinery; the demo's objective is a user's for all it knows."""
    package = Path(__file__).resolve().parent.parent
    path = Path(filename)
    return path.is_relative_to(package) and not path.is_relative_to(package / "demo")
