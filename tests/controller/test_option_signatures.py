"""Options are written once: what `attach` and `controlled` take is what `Options` has, with its defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

import galatune
from galatune.controller.options import ControlOptions, Options


@pytest.mark.parametrize(
    ("function", "beside"), [(galatune.attach, {"optimizer"}), (galatune.controlled, {"select"})]
)
def test_signature_is_that_of_options(function: Callable[..., Any], beside: set[str]) -> None:
    parameters = inspect.signature(function).parameters
    taken = {name: one.default for name, one in parameters.items() if name not in beside}
    assert taken == {field.name: field.default for field in fields(Options)}
    assert beside <= set(parameters)


def test_options_that_are_handed_on_are_those_of_options() -> None:
    assert ControlOptions.__annotations__.keys() == {field.name for field in fields(Options)}


def test_names_of_the_package_resolve_whatever_was_imported_first() -> None:
    import galatune.controller.controlled  # a module of the function's name
    from galatune import controller

    assert controller.controlled is galatune.controlled
    assert {name for name in controller.__all__ if getattr(controller, name) is None} == set()
    with pytest.raises(AttributeError, match="nothing"):
        controller.nothing  # noqa: B018  # looking it up is the test
