"""`galatune demo`: scan, run and report on built-in data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galatune.errors import StorageError
from galatune.formatting import in_shell

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.trial import FrozenTrial

__all__ = ["demo"]

OBJECTIVE = "galatune.demo.objective:objective"


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("galatune-demo"),
    show_default=True,
    help="Folder for everything that is written; what is finished there is not done again.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=2),
    default=40,
    show_default=True,
    help="Of the old study; the smaller one gets at most as many.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of both studies."
)
def demo(folder: Path, trials: int, seed: int) -> None:
    """Try everything on built-in data: handwritten digits, a small convolutional net.

    First an old study, its learning rate searched; then scan, run and report, each as you would type it.
    It takes one to two minutes on two cores.

    \b
    Example:
      galatune demo
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    from galatune.demo.baseline import STUDY

    old, new = folder / "digits.db", folder / "digits-gala.db"
    page, store = folder / "report.html", f"sqlite:///{folder / 'mlflow.db'}"
    _search(old, trials, seed)
    _type("scan", str(old))
    _type("run", str(old), OBJECTIVE, "--into", str(new), "--seed", str(seed))
    sent = ("--html", str(page), "--sink", "mlflow", "--sink-to", store)
    _type("report", str(old), "--into", str(new), *sent)
    click.secho("Look at it:", bold=True)
    click.echo(f"  the page          {page}")
    click.echo(f"  in MLflow         mlflow ui --backend-store-uri {in_shell(store)}")
    click.echo(f"  with your own     galatune scan STORAGE    ({STUDY} was only an example)")


def _search(old: Path, trials: int, seed: int) -> None:
    """Make the old study."""
    import optuna

    from galatune.demo.baseline import search

    try:
        old.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"Cannot make {str(old.parent)!r}: {error.strerror}. Name another with --dir"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    click.secho(f"The old study: {trials} trials with the learning rate searched, into {old}", bold=True)
    try:
        search(old, trials, seed, _count(trials))
    except KeyboardInterrupt:
        click.echo("Interrupted: the same command begins the old study anew.", err=True)
        raise


def _count(trials: int) -> Callable[[FrozenTrial], None]:
    def on_trial(trial: FrozenTrial) -> None:
        done = trial.number + 1
        if done % 10 == 0 or done == trials:
            click.echo(f"  {done} of {trials} trials", err=True)

    return on_trial


def _type(*words: str) -> None:
    """Show a command and carry it out, as if it had been typed."""
    main = click.get_current_context().find_root().command
    click.secho(f"\n$ galatune {' '.join(map(in_shell, words))}", bold=True)
    main.main(list(words), prog_name="galatune", standalone_mode=False)
