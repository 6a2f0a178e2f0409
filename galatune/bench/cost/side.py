"""One side of a comparison: a training in a process of its own, which takes steps when it is told to.

Two processes, so that neither's hooks, graphs and caches touch the other's steps.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from galatune.bench.cost.workload import Workload
from galatune.controller import attach
from galatune.errors import GalatuneError

__all__ = ["About", "Side", "Step", "running"]

RATE = 1e-3
WARM_UP = 3
"""Steps of another net of the same shape, before anything is measured."""


@dataclass(frozen=True)
class About:
    """Size of a side: number of trained parameters, their bytes, threads of torch."""

    parameters: int
    parameter_bytes: int
    threads: int


@dataclass(frozen=True)
class Step:
    """One step, from drawing its minibatch to the zeroed gradients of the next.

    Attributes:
        probed: Whether it was probed, or a probe was attempted.
        seconds: Wall time; 0 if memory or synchronizations were measured instead.
        kept: Bytes allocated at its end less those at its start.
        peak: Largest number of bytes allocated in it, less those at its start.
        synchronizations: Number of times the host waited for the device.
    """

    probed: bool
    seconds: float = 0.0
    kept: int = 0
    peak: int = 0
    synchronizations: int = 0


class Side:
    """A net, its optimizer and its minibatches.

    Args:
        workload: What is trained.
        probe: Probe of the controlled side; the loop suits it on both sides.
        controlled: Whether the rate is controlled here.
        options: Options of `galatune.attach`.
    """

    def __init__(self, workload: Workload, probe: str, controlled: bool, options: dict[str, Any]) -> None:
        self._workload, self._closure = workload, probe == "closure"
        self._batches = workload.batches()
        torch.manual_seed(0)
        self._warm_up()
        torch.manual_seed(0)
        self._net = workload.net()
        self._optimizer = torch.optim.AdamW(self._net.parameters(), lr=RATE)
        self._controller = attach(self._optimizer, probe=probe, **options) if controlled else None

    @property
    def about(self) -> About:
        """See `About`."""
        sizes = [(p.numel(), p.element_size()) for p in self._net.parameters()]
        return About(sum(n for n, _ in sizes), sum(n * size for n, size in sizes), torch.get_num_threads())

    def timed(self, count: int) -> list[Step]:
        """Take steps and measure their time."""
        return [self._step(_clock(self._workload.device)) for _ in range(count)]

    def weighed(self, count: int) -> list[Step]:
        """Take steps and measure what they allocate."""
        return [self._step(_scales(self._workload.device)) for _ in range(count)]

    def synchronizing(self, count: int) -> list[Step]:
        """Take steps and count how often the host waits for the device."""
        return [self._step(_waits) for _ in range(count)]

    def _step(self, measured: Callable[[Callable[[], None]], dict[str, Any]]) -> Step:
        before = self._probed()
        found = measured(lambda: self._take_step(self._net, self._optimizer))
        return Step(self._probed() > before, **found)

    def _probed(self) -> int:
        """Return a number that grows with each probe, also with one that found nothing."""
        if self._controller is None:
            return 0
        extra = self._controller.gradient_evaluations - self._controller.steps
        return self._controller.probes + extra

    def _warm_up(self) -> None:
        net = self._workload.net()
        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
        for _ in range(WARM_UP):
            self._take_step(net, optimizer)
        del net, optimizer
        gc.collect()  # now, and not in a step that is measured

    def _take_step(self, net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        codes, targets = (part.to(self._workload.device) for part in next(self._batches))

        def closure() -> Tensor:
            optimizer.zero_grad()
            with self._precision():
                loss = functional.cross_entropy(net(codes).flatten(0, 1), targets.flatten())
            loss.backward()
            return loss.detach()

        if self._closure:
            optimizer.step(closure)  # type: ignore[arg-type]
        else:
            closure()
            optimizer.step()
        optimizer.zero_grad()

    def _precision(self) -> Any:
        if not self._workload.bfloat16:
            return nullcontext()
        return torch.autocast(self._workload.device, torch.bfloat16)


def _clock(device: str) -> Callable[[Callable[[], None]], dict[str, Any]]:
    def measured(step: Callable[[], None]) -> dict[str, Any]:
        _wait(device)
        began = time.perf_counter()
        step()
        _wait(device)
        return {"seconds": time.perf_counter() - began}

    return measured


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _scales(device: str) -> Callable[[Callable[[], None]], dict[str, Any]]:
    return _scales_cuda if device == "cuda" else _scales_cpu


def _scales_cpu(step: Callable[[], None]) -> dict[str, Any]:
    """Measure every allocation and release in torch's allocator, through its profiler."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as seen:
        step()
    now = peak = 0
    assert seen.profiler is not None
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return {"kept": now, "peak": peak}


def _scales_cuda(step: Callable[[], None]) -> dict[str, Any]:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return {
        "kept": torch.cuda.memory_allocated() - before,
        "peak": torch.cuda.max_memory_allocated() - before,
    }


def _waits(step: Callable[[], None]) -> dict[str, Any]:
    """Count torch's warnings, one each time the host waits."""
    always = torch.is_warn_always_enabled()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.set_warn_always(True)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
            torch.set_warn_always(always)
    return {"synchronizations": sum("synchronizing CUDA operation" in str(w.message) for w in caught)}


class RunningSide:
    """A `Side` in a process of its own.

    Args:
        connection: Connection to that process.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.about: About = self._receive()

    def steps(self, way: str, count: int) -> Sequence[Step]:
        """Take steps: "timed", "weighed" or "synchronizing".

        Raises:
            GalatuneError: They fail.
        """
        self._connection.send((way, count))
        found: Sequence[Step] = self._receive()
        return found

    def _receive(self) -> Any:
        try:
            received = self._connection.recv()
        except EOFError:
            raise GalatuneError("a process of the measurement ended; is there enough memory?") from None
        if isinstance(received, str):
            raise GalatuneError(received)
        return received


@contextmanager
def running(workload: Workload, probe: str, *, controlled: bool, **options: Any) -> Iterator[RunningSide]:
    """Run a side in a fresh process, which ends with the block.

    Raises:
        GalatuneError: It cannot be made.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, workload, probe, controlled, options), daemon=True)
    process.start()
    theirs.close()
    try:
        yield RunningSide(ours)
    finally:
        ours.close()
        process.join(timeout=10)
        process.kill()


def _serve(
    connection: Connection, workload: Workload, probe: str, controlled: bool, options: dict[str, Any]
) -> None:
    try:
        side = Side(workload, probe, controlled, options)
        connection.send(side.about)
        while True:
            way, count = connection.recv()
            if way == "weighed":
                _hush()
            connection.send(getattr(side, way)(count))
    except EOFError:
        return
    except (KeyboardInterrupt, BrokenPipeError):
        return
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        connection.send(f"the cost of the {probe} probe cannot be measured: {reason}")


def _hush() -> None:
    """Discard stderr: the profiler writes to it at each step and has no switch for that."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
