"""The house: what imports what, and how large its rooms, files and functions are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "galatune"

ORDERS = {
    "galatune": (
        *("errors", "formatting", "files", "pages", "statistics", "controller", "callback", "study"),
        *("report", "tabular", "demo", "bench", "cli"),
    ),
    "galatune.controller": (
        *("rule", "learners", "torch_hooks", "gradient_pair", "optimizers", "probes", "state", "events"),
        *("options", "history", "checkpoint", "rollback", "refusals", "groups", "controller", "controlled"),
    ),
    "galatune.controller.rule": (
        *("estimate", "first_rate", "guard", "loss_trend", "learner", "prior", "rate"),
    ),
    "galatune.study": ("storage", "ledger", "scan", "search"),
    "galatune.report": (
        "quality",
        "spending",
        "random_order",
        "comparison",
        "headline",
        "table_rows",
        "text",
        "savings",
        "plots",
        "trial_table",
        "page",
        "pair",
        "sinks",
    ),
    "galatune.bench": (
        *("text", "drawing", "processes", "json_lines", "sources", "data", "controller", "studies", "prior"),
        *("cost", "sensitivity", "tables"),
    ),
}
"""Parts of a folder in the order of the way; each may import those before it."""

MOST_LINES = 400
MOST_BODY = 40


def names(tree: ast.AST) -> set[str]:
    """Modules that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def name_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


PARTS = [(folder, part) for folder, parts in ORDERS.items() for part in parts]


@pytest.mark.parametrize(("folder", "part"), PARTS)
def test_no_part_imports_one_that_stands_below_it(folder: str, part: str) -> None:
    order = ORDERS[folder]
    below = [f"{folder}.{other}" for other in order[order.index(part) + 1 :]]
    for path in files(REPOSITORY.joinpath(*folder.split("."), part)):
        for name in names(ast.parse(path.read_text())):
            assert not any(name == one or name.startswith(one + ".") for one in below), f"{path}: {name}"


@pytest.mark.parametrize("folder", ORDERS)
def test_every_part_has_its_place(folder: str) -> None:
    found = {
        path.stem for path in REPOSITORY.joinpath(*folder.split(".")).iterdir() if path.suffix in ("", ".py")
    }
    assert found - {"__init__", "__main__", "__pycache__", "py"} == set(ORDERS[folder])


def test_modules_import_each_other_in_no_circle() -> None:
    modules = {name_of(path): path for path in files(PACKAGE)}
    graph = {
        name: {one for one in names(ast.parse(path.read_text())) if one in modules and one != name}
        for name, path in modules.items()
        if path.name != "__init__.py"
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name of each function, and how many lines its body has without the docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            documented = ast.get_docstring(node) is not None
            body = node.body[1:] if documented and len(node.body) > 1 else node.body
            yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("path", files(PACKAGE), ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES
    assert not [f"{name}: {lines} lines" for name, lines in functions(path) if lines > MOST_BODY]


@pytest.mark.parametrize(("folder", "most"), [("controller", 17), ("study", 6)])
def test_rooms_are_few(folder: str, most: int) -> None:
    assert len([path for path in (PACKAGE / folder).iterdir() if path.name != "__pycache__"]) <= most
