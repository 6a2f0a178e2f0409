"""`galatune`: the group, its commands, and what an error looks like.

Commands import the library inside their bodies: ``galatune --help`` loads neither torch, optuna,
scikit-learn nor mlflow.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

import click

from galatune import __version__
from galatune.errors import GalatuneError

__all__ = ["main"]


class ErrorsInOneLine(click.Group):
    """A group whose commands end in one line and status 1 when they raise a `GalatuneError`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a deliberate error becomes one line on stderr and exit status 1."""
        try:
            return super().invoke(ctx)
        except GalatuneError as error:
            click.echo(f"galatune: {error}", err=True)
            sys.exit(1)


@click.group(cls=ErrorsInOneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="galatune")
def main() -> None:
    """Take the learning rate out of an Optuna study, and account for what that saves."""


def _load_commands() -> None:
    """Add our own commands, in the order of the way, then those of installed hosts."""
    # Each module below defines one click command of its own name.
    from importlib import import_module

    for name in ("demo", "scan", "run", "report", "bench"):
        try:
            module = import_module(f"galatune.cli.{name}")
        except ModuleNotFoundError as missing:  # TODO remove once all are there
            if missing.name != f"galatune.cli.{name}":
                raise
            continue
        main.add_command(getattr(module, name))
    for entry in entry_points(group="galatune.commands"):
        main.add_command(entry.load())


_load_commands()
