"""What a result depends on: the sources and releases that made it, as a short hash in its key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import galatune

__all__ = ["hash_of_sources"]

ROOT = Path(galatune.__file__).parent

LETTERS = 12


@cache
def hash_of_sources(places: Sequence[str], packages: Sequence[str], settings: str = "") -> str:
    """Hash of our sources and of the releases of packages.

    Args:
        places: Files and folders below ``galatune/``, as a tuple.
        packages: Names of installed distributions, as a tuple.
        settings: What else decides the result.

    Example:
        >>> one, other = (hash_of_sources(("bench/text.py",), ("numpy",), word) for word in "ab")
        >>> len(one), one == other
        (12, False)
    """
    found = hashlib.sha256(settings.encode())
    for place in places:
        for file in _files(ROOT / place):
            found.update(file.relative_to(ROOT).as_posix().encode())
            found.update(file.read_bytes())
    for package in packages:
        found.update(f"{package} {version(package)}".encode())
    return found.hexdigest()[:LETTERS]


def _files(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]
