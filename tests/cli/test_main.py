"""The command group: its list, its errors, what it loads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tiny_search import old_study

from galatune import __version__
from galatune.cli import main
from galatune.errors import StorageError

OWN = ["demo", "scan", "pilot", "run", "report", "fit", "predict", "bench"]


@pytest.fixture
def failing(request: pytest.FixtureRequest) -> Iterator[str]:
    """A command that raises what the test asks for."""

    @click.command("failing")
    def command() -> None:
        raise request.param

    main.add_command(command)
    yield "failing"
    main.commands.pop("failing")


def test_commands_are_listed_in_the_order_of_the_way() -> None:
    listed = main.list_commands(click.Context(main))
    assert listed[: len(OWN)] == OWN
    text = CliRunner().invoke(main, ["--help"]).stdout
    places = [text.index(f"\n  {name} ") for name in OWN]
    assert places == sorted(places)


@pytest.mark.parametrize("name", OWN)
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "-h"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.stdout
    for option in main.commands[name].params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.name}"


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout == f"galatune, version {__version__}\n"


def test_what_does_not_exist_is_wrong_usage() -> None:
    for absent in ("replay", "polish", "worker", "control", "--nonsense"):
        assert CliRunner().invoke(main, [absent]).exit_code == 2


@pytest.mark.parametrize("failing", [StorageError("No such file: 'x'. Give one")], indirect=True)
def test_a_deliberate_error_is_one_line_and_status_1(failing: str) -> None:
    result = CliRunner().invoke(main, [failing])
    assert result.exit_code == 1
    assert (result.stdout, result.stderr) == ("", "galatune: No such file: 'x'. Give one\n")


@pytest.mark.parametrize("failing", [KeyboardInterrupt()], indirect=True)
def test_an_interruption_is_status_130(failing: str) -> None:
    result = CliRunner().invoke(main, [failing])
    assert result.exit_code == 130
    assert result.stdout == ""


INTERRUPTED_IN_C = """
import signal, sys

class LikeC:
    \"\"\"What numpy's C code makes of a Ctrl-C that comes while it is imported.\"\"\"

    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                raise ImportError("numpy.core.multiarray failed to import") from None

sys.meta_path.insert(0, LikeC())
from galatune.cli import main
main({arguments!r})
"""


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("numpy", ["scan", "old.log"]),
        ("numpy", ["report", "old.log"]),
        ("pandas", ["report", "old.log", "--csv", "trials.csv"]),
        ("matplotlib.figure", ["report", "old.log", "--html", "report.html"]),
        ("torch", ["run", "old.log", "missing.py:objective"]),
        ("galatune.cli.main", ["scan", "old.log"]),
    ],
)
def test_an_interruption_while_modules_are_loaded_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    program = INTERRUPTED_IN_C.format(name=name, arguments=arguments)
    if name == "galatune.cli.main":  # written in Python: there it stays what it is
        program = program.replace("except KeyboardInterrupt", "except MemoryError")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", [["--help"], ["scan", "old.log"], ["scan", "old.log", "--json"]])
def test_a_full_disk_behind_stdout_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    old_study("old.log")
    program = f"from galatune.cli import main; main({arguments!r})"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "galatune: cannot read or write the output: No space left on device\n"


@pytest.mark.parametrize("failing", [PermissionError(13, "Permission denied", "x.db")], indirect=True)
def test_a_file_that_the_system_refuses_is_one_line(failing: str) -> None:
    result = CliRunner().invoke(main, [failing])
    assert result.exit_code == 1
    assert result.stderr == "galatune: cannot read or write 'x.db': Permission denied\n"


@pytest.mark.parametrize("failing", [ZeroDivisionError("a bug")], indirect=True)
def test_a_bug_of_ours_is_not_hidden(failing: str) -> None:
    assert isinstance(CliRunner().invoke(main, [failing]).exception, ZeroDivisionError)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_none_of_the_heavy_packages(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom galatune.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'optuna', 'mlflow', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("typed", ["raport", "Report", "REPROT"])
def test_a_command_that_was_mistyped_is_named(typed: str) -> None:
    assert "did you mean report; it has demo" in CliRunner().invoke(main, [typed]).stderr


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["scan", "old.db", "--study"], "galatune scan"),
        (["scan", "--json=yes"], "galatune scan"),
        (["bench", "cost", "--out"], "galatune bench cost"),
        (["--version=1"], "galatune"),
    ],
)
def test_wrong_usage_names_the_command_that_explains_it(words: list[str], path: str) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"; {path} --help explains it\n")


@pytest.mark.parametrize("closed", ["1", "1 2", "0 1 2"])
def test_closed_streams_are_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    old_study("old.log")
    before = Path("old.log").read_bytes()
    gaps = " ".join(f"{number}>&-" for number in closed.split())
    program = "from galatune.cli import main; main(['scan', 'old.log'])"
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {gaps}', "sh", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert Path("old.log").read_bytes() == before


def test_a_terminal_that_was_not_measured_shows_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "0")
    old_study("old.log")
    assert "dropped: lr" in CliRunner().invoke(main, ["scan", "old.log"]).stdout


def test_a_package_that_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ValueError(f"the settings of {name} are wrong\nand so on")

    monkeypatch.setattr("galatune.cli.loading.import_module", broken)
    result = CliRunner().invoke(main, ["scan", "old.log"])
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "galatune: Cannot load galatune.study.scan.scan: ValueError: the settings"
    )
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--lr", "--keep"])
def test_an_empty_name_is_said_to_be_empty(option: str) -> None:
    result = CliRunner().invoke(main, ["scan", "old.log", option, ""])
    assert result.exit_code == 2
    assert f"{option}: it is empty" in result.stderr


@pytest.mark.parametrize(
    "header", ["async def objective(trial):\n    return 1.0", "def objective(trial):\n    yield 1.0"]
)
def test_an_objective_that_returns_no_value_is_refused_before_the_first_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.chdir(tmp_path)
    old_study("old.log")
    Path("train.py").write_text(header)
    result = CliRunner().invoke(main, ["run", "old.log", "train.py:objective"])
    assert result.exit_code == 1
    assert "it is written with async or yield" in result.stderr
    assert sorted(path.suffix for path in tmp_path.glob("*.*")) == [".log", ".py"]
