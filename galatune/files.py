"""Files that people ask for: a full disk or a killed process leaves the old ones as they were.

A file is written aside, in the same folder, and then put in its place by a rename. A link is replaced
itself: the file that it leads to stays as it was. Terminals, pipes and devices such as /dev/null have
nothing to keep and are written to directly.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from galatune.errors import ReportError
from galatune.formatting import printable

__all__ = ["write_files"]

PREFIX = ".galatune-"
"""Of a file that is being written; a process that is killed meanwhile leaves it behind."""
SYSTEM = tuple(map(Path, ("/dev", "/proc", "/sys")))


def write_files(contents: Mapping[Path, str | bytes]) -> None:
    """Write files, all of them or none.

    Args:
        contents: What each file holds; text becomes UTF-8. Rights of a file that is replaced are kept.

    Raises:
        ReportError: One of them cannot be written. No file has changed.
    """
    with ExitStack() as undo:
        aside = {}
        for path, content in contents.items():
            body = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
            try:
                written = _write(path, body)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise ReportError(
                    f"cannot write '{printable(str(path))}': {reason}; name a file where there is room and "
                    "you may write"
                ) from None
            if written is not None:
                undo.callback(written.unlink, missing_ok=True)
                aside[path] = written
        for path, written in aside.items():
            written.replace(path)


def _write(path: Path, body: bytes) -> Path | None:
    """Write to a stream, or else to a new file beside the path.

    Returns:
        The new file; None for a stream.
    """
    if _is_stream(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # a pipe that nobody reads would block
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(body)
        return None
    old = _old(path)
    aside = path.parent / f"{PREFIX}{secrets.token_hex(8)}.part"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            if old is not None:
                _give_rights(descriptor, old)
            os.fsync(descriptor)
    except BaseException:
        aside.unlink()
        raise
    return aside


def _is_stream(path: Path) -> bool:
    """Whether it is a terminal, a pipe or a character device.

    Raises:
        OSError: It is a folder or a disk, or the system's name, such as /dev/stdout, of a file.
    """
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISCHR(kind) or stat.S_ISFIFO(kind):
        return True
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(kind):
        raise OSError(errno.EINVAL, "it is no file")
    if path.is_symlink() and any(path.parent.absolute().is_relative_to(root) for root in SYSTEM):
        target = printable(str(path.resolve()))
        raise OSError(errno.EINVAL, f"it leads to the file '{target}', which is to be named itself")
    return False


def _old(path: Path) -> os.stat_result | None:
    """The file that is replaced; None if there is none or a link is replaced.

    Raises:
        PermissionError: It is protected from writing.
    """
    if path.is_symlink() or not path.exists():
        return None
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return path.stat()


def _give_rights(descriptor: int, old: os.stat_result) -> None:
    with suppress(PermissionError):  # only root gives files away
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
