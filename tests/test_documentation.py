"""What is public is documented, and what the documentation shows works."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import galatune
from galatune.cli import main

REPOSITORY = Path(__file__).parents[1]


FRAMEWORKS = ("lightning", "skorch", "transformers")
"""Hosts that are extras: their packages are looked at if they are installed."""


def _modules() -> list[Any]:
    names: list[Any] = [module.name for module in pkgutil.walk_packages(galatune.__path__, "galatune.")]
    integrations = REPOSITORY / "integrations"
    for path in sorted(integrations.rglob("*.py")):
        parts = path.relative_to(integrations).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        marks = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")] if _framework(name) else []
        names.append(pytest.param(name, marks=marks))
    return [name for name in names if not (isinstance(name, str) and name.endswith("__main__"))]


def _framework(name: str) -> str | None:
    """The framework that a module is for."""
    host = name.partition(".")[0].removeprefix("galatune_")
    return host if host in FRAMEWORKS else None


def _imported(name: str) -> ModuleType:
    if (framework := _framework(name)) is not None:
        pytest.importorskip(
            framework, reason=f"{framework} is not installed: make .venv/.installed-frameworks"
        )
    return importlib.import_module(name)


@pytest.mark.parametrize("name", _modules())
def test_module_examples_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(_imported(name))
    assert failed == 0


@pytest.mark.parametrize("name", _modules())
def test_module_documents_its_public_names(name: str) -> None:
    module = _imported(name)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        own = getattr(value, "__module__", name) == name
        if own and (inspect.isclass(value) or inspect.isfunction(value)):
            assert inspect.getdoc(value), f"{name}.{public} has no docstring"


def commands(group: click.Group = main, path: str = "") -> dict[str, click.Command]:
    """Every command by its words, those of groups included."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found[f"{path}{name}"] = command
        if isinstance(command, click.Group):
            found |= commands(command, f"{path}{name} ")
    return found


def test_every_command_has_help_and_an_example_of_itself() -> None:
    for name, command in commands().items():
        text = command.help or ""
        assert f"galatune {name}" in text, f"`galatune {name} --help` shows no example"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                described = parameter.help or isinstance(parameter.type, click.Choice)
                assert described, f"`galatune {name} {parameter.opts[0]}` is not explained"


PAGES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8")
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
}
"""What is read before the code: the README and docs/."""


def typed_commands(text: str) -> list[str]:
    """What follows `galatune` in transcripts and between backquotes."""
    shown = re.findall(r"^(?:\$ |    )galatune (.+)$", text, flags=re.MULTILINE)
    named = [" ".join(words.split()) for words in re.findall(r"`galatune ([^`]+)`", text)]
    return [*shown, *(line for line in named if line.split()[0].islower())]


def assert_exist(lines: list[str]) -> None:
    """Each is a command, and its options are those of that command."""
    for line in lines:
        words = line.split()
        named = [name for name in commands() if words[: len(name.split())] == name.split()]
        assert named, line
        known = {spelling for p in commands()[max(named, key=len)].params for spelling in p.opts}
        unknown = [word for word in words if word.startswith("--") and word not in {*known, "--help"}]
        assert not unknown, line


def test_readme_names_only_commands_and_options_that_exist() -> None:
    assert_exist(typed_commands(PAGES["README.md"]))


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_docs_name_only_commands_and_options_that_exist(page: str) -> None:
    assert_exist(typed_commands(PAGES[page]))


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/research.md"])
def test_pages_name_only_options_that_exist(page: str) -> None:
    known = {
        spelling
        for command in commands().values()
        for p in command.params
        for spelling in (*p.opts, *p.secondary_opts)
    }
    foreign = {"--help", "--no-deps", "--backend-store-uri"}
    assert not set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGES[page])) - known - foreign


def test_citation_names_the_version() -> None:
    text = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {galatune.__version__}\n" in text


@pytest.mark.parametrize("page", ["README.md", "docs/handbook.md"])
def test_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    assert blocks
    scope = ModuleType("page").__dict__
    for block in blocks:
        exec(compile(block, page, "exec"), scope)
    if page == "README.md":
        weights = scope["net"].weight.detach().ravel().tolist()
        assert weights == pytest.approx([1.0] * 10, abs=0.05)
