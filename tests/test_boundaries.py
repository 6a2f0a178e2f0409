"""What may load what: kept by looking at running processes, since imports hide."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import galatune

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "galatune"
HOSTS = (
    *("accelerate", "dask", "distributed", "lightning", "mlflow", "pytorch_lightning", "skorch"),
    *("transformers", "galatune_lightning", "galatune_mlflow", "galatune_skorch", "galatune_transformers"),
)


def run(program: str, *arguments: str) -> str:
    """Run a program in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(program: str, *arguments: str) -> set[str]:
    """Top-level modules that a program has loaded when it ends."""
    tail = "\nimport sys; print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    return set(run(program + tail, *arguments).splitlines()[-1].split())


def command(*arguments: str) -> str:
    return f"""
from galatune.cli import main
try:
    main({list(arguments)!r})
except SystemExit as end:
    assert not end.code, end.code
"""


def imports(path: Path) -> set[str]:
    """Top-level names of everything a file imports."""
    return {name.partition(".")[0] for name in modules(path)}


def modules(path: Path) -> set[str]:
    """Everything a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def test_help_loads_nothing_heavy() -> None:
    heavy = {"torch", "optuna", "sklearn", "mlflow", "scipy", "pandas", "matplotlib", "numpy", "rich"}
    assert not loaded_after(command("--help")) & heavy


def test_importing_galatune_loads_nothing_heavy() -> None:
    heavy = {"torch", "optuna", "sklearn", "mlflow", "scipy", "pandas", "matplotlib", "numpy", "click"}
    assert not loaded_after("import galatune") & heavy


def test_scan_loads_only_what_it_needs(studies: Path) -> None:
    storage = str(studies / "Zeos-ctrl__ARCANUM__optuna_study.db")
    unneeded = {"torch", "sklearn", "mlflow", "scipy", "pandas", "matplotlib", "jinja2"}
    assert not loaded_after(command("scan", storage)) & unneeded


def test_scan_runs_where_there_is_no_torch(studies: Path) -> None:
    blocker = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "mlflow", "sklearn"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoTorch())
"""
    storage = str(studies / "Zeos-ctrl__ARCANUM__optuna_study.db")
    assert "amp_tune" in run(blocker + command("scan", storage))


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_core_imports_no_host(path: Path) -> None:
    assert not imports(path) & set(HOSTS)


def test_core_loads_no_host() -> None:
    modules = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py") and "cli" not in path.parts
    ]
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    assert not loaded_after(program, *modules) & set(HOSTS)


@pytest.mark.parametrize("folder", ["galatune", "integrations", "tests", "examples"])
def test_nothing_imports_the_integrations_folder(folder: str) -> None:
    for path in (REPOSITORY / folder).rglob("*.py"):
        assert "integrations" not in imports(path), path


def test_controller_knows_nothing_of_optuna_and_study_nothing_of_torch() -> None:
    for path in (PACKAGE / "controller").rglob("*.py"):
        assert "optuna" not in imports(path), path
    for path in (PACKAGE / "study").rglob("*.py"):
        assert "torch" not in imports(path), path


def test_only_the_search_knows_the_controller() -> None:
    for path in (PACKAGE / "study").rglob("*.py"):
        names = {".".join(name.split(".")[:2]) for name in modules(path)}
        assert "galatune.controller" not in names or "search" in path.parts, path


def test_integration_packages_are_named_after_galatune() -> None:
    for folder in (REPOSITORY / "integrations").iterdir():
        assert not folder.is_dir() or folder.name.startswith(("galatune_", "__pycache__")), folder


def test_all_is_what_resolves_lazily() -> None:
    assert sorted(galatune.__all__) == sorted(galatune._HOME)
    for name, home in galatune._HOME.items():
        if find_spec(home) is not None:
            assert getattr(galatune, name) is getattr(import_module(home), name)
    assert set(galatune.__all__) <= set(dir(galatune))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nope"):
        galatune.nope  # noqa: B018  # looking it up is the test
