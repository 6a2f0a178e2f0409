"""Which probe serves a loop, when it measures, and what replaces it if it cannot."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from galatune.controller.gradient_pair import GradientPair
from galatune.controller.probes import PROBES, SUCCESSORS
from galatune.controller.probes.base import Probe, SkippedProbeError
from galatune.controller.probes.closure_causes import why_not_twice, why_unfit
from galatune.controller.probes.schedule import ProbeSchedule, RateStart
from galatune.controller.probes.unseen import Sightings
from galatune.controller.rule.estimate import Observation
from galatune.controller.rule.rate import RateState
from galatune.controller.torch_hooks.closure_call import ClosureCall, ObservedClosure
from galatune.controller.torch_hooks.distributed import Ranks, is_sharded
from galatune.errors import ProbeError

__all__ = ["AUTO", "ProbeSelector"]

Closure = Callable[[], Any]

Note = Callable[[str, str, Mapping[str, float]], None]

AUTO = "auto"
"""The first probe that works for the loop: closure if it steps with one that may be called once more, else
graph, echo, consecutive."""


class ProbeSelector:
    """The gradient pairs of one optimizer, whatever probe they come from.

    Args:
        wanted: Name of a probe, a `Probe` object, or "auto".
        schedule: Which steps are probed.
        note: Called with (kind, reason, values) when a probe is chosen or given up.
        starts: Returns the rates that are chosen by now.

    Attributes:
        probe: The probe in use.
        owed: True if a probe was due and could not be prepared: the next step that can makes up for it.
        sightings: Whether anything was seen so far.
        next_step: Number of the first step that it is needed at; before it, nothing is probed, and nothing
            remembered.
    """

    def __init__(
        self,
        wanted: str | Probe,
        schedule: ProbeSchedule,
        note: Note,
        starts: Callable[[], Sequence[RateStart]],
    ) -> None:
        self._wanted, self._schedule, self._note, self._starts = wanted, schedule, note, starts
        self._chosen = False
        self._stepping = False
        self._observed = False
        self._unfit: str | None = None
        self._said = ""
        self._was_due, self._watching = False, True
        self.sightings = Sightings()
        self.owed = False
        self.next_step = 0
        self.probe: Probe = self._first_choice()
        self._use(self.probe)

    def due(self, step: int) -> bool:
        """Whether the step with this number, from 0, is to be probed."""
        return self._schedule.due(step, self._starts())

    def before(self, closure: Closure | None, parameters: Sequence[Tensor]) -> tuple[int, Closure | None]:
        """Fit the probe to how `step` is called and let it prepare.

        A closure is looked at while the loop calls it for the first time. With "auto" the probe is chosen
        then: closure only if it can be called once more, and nothing is known that it would do twice.

        Returns:
            Number of gradients computed, and the closure to call.

        Raises:
            ProbeError: The probe that was asked for cannot serve this loop.
        """
        if self.probe.needs_closure and closure is None:
            name = self.probe.name
            self._give_up(
                ProbeError(f"probe={name!r} needs optimizer.step(closure), and step() was called without one")
            )
        elif self.probe.needs_closure and self._unfit is not None:
            self._give_up(ProbeError(self._unfit))
        undecided = self._wanted == AUTO and not self._chosen and closure is not None
        if not self._chosen and not undecided:
            self._choose(None)
        spent = self.probe.prepare(closure)
        if closure is None or self._observed or not (undecided or self.probe.needs_closure):
            return spent, closure
        seen = functools.partial(self._saw_call, closure, parameters)
        return spent, ObservedClosure(closure, parameters, seen)

    def take(self, step: int) -> tuple[list[GradientPair] | None, int]:
        """The pair of the step with this number, None if there is none, and how many gradients it cost."""
        self._was_due = self._watching and self.due(step)
        if not self.probe.ready:
            self.probe.forget()
            return None, 0
        spent = self.probe.gradient_evaluations
        try:
            return self.probe.pair(), spent
        except SkippedProbeError as skipped:
            if str(skipped) != self._said:
                self._note("probe", str(skipped), {})
            self._said, self.owed = str(skipped), True  # the next step makes up for it
            return None, spent
        except ProbeError as error:
            self._give_up(error)
            return None, spent

    def saw(
        self,
        pairs: Sequence[GradientPair] | None,
        observations: Sequence[Observation | None],
        rates: Sequence[RateState],
    ) -> None:
        """What became of the pair that was taken; of each rate the observation and the state."""
        if not self.sightings.seen:
            self.sightings.add(self._was_due, pairs, observations, rates)
            self._note_unseen(ended=False)

    @property
    def unseen(self) -> str | None:
        """Why no probe saw anything; None if one did, or if there was no time to."""
        return self.sightings.why(self.probe.name, self._said)

    def conclude(self) -> None:
        """The training ended."""
        self._note_unseen(ended=True)

    def remember(self, step: int, parameters: Sequence[Tensor]) -> None:
        """Keep what the probe of the step with this number, the coming one, needs of the present one."""
        self.owed = self.owed or self.due(step)
        if not self.owed:
            return
        try:
            self.probe.remember(parameters)
        except ProbeError as error:
            self._give_up(error)
            self.probe.remember(parameters)
        self.owed = not self.probe.holds
        self._stepping = True

    def stepped(self, taken: int) -> None:
        """So many steps were taken."""
        if self._stepping and self.probe.holds:
            self.probe.stepped()
        self._stepping = False
        self.expect(taken)

    def expect(self, taken: int) -> None:
        """After so many steps: tell the probe whether the coming one is to be remembered, and look ahead."""
        starts = self._starts()
        wanted = self.owed or not starts or self._schedule.due(taken + 1, starts)
        self.probe.expect(wanted)
        if wanted or self.probe.holds:
            self.next_step = taken
        else:
            self.next_step = self._schedule.next_due(taken + 2, starts) - 1

    def restore(self, name: str, state: Mapping[str, Any], parameters: Sequence[Tensor], owed: bool) -> None:
        """Continue with the probe of this name, if the options allow it, from its state."""
        self.owed = owed
        if self._wanted == AUTO and name in PROBES:
            if name != self.probe.name:
                self._use(PROBES[name]())
            self._chosen = True
        if name == self.probe.name:
            self.probe.load_state_dict(state, parameters)

    def postpone(self) -> None:
        """The remembered step was not taken: another one is to be probed."""
        self.forget()
        self.owed = True

    def forget(self) -> None:
        """The remembered step no longer counts."""
        self.probe.forget()
        self._stepping = self.owed = False

    def close(self) -> None:
        """Stop watching the loop."""
        self._watching = False
        self.probe.forget()
        self.probe.unwatch()

    def release(self) -> Probe | None:
        """The probe for the next optimizer, if it holds a step and is one of galatune's own."""
        if not (self.probe.holds and isinstance(self._wanted, str)):
            self.close()
            return None
        released, self.probe = self.probe, PROBES[self.probe.name]()
        released.hold_weakly()
        return released

    def take_over(self, probe: Probe, parameters: Sequence[Tensor]) -> None:
        """Go on with a probe that the optimizer before released."""
        self.close()
        self.probe, self._chosen = probe, True
        probe.parameters = list(parameters)

    def _note_unseen(self, *, ended: bool) -> None:
        if self.sightings.is_news(ended=ended):
            self._note("unseen", self.unseen or "", {})

    def _choose(self, why: str | None) -> None:
        self._chosen = True
        because = "" if why is None else f": {why}"
        self._note("probe", f"gradient pairs come from the {self.probe.name} probe{because}", {})

    def _saw_call(self, closure: Closure, parameters: Sequence[Tensor], call: ClosureCall) -> None:
        """The loop called the closure for the first time; its gradients are there, its step is not taken."""
        self._observed = True
        unfit, twice, ranks = why_unfit(call), why_not_twice(closure, call), Ranks()
        if any(map(is_sharded, parameters)):
            twice = None  # their graph holds copies: no other probe can serve them as well
        why = unfit or twice
        if not ranks.some_may_be_done(parameters) and ranks.any(why is not None, parameters):
            why = why or "the closure cannot be called again on another rank"
        if self._chosen:  # by name, or by a checkpoint
            self._unfit = unfit
            if unfit is None and twice is not None and self.probe.needs_closure:
                self._note("probe", f"{twice}, each time it is probed; with probe='graph' it is not", {})
            return
        if why is None:
            self._use(PROBES["closure"]())
        self._choose(why)

    def _first_choice(self) -> Probe:
        if isinstance(self._wanted, str):
            return PROBES["graph" if self._wanted == AUTO else self._wanted]()
        return self._wanted

    def _use(self, probe: Probe) -> None:
        self.close()
        self.probe, self._watching = probe, True
        probe.watch()

    def _give_up(self, error: ProbeError) -> None:
        if self._wanted != AUTO:
            raise ProbeError(f"{error}; use probe='auto', which falls back to another probe") from None
        self._said = str(error)
        successor = SUCCESSORS[self.probe.name]()
        self._use(successor)
        self._note("probe", f"{error}: from here on gradient pairs come from the {successor.name} probe", {})
