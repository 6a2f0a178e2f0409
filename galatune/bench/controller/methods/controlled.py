"""The optimizers of the fixed rates with the rate under control, one method per probe and base."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from galatune.bench.controller.methods.fixed import BASES
from galatune.bench.controller.methods.method import Closure, Driver, Method, Schedule, scheduler_for
from galatune.controller import EchoProbe, attach
from galatune.controller.options import Options
from galatune.controller.probes.schedule import RateStart
from galatune.controller.state import control_states

__all__ = ["CONTROLLED", "under_control"]

BUILT_WITH = 1e-3
"""Rate that the optimizers are built with; it makes no difference."""


class _Controlled(Driver):
    """The plain loop with one line more."""

    def __init__(self, optimizer: Optimizer, schedule: Schedule, steps: int, options: dict[str, Any]) -> None:
        self._echo = EchoProbe() if options["probe"] == "echo" else None
        self.controller = attach(optimizer, **{**options, "probe": self._echo or options["probe"]})
        super().__init__(optimizer, scheduler_for(optimizer, schedule, steps))
        self._closure = options["probe"] == "closure"

    def over(self, batches: Iterator[Any]) -> Iterator[Any]:
        return batches if self._echo is None else self._echo.over(batches)

    def step(self, closure: Closure) -> None:
        if self._closure:
            self.optimizer.step(closure)  # type: ignore[arg-type]
        else:
            closure()
            self.optimizer.step()
        self.scheduler.step()
        self.gradient_evaluations = self.controller.gradient_evaluations

    def state(self) -> list[Any]:
        return [*super().state(), [state.pending for state in control_states(self.optimizer.param_groups)]]


def under_control(name: str, base: str, cost: int, **options: Any) -> Method:
    """Return a method whose rate galatune sets.

    Args:
        name: Name of the method.
        base: Optimizer family, "adam" or "sgd".
        cost: Gradient evaluations per probe.
        **options: Options of `galatune.attach`.
    """

    def make(
        parameters: Iterable[Tensor], rate: float, scale: float, schedule: Schedule, steps: int
    ) -> Driver:
        return _Controlled(BASES[base](parameters, rate, scale), schedule, steps, options)

    probing = Options(**options).schedule

    def extra(steps: int) -> int:
        return cost * sum(probing.due(step, [RateStart()]) for step in range(steps))

    return Method(name, base, make, (BUILT_WITH,), extra_gradients=extra, controlled=True)


CONTROLLED = (
    under_control("gala-graph", "adam", 2, probe="graph"),
    under_control("gala-closure", "adam", 1, probe="closure"),
    under_control("gala-echo", "adam", 0, probe="echo"),
    under_control("gala-consecutive", "adam", 0, probe="consecutive"),
    under_control("gala-sgd-graph", "sgd", 2, probe="graph"),
    under_control("gala-sgd-closure", "sgd", 1, probe="closure"),
)
