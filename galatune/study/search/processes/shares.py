"""Which part of the machine a worker has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from galatune.controller.torch_hooks.devices import VISIBLE
from galatune.formatting import listed, plural

__all__ = ["Shares"]

THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Shares:
    """How the machine is divided.

    Attributes:
        workers: Number of workers.
        gpus: GPUs as CUDA_VISIBLE_DEVICES names them; empty if there are none.
        threads: Threads of each worker; None if the environment says how many.

    Example:
        >>> Shares(3, ("0", "2"), 1).of(3)
        {'CUDA_VISIBLE_DEVICES': '0', 'OMP_NUM_THREADS': '1'}
    """

    workers: int
    gpus: tuple[str, ...] = ()
    threads: int | None = None

    @classmethod
    def of_machine(cls, workers: int, gpus: tuple[str, ...], environment: Mapping[str, str]) -> Shares:
        """Divide the GPUs one by one, and the processor's cores evenly unless the environment says how many.

        Args:
            workers: Number of workers.
            gpus: Those that torch sees.
            environment: Of this process.
        """
        threads = None if environment.get(THREADS) else max(1, len(os.sched_getaffinity(0)) // workers)
        return cls(workers, gpus, threads)

    def of(self, number: int) -> dict[str, str]:
        """What the environment of a worker says.

        Args:
            number: Of the worker, from 1.
        """
        own = {} if self.threads is None else {THREADS: str(self.threads)}
        return {VISIBLE: self.gpus[(number - 1) % len(self.gpus)], **own} if self.gpus else own

    def text(self) -> str:
        """In a sentence."""
        parts = [plural(self.workers, "worker")]
        if self.gpus:
            parts.append(f"one after another on {plural(len(self.gpus), 'GPU')} ({listed(self.gpus)})")
        if self.threads is not None:
            parts.append(f"each with {plural(self.threads, 'thread')}")
        return f"{', '.join(parts)}; what they print begins with their number."

    @contextmanager
    def inherited_by(self, number: int) -> Iterator[None]:
        """Processes that are started inside have this environment."""
        own = self.of(number)
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
