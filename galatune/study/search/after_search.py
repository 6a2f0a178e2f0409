"""What a script trains once its search is over: controlled, as in the search."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import optuna

from galatune.controller.controlled import Capture, controlled
from galatune.controller.rule.prior import Prior
from galatune.formatting import plural
from galatune.study.ledger.attributes import POLISH, RECORD
from galatune.study.ledger.polish import Polish
from galatune.study.ledger.provenance import CONTROL_OPTIONS, Provenance
from galatune.study.ledger.record import TrialRecord
from galatune.study.search.options import RunOptions

__all__ = ["AfterSearch"]


class AfterSearch:
    """Controls the trainings behind the search; open and closed as the script goes on."""

    def __init__(self) -> None:
        self._stack: ExitStack | None = None
        self._counts: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._capture: Capture | None = None
        self._options: dict[str, Any] | None = None

    def begin(self, smaller: optuna.Study) -> None:
        """Control what steps from here on, with the options of the search; nothing if it controlled nothing.

        Args:
            smaller: The smaller study.
        """
        known = Provenance.of(smaller)
        if known.options.get("control") == "off":
            return
        given = {name: known.options[name] for name in CONTROL_OPTIONS if known.options.get(name) is not None}
        self._options = {**RunOptions(**given).controller_options(), **_as_best(smaller)}
        self._open()

    def _open(self) -> None:
        if self._options is None or self._stack is not None:
            return
        self._stack = ExitStack()
        self._capture = self._stack.enter_context(controlled(**self._options))

    def end(self) -> None:
        """Let the optimizers go."""
        if self._stack is None:
            return
        capture, stack = self._capture, self._stack
        self._stack = self._capture = None
        stack.close()
        if capture is not None:
            for name, place in zip(capture.names, capture.places, strict=True):
                self._counts[name] += capture.controllers[place].steps
            self._left.update(one.name for one in capture.left_alone)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While something trains that is not to be controlled."""
        was_open = self._stack is not None
        self.end()
        try:
            yield
        finally:
            if was_open:
                self._open()

    def text(self) -> str | None:
        """What was controlled, in a line; None if nothing stepped."""
        if not self._counts and not self._left:
            return None
        steps = ", ".join(f"{name} {plural(count, 'step')}" for name, count in self._counts.items())
        left = f"left alone: {', '.join(self._left)}" if self._left else ""
        return (
            f"After the search the script trained on, controlled: {'; '.join(filter(None, (steps, left)))}."
        )


def _as_best(smaller: optuna.Study) -> dict[str, Any]:
    """What the best trial's control had of its own: its prior, and its factor if it is one of polish."""
    if len(smaller.directions) > 1:
        return {}
    try:
        found = smaller.best_trial.user_attrs
    except ValueError:
        return {}
    options: dict[str, Any] = {}
    polish = Polish.from_attribute(found.get(POLISH))
    if polish is not None and math.isfinite(polish.step_scale_factor):
        options["step_scale_factor"] = polish.step_scale_factor
    record = TrialRecord.from_attribute(found.get(RECORD))
    known = [] if record is None else [one.prior for one in record.optimizers if one.prior is not None]
    if len(known) == 1:  # of several optimizers nobody knows which is which
        options["prior"] = Prior(*known[0])
    return options
