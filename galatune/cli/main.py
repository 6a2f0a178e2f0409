"""`galatune`: the group, its commands, and what an error looks like.

Commands import the library inside their bodies: ``galatune --help`` loads neither torch, optuna,
scikit-learn nor mlflow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from typing import Any

import click

from galatune import __version__
from galatune.cli.bench import bench
from galatune.cli.demo import demo
from galatune.cli.report import report
from galatune.cli.run import run
from galatune.cli.scan import scan
from galatune.errors import GalatuneError

__all__ = ["main"]


class Galatune(click.Group):
    """A group that lists its commands in the order of their use and ends errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, as they were added."""
        return list(self.commands)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse, with the same ends as `invoke`."""
        with _ended():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command: 1 and one line after a deliberate error or a full disk, 130 after Ctrl-C."""
        with _ended():
            return super().invoke(ctx)


@contextmanager
def _ended() -> Iterator[None]:
    """End a command that fails: one line on stderr and the status."""
    try:
        yield
        sys.stdout.flush()
    except GalatuneError as error:
        click.echo(f"galatune: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever reads has seen enough; click knows
        raise
    except OSError as error:
        where = "the output" if error.filename is None else repr(str(error.filename))
        click.echo(f"galatune: cannot read or write {where}: {error.strerror or error}", err=True)
        _discard_stdout()
        sys.exit(1)


def _discard_stdout() -> None:
    """Send the rest of stdout nowhere: Python would try to write it once more when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@click.group(cls=Galatune, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="galatune")
def main() -> None:
    """Take the learning rate out of an Optuna study, and account for what that saves."""


def _load_commands() -> None:
    """Add our own commands, in the order of their use, then those of installed hosts."""
    for command in (demo, scan, run, report, bench):
        main.add_command(command)
    for entry in entry_points(group="galatune.commands"):
        main.add_command(entry.load())


_load_commands()
