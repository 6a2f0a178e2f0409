"""Results on disk: one line of JSON per unit, written as soon as it is done; a stopped bench goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from galatune.bench.controller.results import make_folder
from galatune.bench.studies.code import code_key
from galatune.bench.studies.unit import OLD, Outcome, Unit
from galatune.bench.studies.ways import WAYS
from galatune.errors import GalatuneError

__all__ = ["Results", "key_of"]


def key_of(unit: Unit) -> str:
    """Hash of all code and settings that decide what a unit gives."""
    return code_key(None if unit.way == OLD else WAYS[unit.way])


@dataclass(frozen=True)
class _Line:
    key: str
    outcome: Outcome


class Results:
    """The results in a folder that the present code would give again.

    Lines of other code stay in the file and are not used. A last line that was not written to its end is
    ignored, and the next result replaces it.

    Args:
        folder: Holds ``studies.jsonl`` and the old studies; it is made if it does not exist.

    Raises:
        GalatuneError: The folder cannot be made, or the file there cannot be read or is something else.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self.path = folder / "studies.jsonl"
        whole = self._whole()
        self._size: int | None = len(whole)  # until the first line is written
        self.outcomes = {
            line.outcome.unit: line.outcome
            for line in map(self._line, whole.splitlines())
            if self._current(line)
        }

    def old_study(self, objective: str, seed: int) -> Path:
        """File of an old study; it lies there if its unit has a result."""
        return self.folder / f"{objective}-{seed}-{code_key(None)}.log"

    def done(self, unit: Unit) -> bool:
        """Whether a unit has a result; an old study also needs its file."""
        there = unit in self.outcomes and self.outcomes[unit].error is None
        return there and (unit.way != OLD or self.old_study(unit.objective, unit.seed).exists())

    def add(self, outcome: Outcome) -> None:
        """Keep a result, and write it.

        Raises:
            GalatuneError: It cannot be written; what is in the file stays.
        """
        self.outcomes[outcome.unit] = outcome
        line = json.dumps({"key": key_of(outcome.unit), **outcome.to_json()}, allow_nan=True)
        try:
            with self.path.open("ab") as file:
                if self._size is not None:
                    file.truncate(self._size)
                    self._size = None
                file.write(line.encode() + b"\n")
        except OSError as error:
            raise GalatuneError(
                f"cannot write {self.path}: {error.strerror}; what is in it stays, and the same command "
                "goes on from there"
            ) from error

    def _whole(self) -> bytes:
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise GalatuneError(
                f"cannot read {self.path}: {error.strerror}; name another folder with --out"
            ) from error
        return content[: content.rfind(b"\n") + 1]

    def _line(self, line: bytes) -> _Line:
        try:
            body = json.loads(line)
            return _Line(body.pop("key"), Outcome.from_json(body))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise GalatuneError(
                f"{self.path} holds a line that is no result ({error}); name another folder with --out"
            ) from error

    @staticmethod
    def _current(line: _Line) -> bool:
        way = line.outcome.unit.way
        return (way == OLD or way in WAYS) and line.key == key_of(line.outcome.unit)
