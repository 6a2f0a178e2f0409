"""What a result depends on: the code that made it, as a short hash that is part of its key."""

from __future__ import annotations

from galatune.bench.sources import hash_of_sources
from galatune.bench.studies.ways import Way

__all__ = ["code_key"]

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


def code_key(way: Way | None) -> str:
    """Hash of the sources and of the releases that decide what a way gives.

    Results of ways that do not use galatune stay valid if the controller changes.

    Args:
        way: None for the old study.
    """
    controlled = way is not None and way.rate == "controlled"
    piloted = way is not None and way.pilot
    settings = "" if way is None else repr(way)
    places = (*PLAIN, *(OURS if controlled else ()), *(PILOTED if piloted else ()))
    return hash_of_sources(places, PACKAGES, settings)
