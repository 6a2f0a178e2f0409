"""The wheel holds the packages and nothing else, and what it installs works away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from email import message_from_string
from email.message import Message
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
EXTRAS = {"postgresql", "mysql", "bench", "test"}
NO_INDEX = ("Temporary failure in name resolution", "NewConnectionError", "Could not fetch URL")


def checked(*command: str, folder: Path, **environment: str) -> str:
    """Run a command outside the checkout."""
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    target = tmp_path_factory.mktemp("dist")
    checked(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target), folder=REPOSITORY)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs; what it depends on stays where it is."""
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    checked(*pip, "--no-index", "--no-deps", "--target", str(target), str(wheel), folder=target)
    return target


@pytest.fixture(scope="module")
def distribution(installed: Path) -> Distribution:
    (metadata,) = installed.glob("*.dist-info")
    return PathDistribution(metadata)


def packages() -> dict[str, Path]:
    """Name of each package to its folder in the checkout."""
    hosts = [path for path in (REPOSITORY / "integrations").iterdir() if path.name.startswith("galatune_")]
    return {path.name: path for path in [REPOSITORY / "galatune", *hosts]}


def files(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)) for path in found}


def test_wheel_holds_every_file_of_the_packages_and_nothing_else(
    installed: Path, distribution: Distribution
) -> None:
    ours = {f"{name}/{file}" for name, folder in packages().items() for file in files(folder)}
    also = {f"galatune-{distribution.version}.dist-info", "bin"}
    assert {name for name in files(installed) if name.partition("/")[0] not in also} == ours
    assert all((installed / name / "py.typed").exists() for name in packages())


def test_wheel_says_what_it_is(distribution: Distribution) -> None:
    said: Message = message_from_string(str(distribution.read_text("METADATA")))
    assert (said["Name"], said["License-Expression"]) == ("galatune", "Apache-2.0")
    assert set(said.get_all("Provides-Extra", [])) >= EXTRAS
    assert "LICENSE" in said.get_all("License-File", [])
    assert said["Requires-Python"] == ">=3.10"


def test_installed_command_is_the_wheels(installed: Path, distribution: Distribution) -> None:
    program = [sys.executable, str(installed / "bin" / "galatune")]
    said = checked(*program, "--version", folder=installed, PYTHONPATH=str(installed))
    assert said == f"galatune, version {distribution.version}\n"


def test_entry_points_load_from_the_wheel(installed: Path, distribution: Distribution) -> None:
    points = distribution.entry_points
    assert {(point.group, point.name) for point in points} == {
        ("console_scripts", "galatune"),
        ("galatune.sinks", "mlflow"),
    }
    program = (
        "import sys; from importlib.metadata import EntryPoint\n"
        "for value in sys.argv[1:]:\n"
        "    found = EntryPoint('x', value, 'y').load(); print(sys.modules[found.__module__].__file__)\n"
    )
    values = [point.value for point in points]
    said = checked(sys.executable, "-c", program, *values, folder=installed, PYTHONPATH=str(installed))
    assert all(Path(line).is_relative_to(installed) for line in said.splitlines())
    assert len(said.splitlines()) == len(values)


@pytest.mark.slow
def test_fresh_environment_runs_the_wheel(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "fresh", with_pip=True)
    python = str(tmp_path / "fresh" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["-c", str(REPOSITORY / "constraints.txt"), str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False, cwd=tmp_path)
    if any(words in done.stderr for words in NO_INDEX):
        pytest.skip(f"no package index: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    checked(python, "-m", "pip", "check", folder=tmp_path)
    shutil.copy(REPOSITORY / "examples" / "5_attach.py", tmp_path)
    assert checked(python, "5_attach.py", folder=tmp_path)
    galatune = str(tmp_path / "fresh" / "bin" / "galatune")
    checked(python, str(REPOSITORY / "examples" / "1_old_study.py"), folder=tmp_path)
    assert "lr" in checked(galatune, "scan", "digits.db", folder=tmp_path)
    typed = "run", "digits.db", "galatune.demo.objective:objective", "--into", "new.db", "--trials", "1"
    checked(galatune, *typed, folder=tmp_path)
    assert "trial" in checked(galatune, "report", "digits.db", "--into", "new.db", folder=tmp_path)
