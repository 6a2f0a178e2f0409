"""Arguments and options that several commands share, each spelled and explained in one place."""

from __future__ import annotations

import click

__all__ = [
    "drop_schedule_option",
    "into_option",
    "json_option",
    "keep_option",
    "lr_option",
    "name_option",
    "objective_argument",
    "storage_argument",
    "study_option",
]

storage_argument = click.argument("storage", metavar="STORAGE")
"""An Optuna storage: URL, SQLite file or journal file."""

objective_argument = click.argument("objective", metavar="OBJECTIVE")
"""``path/to/file.py:function`` or ``package.module:function``."""

into_option = click.option(
    "--into", metavar="STORAGE2", help="File or URL of the smaller study.  [default: <study>-gala.db]"
)

name_option = click.option(
    "--name", metavar="NAME2", help="Name of the smaller study.  [default: <study>-gala]"
)

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
