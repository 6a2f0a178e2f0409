"""Scripts whose command line is a library's, which calls the search, or changes the working directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_scripts import script
from tiny_search import load, old_study

pytestmark = pytest.mark.slow

HYDRA = """
import hydra, os
@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config):
    assert os.getcwd() != hydra.utils.get_original_cwd()
    study = new()
    study.optimize(lambda trial: config.scale * objective(trial), n_trials=config.trials)
    say(study)
main()
"""

ABSL = """
from absl import app, flags
flags.DEFINE_integer("trials", 9, "trials")
def main(argv):
    study = new()
    study.optimize(objective, n_trials=flags.FLAGS.trials)
    say(study)
app.run(main)
"""

FIRE = """
import fire
class Tuner:
    def __init__(self, name):
        self.name = name
    def tune(self, trials=9):
        study = new(self.name)
        study.optimize(objective, n_trials=trials)
        say(study)
        return study.best_params
fire.Fire(Tuner)
"""

TYPER = """
import typer
app = typer.Typer()
@app.command()
def tune(name: str, trials: int = 9):
    study = new(name)
    study.optimize(objective, n_trials=trials)
    say(study)
@app.command()
def other():
    raise AssertionError
app()
"""

CASES = {
    "hydra": (HYDRA, ["trials=30", "hydra.job.chdir=true", "hydra.run.dir=outputs"]),
    "absl": (ABSL, ["--trials=30"]),
    "fire": (FIRE, ["--name", "old", "tune", "--trials", "30"]),
    "typer": (TYPER, ["tune", "old", "--trials", "30"]),
}
"""A package; a script; what stands behind ``--``."""


@pytest.mark.parametrize(("package", "workers"), [*((name, "1") for name in CASES), ("hydra", "2")])
def test_a_script_of_any_command_line_is_searched_and_goes_on(
    package: str, workers: str, folder: Path
) -> None:
    pytest.importorskip(package)
    old_study("old.log")
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_text("trials: 9\nscale: 2.0\n")
    body, words = CASES[package]
    command = ["run", "old.log", str(script(folder, body)), "--into", "new.log", "--trials", "2", "--yes"]
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "galatune"),
            *command,
            *("--repeats", "0", "--workers", workers, "--"),
            *words,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert [trial.state.name for trial in load().trials] == ["COMPLETE"] * 2
    (said,) = folder.rglob("said.txt")
    assert said.parent.name == ("outputs" if package == "hydra" else folder.name)
    assert said.read_text().startswith("(2, ['lr', 'width'], ")
