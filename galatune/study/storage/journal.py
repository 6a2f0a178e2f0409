"""Journal files whose last line is torn: by a full disk, a kill while it was written, a loss of power.

Each entry of a journal is one line, which is written at once. A line that is not whole is no entry: nobody
has acted on it, since whoever reads a journal stops there. What is appended behind it would become part of
it, and no program could read the file any more. So it is cut off before anything is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from galatune.errors import StorageError
from galatune.formatting import first_line

__all__ = ["ReadOnlyJournal", "WholeJournal", "whole_length"]

BLOCK = 65536

TORN = ".torn"
"""Ending of the file beside a journal that what was cut off is appended to."""

GRACE_SECONDS = 5
"""After which the lock of a process that was killed while it wrote is removed."""


def whole_length(path: Path) -> int:
    """Bytes of a journal up to the end of its last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = _beginning(file, end)
            file.seek(begin)
            if _is_whole(file.read(end - begin)):
                break
            end = begin
        return end


def _beginning(file: BinaryIO, end: int) -> int:
    """Where the line begins that ends before this byte."""
    at = end - 1
    while at > 0:
        size = min(BLOCK, at)
        file.seek(at - size)
        found = file.read(size).rfind(b"\n")
        if found >= 0:
            return at - size + found + 1
        at -= size
    return 0


def _is_whole(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


class _Journal(JournalFileBackend):
    """Reads up to the last whole line."""

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """See `optuna.storages.journal.JournalFileBackend`.

        Raises:
            optuna.exceptions.StorageInternalError: A line that others follow is damaged.
        """
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            end = whole_length(Path(self._file_path))
            read = {number: offset for number, offset in self._log_number_offset.items() if offset <= end}
            if max(read.values()) < end:
                raise optuna.exceptions.StorageInternalError(f"line {max(read) + 1} is damaged") from error
            self._log_number_offset = read


class ReadOnlyJournal(_Journal):
    """A journal file that takes no entries, and therefore never needs its lock file."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """See `optuna.storages.journal.JournalFileBackend`."""
        raise StorageError(f"{self._file_path} was opened for reading only")


class WholeJournal(_Journal):
    """A journal file that stays readable, whatever happens to those who write to it.

    Args:
        path: Of the file, which is made if it does not exist. Not a link: the lock lies beside the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), JournalFileSymlinkLock(str(path), grace_period=GRACE_SECONDS))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries, after what is torn was cut off; if the disk is full, the file is as it was.

        Raises:
            optuna.exceptions.StorageInternalError: They cannot be written.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        try:
            self._lock.acquire()
            try:
                self._cut()
                self._append(lines)
            finally:
                with suppress(RuntimeError):  # held for so long that another process removed it
                    self._lock.release()
        except OSError as error:
            raise optuna.exceptions.StorageInternalError(first_line(error)) from error

    def _cut(self) -> None:
        """Move what is torn into a file of its own."""
        length = whole_length(self._path)
        if length < max(self._log_number_offset.values()):  # entries would have the numbers of lost ones
            raise optuna.exceptions.StorageInternalError("something else shortened the file during the run")
        if length == self._path.stat().st_size:
            return
        with self._path.open("rb") as file, suppress(OSError):
            file.seek(length)
            with Path(f"{self._path}{TORN}").open("ab") as kept:
                kept.write(file.read())
        os.truncate(self._path, length)

    def _append(self, lines: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        written, length = 0, os.fstat(descriptor).st_size
        try:
            while written < len(lines):
                written += os.write(descriptor, lines[written:])
            os.fsync(descriptor)
        except OSError:
            if written < len(lines):
                os.ftruncate(descriptor, length)
            raise
        finally:
            os.close(descriptor)
