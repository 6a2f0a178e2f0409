"""Whether the probes of a training saw anything at all; if not, its rate is still the first one."""

from __future__ import annotations

from collections.abc import Sequence

from galatune.controller.gradient_pair import GradientPair
from galatune.controller.rule.estimate import Observation
from galatune.controller.rule.rate import FLAT_PROBES, RateState

__all__ = ["FEWEST", "Sightings"]

FEWEST = 3
"""Steps to be probed below which a training is too short to say so: the first probe may be replaced."""


class Sightings:
    """Counts the steps that were to be probed and showed nothing, until one shows something.

    A gradient that is zero is nothing to be seen, and does not count.

    Attributes:
        blind: Number of them.
        seen: True once something was observed, also before a checkpoint.
    """

    def __init__(self) -> None:
        self.blind, self.seen, self._flat = 0, False, 0
        self._said = False

    def resume(self, probes: int, flat: int) -> None:
        """Go on from a state with so many gradient pairs, some of which showed no curvature."""
        self.seen, self._flat = self.seen or probes > flat, flat

    def add(
        self,
        due: bool,
        pairs: Sequence[GradientPair] | None,
        observations: Sequence[Observation | None],
        rates: Sequence[RateState],
    ) -> None:
        """One more step.

        Args:
            due: Whether it was to be probed.
            pairs: Its gradient pairs, None if it was not probed.
            observations: Of each rate.
            rates: State of each rate.
        """
        flat = max(rate.flat_probes for rate in rates)
        self.seen = self.seen or any(one is not None for one in observations)
        nothing = due if pairs is None else not pairs
        self.blind += nothing or flat > self._flat
        self._flat = flat

    def why(self, probe: str, said: str) -> str | None:
        """Why nothing was seen; None if something was, or if there was no time to.

        Args:
            probe: Name of the probe in use.
            said: Why the probe before it was given up, or why one was left out; empty if neither was.
        """
        if self.seen or self.blind < FEWEST:
            return None
        cause = said or f"the {probe} probe found no gradient pair"
        if self._flat:
            cause = "the loss shows no curvature, as if it were piecewise linear in the parameters"
        steps = f"{self.blind} steps were to be probed and nothing was seen"
        return f"{steps}, so the rate stayed where it began: {cause}"

    def is_news(self, *, ended: bool) -> bool:
        """Whether it is time to say so, which is once: at the end, or after many steps."""
        news = not (self.seen or self._said) and self.blind >= (FEWEST if ended else FLAT_PROBES)
        self._said = self._said or news
        return news
