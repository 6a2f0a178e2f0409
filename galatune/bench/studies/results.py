"""Results on disk: one line of JSON per unit, written as soon as it is done; a stopped bench goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galatune.bench.controller.results import make_folder
from galatune.bench.json_lines import JsonLines
from galatune.bench.studies.code import code_key
from galatune.bench.studies.unit import OLD, Outcome, Unit
from galatune.bench.studies.ways import WAYS

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

    Lines of other code stay in the file and are not used.

    Args:
        folder: Holds ``studies.jsonl`` and the old studies; it is made if it does not exist.

    Raises:
        GalatuneError: The folder cannot be made, or the file there cannot be read or is something else.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self._lines = JsonLines(folder / "studies.jsonl")
        self.outcomes = {
            line.outcome.unit: line.outcome for line in map(self._line, self._lines) if self._current(line)
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
        self._lines.add({"key": key_of(outcome.unit), **outcome.to_json()})

    def _line(self, body: Any) -> _Line:
        try:
            return _Line(body.pop("key"), Outcome.from_json(body))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._lines.not_ours(error) from error

    @staticmethod
    def _current(line: _Line) -> bool:
        way = line.outcome.unit.way
        return (way == OLD or way in WAYS) and line.key == key_of(line.outcome.unit)
