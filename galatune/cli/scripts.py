"""A script in the place of an objective: what the command line says of it, and its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from galatune.errors import ObjectiveError, PlanError
from galatune.formatting import listed, printable

if TYPE_CHECKING:
    import optuna

    from galatune.cli.progress import RunProgress
    from galatune.study.scan.plan import ShrinkPlan
    from galatune.study.search.scripts.handed_over import HandedOver
    from galatune.study.search.scripts.running import Script
    from galatune.study.search.scripts.serve import Served

__all__ = ["ScriptRun", "check_directions", "script_of", "taken_over"]


def script_of(objective: str | None, module: str | None, arguments: tuple[str, ...]) -> Script | None:
    """The script that a command names; None if it names FILE:function.

    Args:
        objective: The argument OBJECTIVE.
        module: The option ``-m``.
        arguments: What follows.

    Raises:
        UsageError: Neither is given, or arguments follow FILE:function.
    """
    from galatune.study.search.scripts.running import Script

    if module is not None:
        return Script(module, ((objective,) if objective is not None else ()) + arguments, is_module=True)
    if objective is None:
        ctx = click.get_current_context()
        raise click.MissingParameter(
            ctx=ctx, param=next(p for p in ctx.command.params if p.name == "objective")
        )
    if objective.endswith(".py"):
        return Script(objective, arguments)
    if arguments:
        raise click.UsageError(f"Got unexpected extra argument ({' '.join(arguments)})")
    return None


@dataclass(frozen=True)
class ScriptRun:
    """The run of a script in which something else takes the place of its search.

    Attributes:
        script: The script.
        plan: What is dropped.
        place: File or URL of the smaller study.
        source: Storage of the old study.
        yes: Answer questions with yes.
        search: Takes the place; returns the smaller study, or None to end the script there.
        stop_after: End the script in any case there.
        reached: Called with the study of a search that was interrupted or failed.
    """

    script: Script
    plan: ShrinkPlan
    place: str
    source: str
    yes: bool
    search: Callable[[HandedOver, RunProgress], optuna.Study | None]
    stop_after: bool = False
    reached: Callable[[optuna.Study], None] = field(default=lambda study: None)

    def serve(self) -> Served:
        """Run it; its output goes to stderr."""
        from galatune.study.search.objective import as_script
        from galatune.study.search.scripts.serve import serve

        self.script.check()
        begun: list[optuna.Study] = []
        try:
            with as_script(f"{self.script.place}:"):
                return serve(
                    self.script,
                    lambda handed: self._search(handed, begun),
                    source=self.source,
                    study=self.plan.study,
                    say=lambda line: click.echo(line, err=True),
                    stop_after=self.stop_after,
                )
        except (KeyboardInterrupt, ObjectiveError):
            if begun:
                self.reached(begun[-1])
            raise

    def _search(self, handed: HandedOver, begun: list[optuna.Study]) -> optuna.Study | None:
        check_directions(handed, self.plan)
        with self._progress(begun) as progress:
            return self.search(handed, progress)

    @contextmanager
    def _progress(self, begun: list[optuna.Study]) -> Iterator[RunProgress]:
        from galatune.cli.progress import RunProgress

        progress = RunProgress(self.place, self.plan, yes=self.yes)
        try:
            with progress:
                yield progress
        finally:
            if progress.study is not None:
                begun.append(progress.study)


def check_directions(handed: HandedOver, plan: ShrinkPlan) -> None:
    """Refuse a study of the script that searches in another direction than the old one.

    Raises:
        PlanError: It does.
    """
    if handed.directions != plan.directions:
        raise PlanError(
            f"study {printable(handed.study)!r} of the script is to {listed(handed.directions)}, however: "
            f"{printable(plan.study)!r} was to {listed(plan.directions)}; say with --study which old study "
            "is meant"
        )


def taken_over(script: Script, handed: HandedOver, parts: str, then: str) -> None:
    """Say what was taken from a script, and what follows.

    Args:
        script: The script.
        handed: What it handed over.
        parts: Of that, what is used.
        then: Ends the line.
    """
    study = printable(handed.study)
    click.echo(f"{script.name}: study {study!r}, taken over: {parts}. {then}", err=True)
