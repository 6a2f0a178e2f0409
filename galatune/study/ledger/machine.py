"""The machine and the packages that a trial ran on, as its record says, and the process that ran it."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["is_alive", "this_machine", "this_process", "versions"]


@cache
def this_machine() -> dict[str, str]:
    """Platform, processor and number of cores: if they are equal, the hours of two trials can be compared."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": str(os.cpu_count() or "unknown"),
    }


@cache
def versions() -> dict[str, str]:
    """Installed versions of the packages that decide how a trial ends."""
    found = {"python": platform.python_version()}
    for name in ("galatune", "optuna", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def this_process() -> dict[str, Any]:
    """What identifies this process: the machine since its start, the process number, the start time."""
    return {"machine": _place(), "pid": os.getpid(), "started": _own_start(os.getpid())}


def is_alive(process: Any) -> bool | None:
    """Whether a process that `this_process` once described is at work.

    Returns:
        None if this machine cannot look it up: it is of another machine, of another container or from
        before a restart, or nothing says when it started.
    """
    if not isinstance(process, Mapping) or process.get("machine") != _place() or os.name != "posix":
        return None
    pid, started = process.get("pid"), process.get("started")
    if not isinstance(pid, int) or pid < 1:
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it exists and is somebody else's
        pass
    now = _started(pid)
    return None if started is None or now is None else bool(started == now)


@cache
def _place() -> str:
    """Host, start of the machine and process namespace: inside these, a process number means one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot, space = f"{uuid.getnode():x}", ""
    return " ".join(filter(None, (platform.node(), boot, space)))


@cache
def _own_start(pid: int) -> str | None:
    """Asked once a process; the number is an argument for the sake of those that are forked."""
    return _started(pid)


def _started(pid: int) -> str | None:
    """Start of a process in ticks, None if unknown; "ended" if it has ended and is only waited for."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = status.rpartition(")")[2].split()
    return "ended" if state in "ZX" else rest[18]


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
