"""The optimizer of one controller while it is there: whether it steps, and what it leaves once it is gone."""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

from torch.optim import Optimizer

from galatune.controller.events import EventLog
from galatune.controller.groups.lineage import Entry, Heritage, lineages
from galatune.controller.probes.select import ProbeSelector
from galatune.controller.rule.rate import Finding, RateState
from galatune.controller.state import KEY, lost_hooks
from galatune.controller.torch_hooks.loss import LossWatch

__all__ = ["EARLY", "Lifetime", "warn_of_unseen", "why_stopped"]

EARLY = 3
"""First steps of an optimizer: by then its state holds what it is going to hold.

Of one that is gone before, its probe is kept for the next one: optimizers are made anew every few steps then.
"""


class Leave(Protocol):
    """What a controller leaves to the next optimizer; None if there was no step."""

    def __call__(self, *, alive: bool) -> Heritage | None:
        """Asked while the optimizer is there, or once it is gone."""
        ...


class Lifetime:
    """The optimizer of one controller.

    Args:
        optimizer: It is not kept alive.
        log: Of the controller.
        selector: Its probe is closed once the optimizer is gone.
        watch: And so is this.
        leave: A method of the controller, which is not kept alive either.
    """

    def __init__(
        self, optimizer: Optimizer, log: EventLog, selector: ProbeSelector, watch: LossWatch, leave: Leave
    ) -> None:
        self._kind, self._log, self._selector = type(optimizer).__name__, log, selector
        self._leave = weakref.WeakMethod(leave)
        self._another: str | None = None
        self._begun = _steps(optimizer)
        self._entry: Entry | None = lineages.begin(optimizer, self._left_meanwhile)
        me = weakref.ref(self)
        exiting = sys.is_finalizing  # at exit, when modules are half gone, there is no need

        def gone(_: object) -> None:
            lifetime = me()
            if exiting():
                return
            watch.close()
            if lifetime is None:
                selector.close()
            else:
                lifetime._gone()

        self.optimizer: Callable[[], Optimizer | None] = weakref.ref(optimizer, gone)
        if not self._begun:
            lost_hooks.await_step(optimizer, self._saw_another)

    def conclude(self, steps: int, rate: float, states: Sequence[RateState], *, unseen: bool) -> None:
        """The optimizer is let go: say so if nothing was controlled, or if the rate did not arrive.

        Args:
            steps: Taken under control.
            rate: Of the last one.
            states: Of its rates.
            unseen: Whether there should have been a step.
        """
        lineages.end(self._entry)
        self._entry = None
        if unseen:
            self.say_unseen()
        if any(state.still_growing for state in states):
            reason = (
                f"after {steps} steps the rate was still growing: train longer, with a schedule that "
                "decays, or with guard=Guard(max_growth_per_step=2.0) (galatune run: --max-growth 2)"
            )
            self._log.note("short", reason, {"rate": rate})

    def forget(self) -> None:
        """The optimizer is under control no more."""
        self.optimizer = lambda: None

    def say_unseen(self) -> None:
        """No step was seen: what was to be controlled was not."""
        reason = f"no step of this {self._kind} was seen, so that nothing was controlled"
        if self._another is not None:
            reason += f"; attach to the {self._another} that stepped its parameters"
        self._log.note("unseen", reason, {})
        if self._another is not None:
            warnings.warn(f"galatune: {reason}", stacklevel=2)

    def _saw_another(self, other: Optimizer) -> None:
        self._another = type(other).__name__
        reason = f"a {self._another} stepped parameters of this {self._kind}, which took no step itself"
        self._log.note("unseen", f"{reason}; attach to that {self._another}", {})

    def _left_meanwhile(self) -> Heritage | None:
        """What the optimizer would leave, asked by the next one while it is there."""
        leave = self._leave()
        left: Heritage | None = None if leave is None else leave(alive=True)
        if left is not None:
            left.probe = self._selector.release()
        return left

    def _gone(self) -> None:
        leave = self._leave()
        left: Heritage | None = None if leave is None else leave(alive=False)
        if left is None or left.states[0].optimizer.step - self._begun > EARLY:
            self._selector.close()
        else:
            left.probe = self._selector.release()
        if left is not None:
            lineages.leave(self._entry, left)
        elif self._another is not None:
            self.say_unseen()


def why_stopped(finding: Finding, state: RateState) -> str:
    """The message of a training that the guard stops."""
    why = f"after going back {state.rollbacks} times" if state.rollbacks else "and the guard is to stop"
    return f"{finding.reason} at a rate of {state.rate:.3g}, {why}; lower max_lr"


def warn_of_unseen(optimizers: Sequence[Optimizer]) -> None:
    """Warn of the first one that has gradients, since none of them was seen to step."""
    for optimizer in optimizers:
        if any(p.grad is not None for group in optimizer.param_groups for p in group["params"]):
            reason = f"no step of this {type(optimizer).__name__} was seen, so that nothing was controlled"
            warnings.warn(f"galatune: {reason}", stacklevel=5)
            return


def _steps(optimizer: Optimizer) -> int:
    """Steps taken under control, by this optimizer or those that it was made anew from."""
    state = optimizer.param_groups[0].get(KEY) if optimizer.param_groups else None
    return 0 if state is None else int(state.optimizer.step)
