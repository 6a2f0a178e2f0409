"""The content of a file, unpacked if it is compressed, and what is no table at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib

__all__ = ["unpacked"]

OTHERS = {
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"%PDF": "a PDF",
    b"{": "JSON",
    b"[{": "JSON",
    b"<!": "a web page",
    b"<html": "a web page",
    b"<?xml": "XML",
}
"""First bytes of what people take for a table, and its name."""


def unpacked(body: bytes) -> bytes:
    """Return the content of a gzip, bz2, xz or zip file, anything else as it is.

    Raises:
        ValueError: It is broken, holds several files, or is no table.

    Example:
        >>> unpacked(gzip.compress(b"a,b"))
        b'a,b'
    """
    try:
        if body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        elif body.startswith(b"BZh"):
            body = bz2.decompress(body)
        elif body.startswith(b"\xfd7zXZ"):
            body = lzma.decompress(body)
        elif body.startswith(b"PK\x03\x04"):
            body = _only_member(body)
    except (EOFError, OSError, RuntimeError, lzma.LZMAError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"it is compressed and broken: {error}") from None
    start = body[:20].lstrip().lower()
    other = next((name for first, name in OTHERS.items() if start.startswith(first.lower())), None)
    if other is not None:
        raise ValueError(f"it is {other}")
    return body


def _only_member(body: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
        if any(name.startswith("xl/") for name in names):
            raise ValueError("it is an Excel file")
        if len(names) != 1:
            raise ValueError(f"it is a ZIP file of {len(names)} files, and has to hold one")
        return archive.read(names[0])
