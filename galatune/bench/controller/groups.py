"""What a result can show: whether its task and seed had a part in choosing the method, and its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galatune.bench.controller.runs import Result, Run
from galatune.bench.controller.tasks import TASKS

__all__ = ["CHOSEN_SEEDS", "Group", "by_group", "group_of", "length"]

CHOSEN_SEEDS = range(6)
"""Seeds on which variants of the method were compared (docs/research.md, rounds 1 to 10)."""

LONG_FROM = 4_000
"""Steps from which on a training is long and shares no score with shorter ones."""


@dataclass(frozen=True, order=True)
class Group:
    """Results that share a score and their fixed rates.

    Attributes:
        kind: "chosen on" if task and seed had a part in choosing the method; "held-out tasks" if the task
            had none; "held-out seeds" if the seed alone had none.
        length: Of the trainings in words, empty if they are not long.
    """

    kind: str
    length: str = ""

    @property
    def held_out(self) -> bool:
        """Whether nothing was chosen on these results."""
        return self.kind != "chosen on"

    def __str__(self) -> str:
        return f"{self.kind}, {self.length}" if self.length else self.kind


def length(task: str) -> str:
    """How long a task trains, in words; empty if it is not long."""
    steps = TASKS[task].steps
    return f"{steps:,} steps" if steps >= LONG_FROM else ""


def group_of(run: Run) -> Group:
    """The group of a run.

    Example:
        >>> print(group_of(Run("digits-mlp", "adam", "cosine", 1e-3)))
        chosen on
        >>> print(group_of(Run("friedman3-4000", "adam", "cosine", 1e-3)))
        held-out tasks, 4,000 steps
    """
    if TASKS[run.task].held_out:
        return Group("held-out tasks", length(run.task))
    return Group("chosen on" if run.seed in CHOSEN_SEEDS else "held-out seeds", length(run.task))


def by_group(results: Sequence[Result]) -> dict[Group, list[Result]]:
    """Split results into their groups; those that the method was chosen on come first."""
    groups: dict[Group, list[Result]] = {}
    for result in results:
        groups.setdefault(group_of(result.run), []).append(result)
    return {group: groups[group] for group in sorted(groups)}
