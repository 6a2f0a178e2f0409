"""Which study of a script is the one that is searched, and what becomes of the others."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from galatune.errors import PlanError
from galatune.formatting import listed, printable

__all__ = ["AUTOMATIC", "Choice"]

AUTOMATIC = "no-name-"
"""Beginning of the names that Optuna makes up."""


@dataclass(frozen=True)
class Choice:
    """Tells the study that is searched from the others of a script.

    Attributes:
        wanted: Name of the old study; None if there is none, so that the first search counts.
        stored: Names of all old studies, oldest first.
        named: Whether ``wanted`` was said by the user.
    """

    wanted: str | None
    stored: tuple[str, ...] = ()
    named: bool = False

    def chosen(self, name: str, made: Sequence[str], source: str | None, script: str) -> bool:
        """Whether a study that begins to search is the one.

        Args:
            name: Of the study.
            made: Names of all studies that the script has made so far, in that order.
            source: File of the script.
            script: What it is called.

        Raises:
            PlanError: It cannot be told.
        """
        if self.wanted is None or name == self.wanted:
            return True
        if name in self.stored or self.wanted in made or _is_written(self.wanted, source):
            return False
        if name.startswith(AUTOMATIC) and self.wanted.startswith(AUTOMATIC):
            unnamed = [one for one in made if one.startswith(AUTOMATIC)]
            old = [one for one in self.stored if one.startswith(AUTOMATIC)]
            return len(old) < 2 or unnamed.index(name) == old.index(self.wanted)
        if len(made) > 1:
            names = listed([printable(one) for one in made])
            raise PlanError(
                f"{script} makes {len(made)} studies ({names}), none of which is called "
                f"{printable(self.wanted)!r}; say with --study which old study is meant, one of: "
                f"{listed([printable(one) for one in self.stored])}"
            )
        return True


def _is_written(name: str, source: str | None) -> bool:
    """Whether a name stands in a file as it is."""
    try:
        tree = ast.parse(Path(source or "").read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return False
    return any(isinstance(node, ast.Constant) and node.value == name for node in ast.walk(tree))
