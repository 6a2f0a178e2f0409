"""Import the user's objective unchanged, and call it as its script would."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import itertools
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, TextIO, cast

import optuna

from galatune.errors import ObjectiveError
from galatune.formatting import printable
from galatune.study.search.script_calls import offer_script
from galatune.study.search.working_folder import WorkingFolder

__all__ = ["Objective", "as_script", "imported", "in_one_line", "said_by"]

Objective = Callable[[optuna.trial.Trial], Any]

OWN = "_galatune_objective_"
"""Beginning of the names of imported files."""

_FOUND = """import importlib.util, sys
spec = importlib.util.spec_from_file_location(__name__, {path!r})
sys.modules[__name__] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[__name__])
"""


@contextmanager
def imported(reference: str, command: str = "run") -> Iterator[Objective]:
    """Import an objective for as long as it is called.

    A file is imported as a script would see itself: its folder is the first place that modules are looked
    for, and what lies under ``if __name__ == "__main__"`` does not run. The module of a file stays in
    `sys.modules` under a name of galatune's own, which no other code imports. If the code changes the
    working directory, that holds where it runs itself. Afterwards `sys.path` is as it was.

    Args:
        reference: ``path/to/file.py:function`` or ``package.module:function``.
        command: Of galatune, to which a script that cannot be named so is offered.

    Yields:
        The function.

    Raises:
        ObjectiveError: It cannot be imported, has no such function, or starts a search when imported.
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name:
        raise ObjectiveError(
            f"{printable(reference)!r} names no objective; write path/to/file.py:function or "
            "package.module:function, or name a script that searches by itself: train.py, -m package.train"
        )
    before, working = list(sys.path), WorkingFolder()
    with TemporaryDirectory(prefix="galatune-") as folder:
        try:
            with _no_search(place, command), working.entered(theirs=True):
                module = _import(place, Path(folder))
            yield _working_in(working, _function(module, place, name, command))
        finally:
            sys.path[:] = before


def _working_in(folder: WorkingFolder, function: Objective) -> Objective:
    @functools.wraps(function)
    def objective(trial: optuna.trial.Trial) -> Any:
        with folder.entered(theirs=True):
            return function(trial)

    return objective


def _function(module: ModuleType, place: str, name: str, command: str) -> Objective:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ObjectiveError(
            f"{printable(place)} has no function {printable(name)!r}; it has: {_functions(module)}"
            f"{offer_script(place, command)}"
        )
    _check_takes_a_trial(found, name)
    return found  # type: ignore[no-any-return]  # callable is all that can be known


@contextmanager
def as_script(reference: str) -> Iterator[None]:
    """Give the objective the command line of a script without arguments.

    What it prints goes to stderr, from its child processes too: stdout is galatune's result. If it closes
    one of the two, galatune's own words still arrive.
    """
    place, arguments = reference.rpartition(":")[0], sys.argv
    sys.argv = [place]
    stream = cast(TextIO, _StaysOpen(sys.stderr))
    try:
        with redirect_stdout(stream), redirect_stderr(stream), _descriptor_to_stderr():
            yield
    finally:
        sys.argv = arguments


class _StaysOpen:
    """A stream that nobody can close."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        self._stream.flush()


def said_by(error: BaseException) -> str:
    """Text of an exception, whose class may have a ``__str__`` that fails."""
    try:
        return str(error)
    except Exception:
        return ""


def in_one_line(error: BaseException) -> str:
    """An exception in one line, with the last line of the user's code in its traceback."""
    words = " ".join(said_by(error).split())[:200]
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
        traceback = traceback.tb_next
    own = [frame for frame in frames if not _library(frame[0])]
    return f"{text} ({Path(own[-1][0]).name}:{own[-1][1]})" if own else text


@contextmanager
def _descriptor_to_stderr() -> Iterator[None]:
    """The same for code that writes to file descriptor 1 without Python's `sys.stdout`."""
    _flush()
    try:
        saved = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # a process without these
        yield
        return
    try:
        yield
    finally:
        _flush()
        os.dup2(saved, 1)
        os.close(saved)


def _flush() -> None:
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()


def _import(place: str, folder: Path) -> ModuleType:
    path = Path(place)
    package = path.is_dir() and (path / "__init__.py").is_file()
    if path.suffix != ".py" and path.exists() and not package:
        raise ObjectiveError(f"{printable(place)!r} is not a Python file; an objective lies in a .py file")
    if path.suffix == ".py":
        return _import_file(path, folder)
    _first_on_path(Path.cwd())
    with _import_errors(place):
        return importlib.import_module(place)


def _import_file(path: Path, folder: Path) -> ModuleType:
    if not path.is_file():
        raise ObjectiveError(f"No such file: {printable(str(path))!r}. Name the .py file of the objective")
    _first_on_path(path.resolve().parent)
    name = _own_name(path)
    _make_findable(name, path, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _import_errors(str(path)):
            spec.loader.exec_module(module)
    except ObjectiveError:
        del sys.modules[name]
        raise
    return module


def _own_name(path: Path) -> str:
    """A name that no module has and that no other code imports."""
    stem = re.sub(r"\W", "_", path.stem)
    names = (f"{OWN}{stem}{f'_{count}' if count else ''}" for count in itertools.count())
    return next(name for name in names if name not in sys.modules)


def _make_findable(name: str, path: Path, folder: Path) -> None:
    """Let processes that start anew import the file under this name.

    The workers of a `DataLoader` that are spawned get our `sys.path`, and unpickle classes by their module.
    """
    body = _FOUND.format(path=str(path.resolve()))
    Path(folder, f"{name}.py").write_text(body, encoding="utf-8")
    sys.path.append(str(folder))


@contextmanager
def _import_errors(place: str) -> Iterator[None]:
    try:
        yield
    except ObjectiveError:
        raise
    except (Exception, SystemExit) as error:
        hint = f". {_as_module(Path(place))}" if "relative import" in str(error) else ""
        raise ObjectiveError(
            f"Cannot import {printable(place)!r}: {printable(in_one_line(error))}{hint}"
        ) from error


def _as_module(path: Path) -> str:
    """How a file that belongs to a package is named instead."""
    parts, folder = [path.stem], path.resolve().parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    name = ".".join(parts) if len(parts) > 1 else f"PACKAGE.{path.stem}"
    return f"It is part of a package: name it {name}:FUNCTION, from the package's parent folder"


def _first_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _check_takes_a_trial(found: Callable[..., Any], name: str) -> None:
    if inspect.isclass(found):
        raise ObjectiveError(
            f"{printable(name)!r} is a class; make an objective of it in the file (objective = {name}(...)) "
            "and name that"
        )
    if inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found):
        raise ObjectiveError(
            f"{printable(name)!r} returns no value by itself: it is written with async or yield; wrap it "
            "in a function that returns one and name that"
        )
    try:
        inspect.signature(found).bind(object())
    except TypeError as error:
        raise ObjectiveError(
            f"{printable(name)!r} cannot be called with a trial alone ({error}); wrap it in a function of "
            "one argument and name that"
        ) from error
    except ValueError:  # written in C: its signature is not known
        return


@contextmanager
def _no_search(place: str, command: str) -> Iterator[None]:
    """Refuse a script that searches when it is imported: it would run the whole old search first."""
    original = optuna.Study.optimize

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ObjectiveError(
            f"{printable(place)} calls study.optimize when it is imported; put that call under "
            f'if __name__ == "__main__":{offer_script(place, command)}'
        )

    optuna.Study.optimize = refuse  # type: ignore[method-assign]
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


def _library(filename: str) -> bool:
    """Whether a file is Python's, an installed package's or galatune's own machinery.

    The demo's objective counts as a user's.
    """
    path, package = Path(filename), Path(__file__).resolve().parents[2]
    ours = path.is_relative_to(package) and not path.is_relative_to(package / "demo")
    installed = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    pythons = filename.startswith("<frozen ") or path.is_relative_to(sysconfig.get_path("stdlib"))
    return ours or installed or pythons
