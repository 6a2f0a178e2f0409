"""Why a closure is not, or had better not be, called once more for a probe."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from galatune.controller.torch_hooks.closure_call import ClosureCall

__all__ = [
    "ADDS",
    "COMPUTES_NOTHING",
    "FRAMEWORKS",
    "NOT_CALLED",
    "framework_of",
    "why_not_twice",
    "why_unfit",
]

COMPUTES_NOTHING = (
    "the closure computes no gradient when called again: the loop computed it before step(closure); "
    "call step() without it, or compute loss and gradient inside the closure"
)
ADDS = (
    "the closure adds to gradients that were there before it: called again alone it would give only a part "
    "of the step's gradient; zero the gradients inside the closure"
)
OLDER_GRAPH = (
    "the closure computes no loss of its own when called again, it goes backward through one that was "
    "computed before it; compute the loss inside the closure"
)
MOVED = (
    "the optimizer moves the parameters before it calls the closure, which so gives the gradient of another "
    "place when called again"
)
DRAWS = (
    "the closure gives another gradient when called again: it drew a new minibatch from an iterator that "
    "goes on; draw the minibatch outside the closure"
)
NOT_CALLED = (
    "the optimizer did not call the closure that its step was given, so this step was made at the rate that "
    "it was built with: from here on rates are chosen before its step"
)

FRAMEWORKS = {
    "lightning": "Lightning",
    "pytorch_lightning": "Lightning",
    "skorch": "skorch",
    "fastai": "fastai",
    "ignite": "ignite",
    "transformers.trainer": "Transformers",
    "composer": "Composer",
    "catalyst": "Catalyst",
    "mmengine": "MMEngine",
    "poutyne": "Poutyne",
}
"""Modules, with those below them, whose closures call metrics, callbacks and progress bars."""

TOOLS = ("lightning.fabric", "lightning.pytorch.utilities", "ignite.metrics")
"""Modules of frameworks whose objects a closure may use without belonging to the framework."""


def why_unfit(call: ClosureCall) -> str | None:
    """Why called again it would give another gradient; None if nothing speaks against it."""
    if not call.computes:
        return COMPUTES_NOTHING
    if call.older_graph:
        return OLDER_GRAPH
    if call.adds:
        return ADDS
    if call.moved:
        return MOVED
    return DRAWS if call.draws else None


def why_not_twice(closure: Callable[[], Any], call: ClosureCall) -> str | None:
    """What would be done twice if it were called again; None if nothing is known."""
    framework = framework_of(closure)
    if framework is not None:
        return f"the closure is {framework}'s, whose metrics, callbacks and hooks a probe would call twice"
    if call.effects:
        listed = ", ".join(call.effects)
        return f"the closure does more than compute gradients ({listed}), which a probe would do twice"
    return None


def framework_of(closure: Any) -> str | None:
    """The framework that a closure comes from, or whose object it belongs to; None for a loop of one's own.

    Example:
        >>> framework_of(lambda: None) is None
        True
    """
    for _ in range(8):  # wrappers within wrappers
        while isinstance(closure, functools.partial):
            closure = closure.func
        found = _of_function(closure)
        closure = getattr(closure, "__wrapped__", None)
        if found is not None or closure is None:
            return found
    return None


def _of_function(closure: Any) -> str | None:
    named = _framework(str(getattr(closure, "__module__", "")))
    if named is not None:
        return named
    held = [type(closure), type(getattr(closure, "__self__", None))]
    for cell in getattr(closure, "__closure__", None) or ():
        try:
            held.append(type(cell.cell_contents))
        except ValueError:  # not filled yet
            continue
    modules = [base.__module__ for kind in held for base in kind.__mro__]
    return next((name for one in modules if not _below(one, TOOLS) and (name := _framework(one))), None)


def _framework(module: str) -> str | None:
    return next((name for prefix, name in FRAMEWORKS.items() if _below(module, (prefix,))), None)


def _below(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)
