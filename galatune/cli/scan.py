"""`galatune scan`: what can be left out of a study."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from galatune.cli.loading import load
from galatune.cli.options import (
    arguments_argument,
    drop_schedule_option,
    json_option,
    keep_option,
    lr_option,
    storage_argument,
    study_option,
)

if TYPE_CHECKING:
    from galatune.study.scan.plan import StoragePlans

__all__ = ["scan"]


@click.command()
@storage_argument
@arguments_argument
@study_option
@lr_option
@keep_option
@drop_schedule_option
@json_option
def scan(
    storage: str,
    arguments: tuple[str, ...],
    study: str | None,
    lr: tuple[str, ...],
    keep: tuple[str, ...],
    drop_schedule: bool,
    as_json: bool,
) -> None:
    """Show which parameters of a study are learning rates. Nothing is changed.

    STORAGE is an Optuna storage URL, an SQLite file or a journal file. Without --study every study in it
    has a row. If nothing was stored, it may be the script that searches: its objective is called once, up to
    its first optimizer step.

    \b
    Examples:
      galatune scan optuna.db --study mnist
      galatune scan train.py -- --epochs 5
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    load("galatune.study.scan.scan", "rich.table")
    from rich.console import Console

    from galatune.study.scan.scan import scan_storage

    if storage.endswith(".py"):
        found = _scan_script(storage, arguments, study, lr, keep, drop_schedule=drop_schedule)
    elif arguments:
        raise click.UsageError(f"Got unexpected extra argument ({' '.join(arguments)})")
    else:
        found = scan_storage(storage, study, lr=lr, keep=keep, drop_schedule=drop_schedule)
    for note in dict.fromkeys(plan.note for plan in found.plans if plan.note):
        click.echo(note, err=True)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    found.show(Console(markup=False, highlight=False, emoji=False))
    if not any(plan.placeholders for plan in found.plans):
        click.echo("If one of the parameters is a learning rate after all, say --lr NAME.", err=True)


def _scan_script(
    place: str,
    arguments: tuple[str, ...],
    study: str | None,
    lr: tuple[str, ...],
    keep: tuple[str, ...],
    *,
    drop_schedule: bool,
) -> StoragePlans:
    load("torch", "galatune.study.search.scripts.dry_call")
    from galatune.study.scan.plan import StoragePlans
    from galatune.study.search.objective import as_script
    from galatune.study.search.scripts.dry_call import scan_script
    from galatune.study.search.scripts.running import Script

    with as_script(f"{place}:"):
        plan = scan_script(
            Script(place, arguments),
            study=study,
            lr=lr,
            keep=keep,
            drop_schedule=drop_schedule,
            say=lambda line: click.echo(line, err=True),
        )
    return StoragePlans((plan,))
