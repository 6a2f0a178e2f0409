"""What the command line says of control is what the controller takes."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

import click
import pytest

from galatune.cli import main
from galatune.controller.options import Options
from galatune.controller.probes import PROBES
from galatune.controller.rule.guard import Guard
from galatune.study.search.options import RunOptions

IN_PYTHON_ONLY = {"alignment", "guard", "learner", "on_event", "probe_schedule", "step_scale_factor"}
"""Objects and functions, which a command line cannot say, `alignment`, which is for experiments, and what
``--polish`` varies."""


def options(command: str) -> dict[str, click.Option]:
    return {str(o.name): o for o in main.commands[command].params if isinstance(o, click.Option)}


@pytest.mark.parametrize("field", fields(Options), ids=lambda field: field.name)
def test_every_option_of_control_is_one_of_run(field: Field[Any]) -> None:
    name, default = field.name, field.default
    own = options("run")
    assert (name in own) != (name in IN_PYTHON_ONLY)
    if name in own:
        assert own[name].opts == [f"--{name.replace('_', '-')}"]
        if name == "prior":
            default = True  # what the old study knows of each configuration
        if name == "max_lr":
            default = None  # of the old study in reinforcement learning, else none
        called = main.make_context("galatune", ["run", "s", "o"])  # so that run inherits from it
        assert main.commands["run"].make_context("run", ["s", "o"], parent=called).params[name] == default
        assert getattr(RunOptions(), name) == default


def test_the_probes_are_those_of_the_controller() -> None:
    kind = options("run")["probe"].type
    assert isinstance(kind, click.Choice)
    assert list(kind.choices) == ["auto", *PROBES]


def test_the_growth_is_the_guards() -> None:
    option = options("run")["max_growth_per_step"]
    assert option.opts == ["--max-growth"]
    assert f"[default: {Guard().max_growth_per_step}]" in (option.help or "")
    assert RunOptions().controller_options()["guard"] is None
    assert RunOptions(max_growth_per_step=2.0).controller_options()["guard"] == Guard(max_growth_per_step=2.0)


def test_run_takes_every_option_of_the_run() -> None:
    names = {field.name for field in fields(RunOptions)}
    assert names <= set(options("run"))
