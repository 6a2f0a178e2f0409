"""Leaving a loop of the script that asks for more trials although the search is over.

A loop of `ask` and `tell` has its budget in its own head, which galatune does not know. So the loop is left
at the next line that it would run: Python lets a debugger go on in another line of the same function.
"""

from __future__ import annotations

import ast
import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import optuna

__all__ = ["Loop", "loop_of"]

_LOOPS = (ast.For, ast.While, ast.AsyncFor)
_BODIES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
_ASSIGNED = (ast.Assign, ast.AnnAssign, ast.Expr)


class Loop:
    """A loop that is running in a frame.

    Args:
        frame: Where it runs.
        node: The loop.
        after: First line behind it.

    Attributes:
        endless: Whether it is a ``while``, which may wait for trials that never come.
    """

    def __init__(self, frame: FrameType, node: ast.stmt, after: int | None, *, clean: bool) -> None:
        self._frame, self._after, self._clean = frame, after, clean
        self.endless = isinstance(node, ast.While)

    def leave(self) -> bool:
        """Go on behind the loop, once the statement that runs now has ended.

        Returns:
            False if that cannot be done: nothing follows in that function, or the result would be used first.
        """
        if self._after is None or not self._clean:
            return False
        before, frame, target = sys.gettrace(), self._frame, self._after

        def jump(at: FrameType, event: str, _: Any) -> Any:
            if at is frame and event == "line":
                try:
                    at.f_lineno = target  # type: ignore[misc]  # writable in a trace function
                finally:
                    sys.settrace(before)
            return jump

        frame.f_trace = jump
        sys.settrace(lambda *_: None)
        return True


def loop_of(frame: FrameType | None) -> Loop | None:
    """The innermost loop of the script around the line that it runs; None if there is none, or no source.

    Args:
        frame: Where to begin to look for one of the script.
    """
    frame = _frame_of_script(frame)
    if frame is None:
        return None
    lines = linecache.getlines(frame.f_code.co_filename)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return None
    body = _body_of(tree, frame)
    return None if body is None else _innermost(body, frame)


def _frame_of_script(frame: FrameType | None) -> FrameType | None:
    """The first frame outside of galatune and Optuna."""
    own = {str(Path(__file__).resolve().parents[3]), str(Path(optuna.__file__).parent)}
    while frame is not None and (
        any(frame.f_code.co_filename.startswith(folder) for folder in own)
        or frame.f_code.co_name in _COMPREHENSIONS
    ):
        frame = frame.f_back
    return frame


def _body_of(tree: ast.Module, frame: FrameType) -> list[ast.stmt] | None:
    """Statements of the function that a frame runs."""
    if frame.f_code.co_name == "<module>":
        return tree.body
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == frame.f_code.co_name:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if first == frame.f_code.co_firstlineno:
                return node.body
    return None


def _innermost(body: list[ast.stmt], frame: FrameType) -> Loop | None:
    line = frame.f_lineno
    after: int | None = None
    found: tuple[ast.stmt, int | None] | None = None
    statement: ast.stmt | None = None
    while (statement := _at(body, line)) is not None:
        following = body[body.index(statement) + 1 :]
        after = following[0].lineno if following else after
        if isinstance(statement, _LOOPS):
            found = (statement, after)
            after = None  # the head of an outer loop would begin that anew
        inner = _inner(statement, line)
        if inner is None:
            break
        body = inner
    if found is None or statement is None:
        return None
    alone = not any(one is not statement and one.lineno == statement.end_lineno for one in body)
    return Loop(frame, found[0], found[1], clean=isinstance(statement, _ASSIGNED) and alone)


def _at(body: list[ast.stmt], line: int) -> ast.stmt | None:
    return next((one for one in body if one.lineno <= line <= (one.end_lineno or one.lineno)), None)


def _inner(statement: ast.stmt, line: int) -> list[ast.stmt] | None:
    """The block within a statement that holds a line."""
    if isinstance(statement, _BODIES):
        return None
    blocks = [getattr(statement, name, None) or [] for name in ("body", "orelse", "finalbody")]
    blocks += [handler.body for handler in getattr(statement, "handlers", [])]
    return next((block for block in blocks if _at(block, line) is not None), None)
