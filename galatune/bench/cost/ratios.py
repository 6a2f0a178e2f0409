"""From steps of both sides to ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from galatune.bench.cost.side import Step

__all__ = ["BLOCK", "Memory", "Ratio", "Times"]

BLOCK = 10
"""Neighbouring steps whose median is taken; about as many as lie between two probes."""


@dataclass(frozen=True)
class Ratio:
    """Median, smallest and largest ratio over blocks of neighbouring steps."""

    median: float
    smallest: float
    largest: float
    blocks: int


@dataclass(frozen=True)
class Times:
    """The steps of one training without control and of one with control, taken in turns.

    Attributes:
        plain: Steps without control.
        controlled: Steps with control.
    """

    plain: tuple[Step, ...]
    controlled: tuple[Step, ...]

    @property
    def probes(self) -> int:
        """Number of probed steps."""
        return sum(step.probed for step in self.controlled)

    @property
    def not_probing(self) -> Ratio | None:
        """Ratio of steps that are not probed and keep nothing for a probe of the next step."""
        return self._ratio([kind == (False, False) for kind in self._kinds])

    @property
    def remembering(self) -> Ratio | None:
        """Ratio of steps that are not probed and keep what the probe of the next step needs."""
        return self._ratio([kind == (False, True) for kind in self._kinds])

    @property
    def probing(self) -> Ratio | None:
        """Ratio of steps that are probed."""
        return self._ratio([kind[0] for kind in self._kinds])

    @property
    def run(self) -> float:
        """Ratio of the whole trainings: the sum of all steps over that without control."""
        return _total(self.controlled) / _total(self.plain)

    def composed(self, steps: int, due: Callable[[int], bool]) -> float | None:
        """Ratio of trainings of so many steps, from the median ratio of each kind of step and its number.

        It is more robust than `run` if other programs run on the machine, and it leaves out rare events.

        Args:
            steps: Number of steps.
            due: Whether a probe is scheduled for the step with this number, from 0. If no two neighbouring
                steps were probed, the second of two is moved by one.

        Returns:
            The ratio, None if no step of one kind was taken.
        """
        apart = (True, True) not in self._kinds
        probed, owed = [False], False
        for step in range(steps):
            owed = owed or due(step)
            probed.append(owed and not (apart and probed[-1]))
            owed = owed and not probed[-1]
        kinds = list(pairwise([*probed[1:], False]))
        ratios = {kind: self._ratio([other == kind for other in self._kinds]) for kind in set(kinds)}
        medians = {kind: ratio.median for kind, ratio in ratios.items() if ratio is not None}
        return statistics.fmean(medians[kind] for kind in kinds) if len(medians) == len(ratios) else None

    @property
    def _kinds(self) -> list[tuple[bool, bool]]:
        probed = [step.probed for step in self.controlled]
        return list(zip(probed, [*probed[1:], False], strict=True))

    def _ratio(self, wanted: Sequence[bool]) -> Ratio | None:
        ratios = []
        for begin in range(0, len(wanted), BLOCK):
            block = range(begin, min(begin + BLOCK, len(wanted)))
            own = [self.controlled[i].seconds for i in block if wanted[i]]
            if own:
                beside = statistics.median(self.plain[i].seconds for i in block)
                ratios.append(statistics.median(own) / beside)
        if not ratios:
            return None
        return Ratio(statistics.median(ratios), min(ratios), max(ratios), len(ratios))


@dataclass(frozen=True)
class Memory:
    """Allocations of the same steps without control and with it.

    Attributes:
        plain: Steps without control.
        controlled: Steps with control.
        parameters: Number of trained parameters.
        parameter_bytes: Their bytes.
    """

    plain: tuple[Step, ...]
    controlled: tuple[Step, ...]
    parameters: int
    parameter_bytes: int

    @property
    def at_a_probe(self) -> float:
        """Bytes per parameter at the peak of a probed step, above that of the step without control."""
        peaks = zip(self._peaks(self.controlled), self._peaks(self.plain), self.controlled, strict=True)
        return self._each(max(ours - plain for ours, plain, step in peaks if step.probed))

    @property
    def before_a_probe(self) -> float:
        """Bytes per parameter that are kept from a step to the probed step after it."""
        return self._each(max(self._kept(probe_follows=True)))

    @property
    def between_probes(self) -> float:
        """Bytes per parameter that are kept from any other step to the next."""
        return self._each(max(self._kept(probe_follows=False)))

    @property
    def ratio(self) -> float:
        """Ratio of the peaks of both trainings, parameters and activations included."""
        return max(self._peaks(self.controlled)) / max(self._peaks(self.plain))

    def _each(self, size: int) -> float:
        return size / self.parameters

    def _peaks(self, steps: Sequence[Step]) -> list[int]:
        held = [self.parameter_bytes, *self._held(steps)]
        return [before + step.peak for before, step in zip(held[:-1], steps, strict=True)]

    def _held(self, steps: Sequence[Step]) -> list[int]:
        held, now = [], self.parameter_bytes
        for step in steps:
            now += step.kept
            held.append(now)
        return held

    def _kept(self, *, probe_follows: bool) -> list[int]:
        follows = [step.probed for step in self.controlled[1:]]
        pairs = zip(self._held(self.controlled)[:-1], self._held(self.plain)[:-1], follows, strict=True)
        return [ours - plain for ours, plain, probe in pairs if probe == probe_follows]


def _total(steps: Sequence[Step]) -> float:
    return sum(step.seconds for step in steps)
