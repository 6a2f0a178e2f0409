"""Where a file searches by itself: what is offered if its objective cannot be named."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from galatune.formatting import in_shell

__all__ = ["offer_script"]

SEARCHES = {"optimize": "study.optimize", "ask": "study.ask"}


def offer_script(place: str, command: str) -> str:
    """What was found in a file, and how it is run as it is; "" if nothing in it searches.

    Args:
        place: Path of a file, or name of a module.
        command: Of galatune, to which it is offered.
    """
    module = _file_of(place)
    path = Path(place if module is None else module)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ""
    found = _first_search(tree)
    if found is None:
        return ""
    call, where = found
    handed = f" with {_words(call.args[0])}" if call.args and _name(call) == "optimize" else ""
    return (
        f". It calls {SEARCHES[_name(call)]}{handed} in line {call.lineno}, {where}: run the script as it "
        f"is, galatune {command} STORAGE {'' if module is None else '-m '}{in_shell(place)}"
    )


def _file_of(place: str) -> str | None:
    """The file of a module that was looked for already; None of anything else."""
    if Path(place).suffix == ".py":
        return None
    try:
        spec = importlib.util.find_spec(place)
    except (ImportError, ValueError):
        return None
    return None if spec is None else spec.origin


def _first_search(tree: ast.Module) -> tuple[ast.Call, str] | None:
    found = []
    for node in ast.walk(tree):
        inside = f"in {node.name}()" if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
        if inside is None and not isinstance(node, ast.Module):
            continue
        found += [(call, inside or "at module level") for call in _calls(node)]
    return min(found, key=lambda one: one[0].lineno, default=None)


def _calls(node: ast.AST) -> list[ast.Call]:
    """Calls in a function that are in no function within it."""
    calls: list[ast.Call] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.Call) and _name(child) in SEARCHES:
            calls.append(child)
        calls += _calls(child)
    return calls


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.Lambda):
        return "a lambda"
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        return "a partial function" if name.endswith("partial") else f"what {name}() returns"
    return ast.unparse(node)
