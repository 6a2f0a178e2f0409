"""What `galatune run` does about parameters that may be learning rates: ask, or keep them and say so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection

import click

from galatune.formatting import in_shell, listed, printable
from galatune.study.scan.plan import ShrinkPlan

__all__ = ["settle_unsure"]

Scan = Callable[[Collection[str], Collection[str]], ShrinkPlan]


def settle_unsure(plan: ShrinkPlan, scan: Scan, *, ask: bool) -> ShrinkPlan:
    """The plan with the answers of a person; the same plan if nobody is asked.

    ``--yes`` does not ask: dropping a parameter that is no rate spoils the study, keeping a rate does not.

    Args:
        plan: What was found.
        scan: Looks again: with parameters that are learning rates, and with those that are none.
        ask: Whether to ask, if there is a terminal.

    Raises:
        KeyboardInterrupt: The answer is Ctrl-C.
    """
    unsure = {d.name: d.evidence for d in plan.learning_rate if d.role == "unsure"}
    if not unsure:
        return plan
    if not (ask and sys.stdin.isatty() and sys.stderr.isatty()):
        click.echo(_kept(list(unsure)), err=True)
        return plan
    rates = [name for name, evidence in unsure.items() if _is_rate(name, evidence)]
    if rates:
        click.echo(f"From now on the same run needs {_options(rates)}.", err=True)
    return scan(rates, [name for name in unsure if name not in rates])


def _is_rate(name: str, evidence: str) -> bool:
    question = f"{printable(name)} ({printable(evidence)}). Is it the learning rate of a torch optimizer?"
    try:
        return click.confirm(question, default=False, err=True)
    except click.Abort:
        raise KeyboardInterrupt from None


def _kept(names: list[str]) -> str:
    which = "it is the rate" if len(names) == 1 else "they are rates"
    found = f"Kept, for nobody can tell from the study whether {which} of a torch optimizer: {listed(names)}."
    return f"{found} If so, say {_options(names)}."


def _options(names: Collection[str]) -> str:
    return " ".join(f"--lr {in_shell(name)}" for name in names)
