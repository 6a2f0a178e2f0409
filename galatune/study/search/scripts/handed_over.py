"""What a script hands to Optuna: the callable, and the search that it asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, GridSampler

from galatune.formatting import listed, plural
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.objective import Objective
from galatune.study.search.options import RunOptions, Watcher

__all__ = ["HandedOver"]


@dataclass(frozen=True)
class HandedOver:
    """A search of a script, to be replaced.

    Attributes:
        objective: What the script gave to `study.optimize`; of a loop of `ask` and `tell`, its body.
        study: Name of the study in the script.
        directions: "minimize" or "maximize" for each objective.
        sampler: The one that the script chose, None if it left that to Optuna.
        pruner: The same.
        enqueued: Configurations that the script enqueued before its search.
        asks: Whether ``objective`` is the body of a loop of `ask` and `tell`, which runs once per trial.
        asked: Number of a trial to the dropped dimensions that the objective has asked for in it.
        watched: Makes a watcher of another: through it the script's study learns what the search finds.
    """

    objective: Objective
    study: str
    directions: tuple[str, ...]
    sampler: BaseSampler | None = None
    pruner: BasePruner | None = None
    enqueued: tuple[Mapping[str, Any], ...] = ()
    asks: bool = False
    asked: dict[int, tuple[str, ...]] = field(default_factory=dict, repr=False)
    watched: Callable[[Watcher | None], Watcher | None] = field(default=lambda inner: inner, repr=False)

    def sampler_without(self, dropped: Mapping[str, Any]) -> BaseSampler | None:
        """The sampler for the smaller space; None for the default of a run.

        Args:
            dropped: Dimensions that are gone; a grid is rebuilt without them.
        """
        if not isinstance(self.sampler, GridSampler):
            return self.sampler
        kept = {name: values for name, values in self.sampler._search_space.items() if name not in dropped}
        return GridSampler(kept, seed=0) if kept else None

    def options_with(self, options: RunOptions, plan: ShrinkPlan) -> RunOptions:
        """The options with the sampler and the pruner of the script, unless they name others."""
        sampler, pruner = options.sampler, options.pruner
        if sampler is None:
            sampler = self.sampler_without(plan.placeholders)
        if pruner is None and len(plan.directions) == 1:
            pruner = self.pruner
        return replace(options, sampler=sampler, pruner=pruner)

    def enqueued_without(self, dropped: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        """The configurations that were enqueued, without what is dropped, each once."""
        found: dict[str, dict[str, Any]] = {}
        for params in self.enqueued:
            kept = {name: value for name, value in params.items() if name not in dropped}
            if kept:
                found.setdefault(repr(sorted(kept.items())), kept)
        return tuple(found.values())

    def text(self, dropped: Mapping[str, Any]) -> str:
        """What was taken from the script, in a line."""
        parts, count = self._parts(), len(self.enqueued_without(dropped))
        if count:
            rates = listed(dropped)
            parts.append(f"{plural(count, 'enqueued configuration')} (without {rates}, counted)")
        return ", ".join(parts)

    def text_without_enqueued(self) -> str:
        """The same where nothing but old configurations is trained."""
        return ", ".join(self._parts())

    def _parts(self) -> list[str]:
        parts = ["the body of its ask-and-tell loop" if self.asks else "its objective"]
        return parts + [type(one).__name__ for one in (self.sampler, self.pruner) if one is not None]
