"""Identifies the code of an objective, so that a change is noticed when a search is continued."""

from __future__ import annotations

import functools
import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galatune.study.search.objective import Objective

__all__ = ["Fingerprint"]


@dataclass(frozen=True)
class Fingerprint:
    """An objective's file and function, and the content of that file.

    What the file imports is not part of it.

    Attributes:
        reference: "train.py:objective", the file without its folders.
        sha256: Of the file's bytes, None if there is no such file (a notebook, an interactive session).
    """

    reference: str
    sha256: str | None

    @classmethod
    def of(cls, objective: Objective) -> Fingerprint:
        """The code behind a function, a partial one, a decorated one, or an object that can be called.

        One that stands for other code has its ``fingerprint``.
        """
        code: Any = inspect.unwrap(objective)
        if isinstance(known := getattr(code, "fingerprint", None), cls):
            return known
        while isinstance(code, functools.partial):
            code = inspect.unwrap(code.func)
        if not hasattr(code, "__qualname__"):
            code = type(code)
        try:
            path = Path(inspect.getfile(code))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except (TypeError, OSError):
            return cls(code.__qualname__, None)
        return cls(f"{path.name}:{code.__qualname__}", digest)

    @classmethod
    def of_file(cls, path: Path, part: str) -> Fingerprint:
        """A part of a file that is no function."""
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return cls(part, None)
        return cls(f"{path.name}:{part}", digest)

    def change(self, before: Fingerprint) -> str | None:
        """What the objective was before, in words; None if it is the same or cannot be compared.

        A file that was only moved is the same.

        >>> now = Fingerprint("train.py:objective", "ab")
        >>> now.change(Fingerprint("train.py:objective", "cd"))
        'another version of train.py'
        >>> now.change(Fingerprint("old.py:other", "cd"))
        'old.py:other (now train.py:objective)'
        """
        if None in (self.sha256, before.sha256):
            return None
        if (self.sha256, self._function) == (before.sha256, before._function):
            return None
        if self.reference != before.reference:
            return f"{before.reference} (now {self.reference})"
        return f"another version of {self.reference.partition(':')[0]}"

    @property
    def _function(self) -> str:
        return self.reference.rpartition(":")[2]
