"""What a result depends on: the code that made it, as a short hash that is part of its key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import galatune
from galatune.bench.studies.ways import Way

__all__ = ["code_key"]

ROOT = Path(galatune.__file__).parent

PLAIN = (
    "bench/studies/objectives",
    "bench/studies/search.py",
    "bench/studies/meter.py",
    "bench/studies/old_study.py",
)
"""What decides a search by Optuna alone, and the old study."""

OURS = ("controller", "study", "bench/studies/controlled_search.py")
"""What decides a search under control as well."""

PILOTED = ("bench/studies/piloted_search.py",)
"""What decides a search that a pilot begins, besides."""

PACKAGES = ("torch", "optuna", "numpy", "scikit-learn")

LETTERS = 12


def code_key(way: Way | None) -> str:
    """Hash of the sources and of the releases that decide what a way gives.

    Results of ways that do not use galatune stay valid if the controller changes.

    Args:
        way: None for the old study.
    """
    controlled = way is not None and way.rate == "controlled"
    piloted = way is not None and way.pilot
    settings = "" if way is None else repr(way)
    return _hash((*PLAIN, *(OURS if controlled else ()), *(PILOTED if piloted else ())), settings)


@cache
def _hash(places: Iterable[str], settings: str) -> str:
    found = hashlib.sha256(settings.encode())
    for place in places:
        for file in _files(ROOT / place):
            found.update(file.relative_to(ROOT).as_posix().encode())
            found.update(file.read_bytes())
    for package in PACKAGES:
        found.update(f"{package} {version(package)}".encode())
    return found.hexdigest()[:LETTERS]


def _files(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]
