"""What a search spends: processor seconds, optimizer steps and, under control, gradient evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from torch.optim.optimizer import register_optimizer_step_post_hook

from galatune.study.ledger.attributes import RECORD

__all__ = ["Meter", "TrialCost", "counted_steps"]


@dataclass(frozen=True)
class TrialCost:
    """One finished trial, and what the search has spent when it was finished.

    Attributes:
        value: Validation loss; None if it is not COMPLETE.
        state: Name of its state.
        params: Its parameters.
        seconds: Processor seconds in trainings, of all trials so far, the sampler and the storage left out.
        gradients: Gradient evaluations of all trials so far, probes included.
    """

    value: float | None
    state: str
    params: dict[str, Any]
    seconds: float
    gradients: int


class Meter:
    """Measures the trainings of one search.

    Args:
        most_gradients: The search is stopped by the trial that reaches it.
    """

    def __init__(self, most_gradients: float) -> None:
        self.trials: list[TrialCost] = []
        self._most = most_gradients
        self._seconds = 0.0
        self._steps = 0
        self._gradients = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure one call of the objective."""
        began = time.process_time()
        with counted_steps() as steps:
            try:
                yield
            finally:
                self._seconds += time.process_time() - began
                self._steps += steps()

    def finished(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Note a finished trial, and stop the search if it has spent what it may."""
        record = trial.user_attrs.get(RECORD)
        self._gradients += self._steps if record is None else record["gradient_evaluations"]
        self._steps = 0
        complete = trial.state == TrialState.COMPLETE
        self.trials.append(
            TrialCost(
                trial.value if complete else None,
                trial.state.name,
                dict(trial.params),
                self._seconds,
                self._gradients,
            )
        )
        if self._gradients >= self._most:
            study.stop()


@contextmanager
def counted_steps() -> Iterator[Callable[[], int]]:
    """Count the steps of every optimizer in this process; each of them uses one gradient."""
    steps = 0

    def count(*_: Any) -> None:
        nonlocal steps
        steps += 1

    handle = register_optimizer_step_post_hook(count)
    try:
        yield lambda: steps
    finally:
        handle.remove()
