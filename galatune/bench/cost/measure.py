"""Train with control and without in turns, step by step: A B, B A, A B and so on."""

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
"""Number of steps whose memory is measured."""

SOON = {"probe_schedule": ProbeSchedule(every=5, first=2, thinning=0.0)}
"""A probe schedule that probes several of them."""


@dataclass(frozen=True)
class Cost:
    """What one probe costs.

    Attributes:
        probe: Name of the probe.
        times: Times of both sides.
        memory: Memory of both sides.
        synchronizations: How many times more a step that is not probed makes the host wait for the device
            than a step without control; None on a CPU.
        threads: Threads of torch on each side; only one side runs at a time.
    """

    probe: str
    times: Times
    memory: Memory
    synchronizations: int | None
    threads: int


def probes() -> list[str]:
    """Return the names of all probes."""
    return list(PROBES)


def workload_for(device: str) -> Workload:
    """Return what is trained on a device.

    Raises:
        GalatuneError: There is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise GalatuneError("--device cuda needs an NVIDIA GPU that torch can see; there is none here")
    return CUDA if device == "cuda" else CPU


def measure(workload: Workload, probe: str, steps: int, progress: Callable[[int, int], None]) -> Cost:
    """Train with control and without in turns; memory and waits are measured in further processes.

    Args:
        workload: What is trained.
        probe: Name.
        steps: Steps of each training.
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
    memory = Memory(*_both(workload, probe, "weighed"), about.parameters, about.parameter_bytes)
    waits = None
    if workload.device == "cuda":
        waits = _more_waits(*_both(workload, probe, "synchronizing"))
    return Cost(probe, Times(tuple(taken[0]), tuple(taken[1])), memory, waits, about.threads)


def _both(workload: Workload, probe: str, way: str) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Take the first steps of each side, in fresh processes."""
    with running(workload, probe, controlled=False) as plain:
        without = tuple(plain.steps(way, WEIGHED))
    with running(workload, probe, controlled=True, **SOON) as own:
        return without, tuple(own.steps(way, WEIGHED))


def _more_waits(plain: Sequence[Step], controlled: Sequence[Step]) -> int:
    """Compare steps that are not probed; the first step chooses the first rate and may wait."""
    return max(
        own.synchronizations - other.synchronizations
        for other, own in list(zip(plain, controlled, strict=True))[1:]
        if not own.probed
    )
