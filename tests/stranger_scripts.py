"""Run the scripts of ``tests/scripts`` as their users would, and say by shape which of them go.

An old study is made by the script itself, its storage replaced by a file and its trials limited; then
``galatune run`` gets that file and the script. Both are processes of their own. With ``pilot``,
``galatune pilot`` comes first, and the run ends with its search.

    python tests/stranger_scripts.py [pilot] [NAME ...]
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "scripts"
MOST_OLD = 4
"""Trials per call of optimize in the old study."""
TRIALS = 3

OLD = "old.log"
SECONDS = 300


NAMED = {
    "logging_no_prints": ("--lr", "eta"),  # scan does not take an eta for a rate
    "sys_exit_main": ("--lr", "lr"),  # nor is it sure of a rate beside l1 and h alone
    "optimize_twice": ("--trials", "10"),  # it asserts that it has ten
}
"""What a user has to say beside, as the error tells."""


def names() -> list[str]:
    """The scripts that were written first, without their ending."""
    return sorted(path.stem for path in SCRIPTS.glob("[0-9]*.py"))


def aside() -> list[str]:
    """Those that were kept aside: all but `gaussian_objective`, which one of them imports."""
    found = [path.stem for path in (SCRIPTS / "aside").glob("*.py") if path.stem != "gaussian_objective"]
    return sorted([*found, "packaged.tune"])


def make_old(words: list[str]) -> None:
    """Run a script with its studies in a file; in a process of its own."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    place = JournalStorage(JournalFileBackend(OLD))
    optimize = optuna.Study.optimize

    def few(study: optuna.Study, func: Any, n_trials: int | None = None, *args: Any, **kwargs: Any) -> None:
        optimize(study, func, min(n_trials or MOST_OLD, MOST_OLD), *args, **kwargs)

    optuna.storages.get_storage = lambda storage=None: place  # type: ignore[assignment]
    optuna.Study.optimize = few  # type: ignore[method-assign, assignment]
    sys.path.insert(0, str(Path.cwd()))
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def prepared(name: str, folder: Path) -> list[str]:
    """Copy a script into a folder; how it is named from there."""
    if name in names():
        shutil.copy(SCRIPTS / f"{name}.py", folder)
        return [f"{name}.py"]
    shutil.copytree(SCRIPTS / "aside", folder, dirs_exist_ok=True)
    return ["-m", name] if "." in name else [f"{name}.py"]


def old_study_of(words: list[str], folder: Path) -> None:
    """Make the old study; its exit status is the script's own affair."""
    _started([sys.executable, str(Path(__file__).resolve()), "--old", *words], folder)


def run(words: list[str], folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """``galatune run`` on the old study."""
    named = (*("--trials", str(TRIALS)), *NAMED.get(Path(words[0]).stem, ()))
    command = [sys.executable, "-m", "galatune", "run", OLD, *words, *named, "--into", "new.log"]
    return _started([*command, "--repeats", "0", "--yes", *more], folder)


def piloted(words: list[str], folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """``galatune pilot`` on the old study, and if that has chosen, ``galatune run`` with its plan."""
    named = () if "--trials" in (said := NAMED.get(Path(words[0]).stem, ())) else said
    command = [sys.executable, "-m", "galatune", "pilot", OLD, *words, *named, "--into", "new.log"]
    ended = _started([*command, "--repeats", "1", "--yes", "--save", "plan.json", *more], folder)
    if ended.returncode:
        return ended
    command = [sys.executable, "-m", "galatune", "run", OLD, *words, "--plan", "plan.json"]
    return _started([*command, "--trials", "1", "--no-confirm", "--yes", "--stop-after-search"], folder)


def study_options(folder: Path) -> list[str]:
    """``--study`` with the first old study, if there are several."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    studies = optuna.get_all_study_names(JournalStorage(JournalFileBackend(str(folder / OLD))))
    return ["--study", studies[0]] if len(studies) > 1 else []


def _started(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    package = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": package}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False
    )


def main(chosen: list[str], *, pilots: bool) -> None:
    """Print a line per script."""
    from tempfile import TemporaryDirectory

    for name in chosen or [*names(), *aside()]:
        with TemporaryDirectory() as made:
            folder = Path(made)
            words = prepared(name, folder)
            old_study_of(words, folder)
            ended = (piloted if pilots else run)(words, folder, *study_options(folder))
            last = (ended.stderr.splitlines() or [""])[-1]
            print(f"{name:28} {'passes' if ended.returncode == 0 else f'fails: {last}'}", flush=True)
            if os.environ.get("KEEP"):
                Path(os.environ["KEEP"], f"{name}.txt").write_text(ended.stdout + ended.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--old"]:
        make_old(sys.argv[2:])
    else:
        main([one for one in sys.argv[1:] if one != "pilot"], pilots="pilot" in sys.argv)
