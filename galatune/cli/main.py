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
from galatune.cli.bench_tables import tables
from galatune.cli.bench_workers import workers
from galatune.cli.demo import demo
from galatune.cli.fit import fit
from galatune.cli.pilot import pilot
from galatune.cli.predict import predict
from galatune.cli.report import report
from galatune.cli.run import run
from galatune.cli.scan import scan
from galatune.cli.usage import usage_line
from galatune.errors import GalatuneError
from galatune.formatting import shortened
from galatune.study.storage.secrets import hide_secrets

__all__ = ["main"]

WORDS = "galatune.words"
"""Where the context keeps what was typed."""
LONGEST_LINE = 1_000
STDERR = 2
"""Its file descriptor, the last of the three that every program begins with."""
_HELP: type[Exception] | tuple[()] = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""A group without a command: click prints its help."""


class Galatune(click.Group):
    """A group that lists its commands in the order of their use and ends errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, as they were added."""
        return list(self.commands)

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        """Parse, with the same ends as `invoke`."""
        words = tuple(args)
        _prepare()
        with _ended(words):
            context = super().make_context(info_name, args, *rest, **extra)
            context.meta[WORDS] = words
            return context

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command: 1 and one line after a deliberate error or a full disk, 130 after Ctrl-C."""
        with _ended(ctx.meta.get(WORDS, ())):
            return super().invoke(ctx)


@contextmanager
def _ended(words: tuple[str, ...]) -> Iterator[None]:
    """End a command that fails: one line on stderr and the status."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except _HELP:
        raise
    except click.UsageError as error:
        _complain(usage_line(error, words), words)
        sys.exit(error.exit_code)
    except GalatuneError as error:
        _complain(str(error), words)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever reads has seen enough; click knows
        raise
    except OSError as error:
        where = "the output" if error.filename is None else repr(str(error.filename))
        _complain(f"cannot read or write {where}: {error.strerror or error}", words)
        _discard_stdout()
        sys.exit(1)


def _prepare() -> None:
    """Close the gaps that a careless parent process leaves."""
    # Where stdout or stderr is closed, the next file that is opened would get what is printed.
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(nowhere)
    if os.environ.get("COLUMNS") == "0":  # a terminal that was not measured: tables would be empty
        del os.environ["COLUMNS"]


def _complain(line: str, words: tuple[str, ...]) -> None:
    """Say what went wrong, in one line and without a password that is among the words of the command."""
    click.echo(shortened(f"galatune: {hide_secrets(line, *words)}", LONGEST_LINE), err=True)


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
    bench.add_command(workers)
    bench.add_command(tables)
    for command in (demo, scan, pilot, run, report, fit, predict, bench):
        main.add_command(command)
    for entry in entry_points(group="galatune.commands"):
        main.add_command(entry.load())


_load_commands()
