"""Which probe serves a loop, when it fires, and what takes its place where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from galatune.controller.gradient_pair import Change
from galatune.controller.options import Options
from galatune.controller.probes import PROBES, SUCCESSORS
from galatune.controller.probes.base import Probe, RememberedGradients, Scales, SkippedProbeError
from galatune.controller.probes.closure import ClosureProbe
from galatune.controller.probes.echo import EchoProbe
from galatune.controller.probes.graph import GraphProbe
from galatune.controller.probes.schedule import Begun
from galatune.errors import ProbeError

__all__ = ["PairSource"]

Note = Callable[[str, str, Mapping[str, float]], None]


class PairSource:
    """The gradient pairs of one optimizer, whatever probe they come from.

    Args:
        options: `probe` and `rhythm`.
        note: Called with (kind, reason, values) when a probe is chosen or given up.
        begun: The rates that are chosen by now.
    """

    def __init__(self, options: Options, note: Note, begun: Callable[[], Sequence[Begun]]) -> None:
        self._options, self._note, self._begun = options, note, begun
        self._rhythm = options.rhythm
        self._chosen = False
        self._stepping = False
        self.owed = False
        """Whether a probe was due that could not be prepared for: the next step that can makes up for it."""
        self._probe: Probe = self._wanted()
        self._use(self._probe)

    @property
    def name(self) -> str:
        """Of the probe in use."""
        return self._probe.name

    @property
    def ready(self) -> bool:
        """Whether the present step is probed."""
        return self._probe.ready

    @property
    def scales(self) -> Scales:
        """Step scales of the probe in use."""
        return self._probe.scales

    @property
    def echoes(self) -> bool:
        """Whether the minibatch of a pair is that of the step between, so that it has a share in the step."""
        return isinstance(self._probe, EchoProbe)

    @property
    def remembers_gradients(self) -> bool:
        """Whether g0 is the gradient of the step before, as the loop computed it."""
        return isinstance(self._probe, RememberedGradients)

    @property
    def coming_metric(self) -> bool:
        """See `Probe.coming_metric`."""
        return self._probe.coming_metric

    def awaits(self, step: int) -> bool:
        """Whether the step with this number, from 0, is likely to be probed."""
        return self._probe.holds or self.due(step)

    def due(self, step: int) -> bool:
        """Whether the step with this number, from 0, is to be probed."""
        return self._rhythm.due(step, self._begun())

    def before(self, closure: Callable[[], Any] | None) -> int:
        """Fit the probe to how `step` is called and, with a closure on a probe step, evaluate it.

        Returns:
            Gradient evaluations spent.

        Raises:
            ProbeError: The probe that was asked for cannot serve this loop.
        """
        self._fit(closure)
        if closure is None or not isinstance(self._probe, ClosureProbe) or not self._probe.ready:
            return 0
        return self._probe.evaluate(closure)

    def agree(self) -> None:
        """With this step's gradients there: it is probed on every rank, or on none."""
        if isinstance(self._probe, EchoProbe):
            self._probe.agree()

    def take(self) -> tuple[list[Change] | None, int]:
        """The pair of this step, None where there is none, and the gradient evaluations it cost."""
        if not self._probe.ready:
            self._probe.forget()
            return None, 0
        closure = isinstance(self._probe, ClosureProbe)
        spent = 0 if closure else self._probe.cost  # the closure's were counted when it was evaluated
        try:
            return self._probe.pair(), spent
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
            self._probe.remember(parameters)
        except ProbeError as error:
            self._give_up(error)
            self._probe.remember(parameters)
        self.owed = not self._probe.holds
        self._stepping = True

    def stepped(self, taken: int) -> None:
        """So many steps were taken."""
        if self._stepping and self._probe.holds:
            self._probe.stepped()
        self._stepping = False
        self.expect(taken)

    def expect(self, taken: int) -> None:
        """After so many steps: tell the probe whether the coming one is to be remembered."""
        self._probe.expect(self.owed or not self._begun() or self.due(taken + 1))

    def remembered(self) -> dict[str, Any]:
        """What a checkpoint carries where the next step is probed; nothing where it is not."""
        return self._probe.remembered()

    @property
    def needs_math(self) -> bool:
        """Whether the graph probe is in use and has attention computed by the math kernel."""
        return isinstance(self._probe, GraphProbe) and self._probe.needs_math

    def restore(
        self,
        name: str,
        parameters: Sequence[Tensor],
        kept: Mapping[str, Any] | None,
        needs_math: bool = False,
    ) -> None:
        """Continue with the probe of this name, where the options allow it, from what it `remembered`."""
        if self._options.probe == "auto" and name in PROBES:
            if name != self.name:
                self._use(PROBES[name]())
            self._chosen = True
        if isinstance(self._probe, GraphProbe):
            self._probe.needs_math = needs_math
        if kept and name == self.name:
            self._probe.restore(parameters, kept)

    def postpone(self) -> None:
        """The remembered step was not taken: another one is to be probed."""
        self.forget()
        self.owed = True

    def forget(self) -> None:
        """The remembered step no longer counts."""
        self._probe.forget()
        self._stepping = self.owed = False

    def close(self) -> None:
        """Stop watching the loop."""
        self._probe.forget()
        self._probe.unwatch()

    def _wanted(self) -> Probe:
        wanted = self._options.probe
        if isinstance(wanted, str):
            return PROBES["graph" if wanted == "auto" else wanted]()
        return wanted

    def _fit(self, closure: Any) -> None:
        automatic = self._options.probe == "auto"
        if automatic and not self._chosen and closure is not None:
            self._use(ClosureProbe())
        if isinstance(self._probe, ClosureProbe) and closure is None:
            error = ProbeError(
                "probe='closure' needs optimizer.step(closure), and step() was called without one"
            )
            self._give_up(error)
        if not self._chosen:
            self._chosen = True
            self._note("probe", f"gradient pairs come from the {self._probe.name} probe", {})

    def _use(self, probe: Probe) -> None:
        self.close()
        self._probe = probe
        probe.watch()

    def _give_up(self, error: ProbeError) -> None:
        if self._options.probe != "auto":
            raise ProbeError(f"{error}; use probe='auto', which falls back to another probe") from None
        successor = SUCCESSORS[self.name]()
        self._use(successor)
        self._note("probe", f"{error}: from here on gradient pairs come from the {successor.name} probe", {})
