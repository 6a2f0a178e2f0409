"""What is said of a command that was typed wrong: one line with the rule, what was given and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import click

from galatune.formatting import printable, shortened

__all__ = ["usage_line"]

LONGEST_VALUE = 80
_REJECTED = re.compile(r"^(?P<value>.*?) is not (?:a valid|in the range|one of)\b", re.DOTALL)
_OPTION = re.compile(r"Option '?(?P<option>-[^\s']*)'? (?P<rest>requires|does not take)", re.DOTALL)
_EXTRA = re.compile(r"Got unexpected extra arguments? \((?P<words>.*)\)", re.DOTALL)
_COMMAND = re.compile(r"No such command '?(?P<name>.*?)'?\.(?: |$)", re.DOTALL)


def usage_line(error: click.UsageError, words: Sequence[str]) -> str:
    """Say what is wrong, what was given and what to do.

    Args:
        error: From click.
        words: What was typed behind ``galatune``.
    """
    context = error.ctx
    commands = context.command_path.split()[1:] if context else _commands(words)
    path = " ".join(["galatune", *commands])
    return f"{_complaint(error, context, path)}; {path} --help explains it"


def _commands(words: Sequence[str]) -> list[str]:
    """The commands that the words begin with; click leaves it open at which of them its parser stopped."""
    context = click.get_current_context(silent=True)
    command: click.Command | None = context.find_root().command if context else None
    found: list[str] = []
    for word in words:
        command = command.commands.get(word) if isinstance(command, click.Group) else None
        if command is None:
            break
        found.append(word)
    return found


def _complaint(error: click.UsageError, context: click.Context | None, path: str) -> str:
    param = getattr(error, "param", None)
    if param is not None:
        missing = isinstance(error, click.MissingParameter)
        return f"{_name(param)} is missing: {path} needs it" if missing else _bad_value(param, error.message)
    if isinstance(error, click.NoSuchOption):
        close = f"; did you mean {' or '.join(error.possibilities)}" if error.possibilities else ""
        return f"{path} has no option {_given(error.option_name)}{close}"
    if found := _OPTION.match(error.message):
        rule = "needs a value behind it" if found["rest"] == "requires" else "takes no value"
        return f"{_given(found['option'])} {rule}"
    if found := _EXTRA.match(error.message):
        return f"{path} takes no more arguments, however: {_given(found['words'])}; quote names with spaces"
    if context and isinstance(context.command, click.Group) and (found := _COMMAND.match(error.message)):
        commands = context.command.list_commands(context)
        close = "".join(
            f"did you mean {name}; " for name in get_close_matches(found["name"].lower(), commands, 1)
        )
        return f"{path} has no command {_given(found['name'])}; {close}it has {', '.join(commands)}"
    return printable(error.message).rstrip(".")


def _bad_value(param: click.Parameter, message: str) -> str:
    rejected = _REJECTED.match(message)
    rule = _rule(param.type)
    if rejected is None or rule is None:
        return f"{_name(param)}: {printable(message).rstrip('.')}"
    return f"{_name(param)} must be {rule}, however: {_given(rejected['value'])}"


def _rule(kind: click.ParamType[Any]) -> str | None:
    """What a value must be; None for types that say so themselves."""
    if isinstance(kind, click.Choice):
        return f"one of {', '.join(map(str, kind.choices))}"
    if isinstance(kind, click.types.IntParamType):
        return f"a whole number{_bounds(kind)}"
    if isinstance(kind, click.types.FloatParamType):
        return f"a number{_bounds(kind)}"
    return None


def _bounds(kind: click.ParamType[Any]) -> str:
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else f" of at most {high}" if high is not None else ""


def _name(param: click.Parameter) -> str:
    if isinstance(param, click.Option):
        return param.opts[0]
    return param.metavar or param.human_readable_name


def _given(text: str) -> str:
    return shortened(printable(text.strip("'\"") or "''"), LONGEST_VALUE)
