"""`galatune scan`: what can be left out of a study."""

from __future__ import annotations

import json

import click

from galatune.cli.loading import load
from galatune.cli.options import (
    drop_schedule_option,
    json_option,
    keep_option,
    lr_option,
    storage_argument,
    study_option,
)

__all__ = ["scan"]


@click.command()
@storage_argument
@study_option
@lr_option
@keep_option
@drop_schedule_option
@json_option
def scan(
    storage: str,
    study: str | None,
    lr: tuple[str, ...],
    keep: tuple[str, ...],
    drop_schedule: bool,
    as_json: bool,
) -> None:
    """Show which parameters of a study are learning rates. Nothing is changed.

    STORAGE is an Optuna storage URL, an SQLite file or a journal file. Without --study every study in it
    has a row.

    \b
    Example:
      galatune scan optuna.db --study mnist
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    load("galatune.study.scan.scan", "rich.table")
    from rich.console import Console

    from galatune.study.scan.scan import scan_storage

    found = scan_storage(storage, study, lr=lr, keep=keep, drop_schedule=drop_schedule)
    for note in dict.fromkeys(plan.note for plan in found.plans if plan.note):
        click.echo(note, err=True)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    found.show(Console(markup=False, highlight=False, emoji=False))
    if not any(plan.placeholders for plan in found.plans):
        click.echo("If one of the parameters is a learning rate after all, say --lr NAME.", err=True)
