"""A script in the place of an objective: what the command line says of it, and its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from galatune.errors import ObjectiveError, PlanError
from galatune.formatting import listed, printable

if TYPE_CHECKING:
    import optuna

    from galatune.cli.progress import RunProgress
    from galatune.study.scan.plan import ShrinkPlan
    from galatune.study.search.options import RunOptions
    from galatune.study.search.processes.origin import OfScript
    from galatune.study.search.scripts.handed_over import HandedOver
    from galatune.study.search.scripts.running import Script
    from galatune.study.search.scripts.serve import Served

__all__ = ["ScriptRun", "check_directions", "script_of"]


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
    """The run of a script.

    Attributes:
        script: The script.
        plan: What is dropped.
        place: File or URL of the smaller study.
        options: As the command gives them.
        called: Further arguments of `galatune.run`.
        yes: Answer questions with yes.
        stop_after: End the script with its search.
        reached: Called with the study of a search that was interrupted or failed.
    """

    script: Script
    plan: ShrinkPlan
    place: str
    options: RunOptions
    called: dict[str, Any]
    yes: bool
    stop_after: bool
    reached: Callable[[optuna.Study], None]

    def serve(self) -> Served:
        """Run it; its output goes to stderr."""
        from galatune.study.search.objective import as_script
        from galatune.study.search.processes.origin import OfScript
        from galatune.study.search.scripts.serve import serve

        self.script.check()
        begun: list[optuna.Study] = []
        origin = OfScript(self.script, self.called["source"], self.plan.study, self.options)
        try:
            with as_script(f"{self.script.place}:"):
                return serve(
                    self.script,
                    lambda handed: self._search(handed, origin, begun),
                    source=self.called["source"],
                    study=self.plan.study,
                    say=lambda line: click.echo(line, err=True),
                    stop_after=self.stop_after,
                )
        except (KeyboardInterrupt, ObjectiveError):
            if begun:
                self.reached(begun[-1])
            raise

    def _search(self, handed: HandedOver, origin: OfScript, begun: list[optuna.Study]) -> optuna.Study:
        from galatune.study.search.run import run

        check_directions(handed, self.plan)
        with self._progress(begun) as progress:
            click.echo(
                f"{self.script.name}: study {printable(handed.study)!r}, taken over: "
                f"{handed.text(self.plan.placeholders)}. The budget is the command's.",
                err=True,
            )
            return run(
                self.plan,
                handed.objective,
                options=handed.options_with(self.options, self.plan),
                watcher=handed.watched(progress),
                agree=progress.agree,
                enqueued=handed.enqueued_without(self.plan.placeholders),
                origin=replace(origin, handed=handed),
                **self.called,
            )

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
