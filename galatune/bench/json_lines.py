"""A file of results, one line of JSON each, written as soon as it is there: a stopped bench goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from galatune.errors import GalatuneError

__all__ = ["JsonLines"]


class JsonLines:
    """Lines that are whole; a last line that was not written to its end is ignored, and then replaced.

    Args:
        path: The file; it need not exist.

    Raises:
        GalatuneError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise GalatuneError(
                f"cannot read {path}: {error.strerror}; name another folder with --out"
            ) from error
        self._whole = content[: content.rfind(b"\n") + 1]
        self._size: int | None = len(self._whole)  # until the first line is written

    def __iter__(self) -> Iterator[Any]:
        for line in self._whole.splitlines():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise self.not_ours(error) from error

    def not_ours(self, error: Exception) -> GalatuneError:
        """What to raise for a line that is no result."""
        return GalatuneError(
            f"{self.path} holds a line that is no result ({error}); name another folder with --out"
        )

    def add(self, body: Mapping[str, Any]) -> None:
        """Write one more line.

        Raises:
            GalatuneError: It cannot be written; what is in the file stays.
        """
        line = json.dumps(body, allow_nan=True)
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
