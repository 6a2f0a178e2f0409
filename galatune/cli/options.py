"""Arguments and options that several commands share, each spelled and explained in one place."""

from __future__ import annotations

import click

__all__ = [
    "drop_schedule_option",
    "json_option",
    "keep_option",
    "lr_option",
    "storage_argument",
    "study_option",
]

storage_argument = click.argument("storage", metavar="STORAGE")
"""An Optuna storage: URL, SQLite file or journal file."""

study_option = click.option(
    "--study", metavar="NAME", help="Study in STORAGE; may be left out where it holds one."
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")

lr_option = click.option(
    "--lr",
    multiple=True,
    metavar="NAME",
    help="This parameter is a learning rate, whatever it looks like. May be repeated.",
)

keep_option = click.option(
    "--keep",
    multiple=True,
    metavar="NAME",
    help="This parameter stays, whatever it looks like. May be repeated.",
)

drop_schedule_option = click.option(
    "--drop-schedule", is_flag=True, help="Drop schedules and multipliers of the learning rate as well."
)
