"""Both sides in turns, step by step: A B, B A, A B and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from galatune.bench.cost.ratios import Memory, Times
from galatune.bench.cost.side import Step, running
from galatune.bench.cost.workload import CPU, CUDA, Workload
from galatune.controller import ProbeSchedule
from galatune.controller.probes import PROBES
from galatune.errors import GalatuneError

__all__ = ["WEIGHED", "Cost", "measure", "probes", "workload_for"]

WEIGHED = 16
"""Steps whose memory is looked at."""

SOON = {"probe_schedule": ProbeSchedule(every=5, first=2, thinning=0.0)}
"""Probes often enough to be seen in them."""


@dataclass(frozen=True)
class Cost:
    """What one probe costs.

    Attributes:
        probe: Its name.
        times: Of both sides.
        memory: Of both sides.
        synchronizations: Times a step that does not probe makes the host wait for the device, beyond
            those of a plain step; None on a CPU.
        threads: Of torch, on each side; only one side runs at a time.
    """

    probe: str
    times: Times
    memory: Memory
    synchronizations: int | None
    threads: int


def probes() -> list[str]:
    """Every probe there is."""
    return list(PROBES)


def workload_for(device: str) -> Workload:
    """What is trained there.

    Raises:
        GalatuneError: There is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise GalatuneError("--device cuda needs an NVIDIA GPU that torch can see; there is none here")
    return CUDA if device == "cuda" else CPU


def measure(workload: Workload, probe: str, steps: int, progress: Callable[[int, int], None]) -> Cost:
    """Train twice, with control and without, taking turns; memory and waiting in processes of their own.

    Args:
        workload: What is trained.
        probe: Name.
        steps: Of each training.
        progress: Called with (steps done, steps in all), both trainings together.

    Raises:
        GalatuneError: The probe does not work there.
    """
    taken: tuple[list[Step], list[Step]] = ([], [])
    with (
        running(workload, probe, controlled=False) as plain,
        running(workload, probe, controlled=True) as own,
    ):
        for step in range(steps):
            for which in (0, 1) if step % 2 else (1, 0):
                taken[which].extend((plain, own)[which].steps("timed", 1))
            progress(2 * (step + 1), 2 * steps)
    about = own.about
    memory = Memory(*_beside(workload, probe, "weighed"), about.parameters, about.parameter_bytes)
    waits = None
    if workload.device == "cuda":
        waits = _more_waits(*_beside(workload, probe, "synchronizing"))
    return Cost(probe, Times(tuple(taken[0]), tuple(taken[1])), memory, waits, about.threads)


def _beside(workload: Workload, probe: str, way: str) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """A few steps of each side from its very start, in fresh processes."""
    with running(workload, probe, controlled=False) as plain:
        beside = tuple(plain.steps(way, WEIGHED))
    with running(workload, probe, controlled=True, **SOON) as own:
        return beside, tuple(own.steps(way, WEIGHED))


def _more_waits(plain: Sequence[Step], controlled: Sequence[Step]) -> int:
    """Of the steps that are not probed; the first one decides where to start and may wait."""
    return max(
        own.synchronizations - other.synchronizations
        for other, own in list(zip(plain, controlled, strict=True))[1:]
        if not own.probed
    )
