"""Which probe serves a loop, when it measures, and what replaces it if it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from galatune.controller.gradient_pair import GradientPair
from galatune.controller.probes import PROBES, SUCCESSORS
from galatune.controller.probes.base import Probe, SkippedProbeError
from galatune.controller.probes.schedule import ProbeSchedule, RateStart
from galatune.errors import ProbeError

__all__ = ["AUTO", "ProbeSelector"]

Note = Callable[[str, str, Mapping[str, float]], None]

AUTO = "auto"
"""The first probe that works for the loop: closure if it steps with one, else graph, echo, consecutive."""


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
        self.owed = False
        self.next_step = 0
        self.probe: Probe = self._first_choice()
        self._use(self.probe)

    def due(self, step: int) -> bool:
        """Whether the step with this number, from 0, is to be probed."""
        return self._schedule.due(step, self._starts())

    def before(self, closure: Callable[[], Any] | None) -> int:
        """Fit the probe to how `step` is called and let it prepare.

        Returns:
            Number of gradients computed.

        Raises:
            ProbeError: The probe that was asked for cannot serve this loop.
        """
        if self._wanted == AUTO and not self._chosen and closure is not None:
            self._use(PROBES["closure"]())
        if self.probe.needs_closure and closure is None:
            name = self.probe.name
            self._give_up(
                ProbeError(f"probe={name!r} needs optimizer.step(closure), and step() was called without one")
            )
        if not self._chosen:
            self._chosen = True
            self._note("probe", f"gradient pairs come from the {self.probe.name} probe", {})
        return self.probe.prepare(closure)

    def take(self) -> tuple[list[GradientPair] | None, int]:
        """The pair of this step, None if there is none, and the number of gradients it cost."""
        if not self.probe.ready:
            self.probe.forget()
            return None, 0
        spent = self.probe.gradient_evaluations
        try:
            return self.probe.pair(), spent
        except SkippedProbeError as skipped:
            self._note("probe", str(skipped), {})
            return None, spent
        except ProbeError as error:
            self._give_up(error)
            return None, spent

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

    def _first_choice(self) -> Probe:
        if isinstance(self._wanted, str):
            return PROBES["graph" if self._wanted == AUTO else self._wanted]()
        return self._wanted

    def _use(self, probe: Probe) -> None:
        self.close()
        self.probe = probe
        probe.watch()

    def _give_up(self, error: ProbeError) -> None:
        if self._wanted != AUTO:
            raise ProbeError(f"{error}; use probe='auto', which falls back to another probe") from None
        successor = SUCCESSORS[self.probe.name]()
        self._use(successor)
        self._note("probe", f"{error}: from here on gradient pairs come from the {successor.name} probe", {})
