"""From steps of both sides to ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from galatune.bench.cost.side import Step

__all__ = ["BLOCK", "Memory", "Ratio", "Times"]

BLOCK = 10
"""Neighbouring steps whose median is one number; as many as lie between two probes."""


@dataclass(frozen=True)
class Ratio:
    """Median, smallest and largest of the ratios of blocks of neighbouring steps, taken in turns."""

    median: float
    smallest: float
    largest: float
    blocks: int


@dataclass(frozen=True)
class Times:
    """Every step of one training without control and of one with it, taken in turns.

    Attributes:
        plain: Without.
        controlled: With.
    """

    plain: tuple[Step, ...]
    controlled: tuple[Step, ...]

    @property
    def probes(self) -> int:
        """Probed steps."""
        return sum(step.probed for step in self.controlled)

    @property
    def not_probing(self) -> Ratio | None:
        """Steps that neither are probed nor remember anything for a probe of the next one."""
        return self._ratio([kind == (False, False) for kind in self._kinds])

    @property
    def remembering(self) -> Ratio | None:
        """Steps that are not probed and keep what the probe of the next one needs."""
        return self._ratio([kind == (False, True) for kind in self._kinds])

    @property
    def probing(self) -> Ratio | None:
        """Steps that are probed."""
        return self._ratio([kind[0] for kind in self._kinds])

    @property
    def run(self) -> float:
        """The whole training: the sum of all its steps beside the sum of all steps of the other."""
        return _total(self.controlled) / _total(self.plain)

    def composed(self, steps: int, due: Callable[[int], bool]) -> float | None:
        """The same for so many steps, from the median ratio of each kind of step and their number.

        It is the sturdier one where something else runs on the machine, and leaves out what is rare.

        Args:
            steps: How many, from the first one.
            due: Whether the step with this number, from 0, is to be probed. Where no two neighbours were, the
                second one makes way.

        Returns:
            None where steps of one kind were not taken.
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
        plain: Without.
        controlled: With.
        parameters: Trained ones.
        parameter_bytes: What they take.
    """

    plain: tuple[Step, ...]
    controlled: tuple[Step, ...]
    parameters: int
    parameter_bytes: int

    @property
    def at_a_probe(self) -> float:
        """Bytes a parameter at the peak of a probed step, above the peak of the plain one beside it."""
        peaks = zip(self._peaks(self.controlled), self._peaks(self.plain), self.controlled, strict=True)
        return self._each(max(ours - plain for ours, plain, step in peaks if step.probed))

    @property
    def before_a_probe(self) -> float:
        """Bytes a parameter that are kept from a step to the probed one after it."""
        return self._each(max(self._kept(probe_follows=True)))

    @property
    def between_probes(self) -> float:
        """Bytes a parameter that are kept from any other step to the next one."""
        return self._each(max(self._kept(probe_follows=False)))

    @property
    def ratio(self) -> float:
        """Peak of the controlled training over that of the plain one, parameters and activations included."""
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
