"""The machine and the packages that a trial ran on, as its record says."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["this_machine", "versions"]


@cache
def this_machine() -> dict[str, str]:
    """Platform, processor and number of cores; two trials with equal ones have comparable hours."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": str(os.cpu_count() or "unknown"),
    }


@cache
def versions() -> dict[str, str]:
    """Installed versions of what decides a trial's outcome."""
    found = {"python": platform.python_version()}
    for name in ("galatune", "optuna", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
