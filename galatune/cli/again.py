"""The command line that was given, with other options: what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from galatune.formatting import in_shell
from galatune.study.storage.address import is_url, redact

__all__ = ["again", "shown"]

BEHIND = "arguments"
"""The parameter that holds a script's own arguments, which stand behind ``--``."""


def again(ctx: click.Context, options: Mapping[str, str]) -> str:
    """The command of a context, ready to be pasted; passwords are left out of it.

    Args:
        ctx: Of the command that runs.
        options: Options that are added, or take the place of those given: name to value, "" for a flag.
    """
    words, behind = ["galatune", str(ctx.info_name)], list(ctx.params.get(BEHIND) or ())
    if ctx.params.get("module") is not None and ctx.params.get("objective") is not None:
        behind.insert(0, str(ctx.params["objective"]))  # the first one behind -m MODULE --
    for param in ctx.command.params:
        name = str(param.name)
        if name == BEHIND or (name == "objective" and ctx.params.get("module") is not None):
            continue
        replaced = not set(options).isdisjoint(param.opts)
        if not replaced and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            words += _given(param, ctx.params[name])
    for option, value in options.items():
        words += [option, value] if value else [option]
    words += ["--", *behind] if behind else []
    return " ".join(map(in_shell, words))


def _given(param: click.Parameter, value: Any) -> list[str]:
    if isinstance(param, click.Option):
        if param.is_flag:
            return [param.opts[0]]
        values = value if param.multiple else [value]
        return [word for one in values for word in (param.opts[0], shown(one))]
    return [shown(value)]


def shown(value: Any) -> str:
    """A URL without its password; anything else as it was given."""
    text = str(value)
    return redact(text) if is_url(text) else text
