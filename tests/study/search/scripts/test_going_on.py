"""What a script does beside and behind its search."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import joblib
import optuna
import pytest
from click.testing import CliRunner, Result
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from tiny_scripts import SHAPES, script
from tiny_search import load, old_study, recorded

from galatune.cli import main


def galatune(*words: object, trials: int = 2) -> Result:
    """Run a script; the old study is that of ``old.log``."""
    given = [str(word) for word in words]
    behind = given.index("--") if "--" in given else len(given)
    ours = ["--into", "new.log", "--trials", str(trials), "--repeats", "0", "--yes"]
    command = ["run", "old.log", *given[:behind], *ours, *given[behind:]]
    return CliRunner().invoke(main, command)


def said() -> str:
    return Path("said.txt").read_text()


def test_arguments_behind_the_dashes_are_the_scripts(folder: Path) -> None:
    old_study("old.log")
    body = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--trials", type=int)
parser.add_argument("names", nargs="*")
args = parser.parse_args()
from pathlib import Path
Path("said.txt").write_text(repr((args.trials, args.names, __name__)))
study = new()
study.optimize(objective, n_trials=args.trials)
"""
    result = galatune(script(folder, body), "--", "--trials", 50, "one", "two", trials=1)
    assert result.exit_code == 0, result.output
    assert said() == "(50, ['one', 'two'], '__main__')"
    assert "-- --trials 50 one two" in result.stderr


def test_a_module_runs_as_with_python_m(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_study("old.log")
    package = folder / "tinypackage" / "inner"
    package.mkdir(parents=True)
    (folder / "tinypackage" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "names.py").write_text("NAME = 'old'\n")
    body = """
import sys
from pathlib import Path
from .names import NAME
Path("said.txt").write_text(repr((sys.argv[1:], __package__)))
study = new(NAME)
study.optimize(objective, n_trials=9)
"""
    script(package, body)
    result = galatune("-m", "tinypackage.inner.train", "--", "--fast", "x")
    assert result.exit_code == 0, result.output
    assert said() == "(['--fast', 'x'], 'tinypackage.inner')"
    assert "run old.log -m tinypackage.inner.train --into" in result.stderr
    assert " -- --fast x" in result.stderr


@pytest.mark.parametrize("shape", ["lambda", "ask and tell"])
def test_a_script_that_changes_its_working_directory_has_it_where_it_runs(shape: str, folder: Path) -> None:
    old_study("old.log")
    (folder / "outputs").mkdir()
    (folder / "code").mkdir()
    body = SHAPES[shape].replace("objective(trial)", "where(trial)").replace("n_trials=30, n_jobs=4", "9")
    before = """
import os
os.chdir("outputs")
def where(trial):
    with open("trained.txt", "a") as file:
        file.write("x")
    return objective(trial)
"""
    script(folder / "code", before + body)
    result = galatune("code/train.py")
    assert result.exit_code == 0, result.output
    assert len(load().trials) == 2
    assert Path("outputs", "trained.txt").read_text() == "xx"
    assert Path("outputs", "said.txt").read_text().startswith("(2, ")
    assert Path.cwd() == folder


@pytest.mark.parametrize(
    "start",
    [
        "import click\n@click.command()\n@click.option('--w', type=int)\ndef cli(w):\n    go()\ncli()",
        "import sys\ngo()\nsys.exit(0)",
    ],
)
def test_a_script_that_exits_with_0_has_ended_well(start: str, folder: Path) -> None:
    old_study("old.log")
    body = (
        f"def go():\n    study = new()\n    study.optimize(objective, n_trials=9)\n    say(study)\n{start}\n"
    )
    assert galatune(script(folder, body), trials=1).exit_code == 0
    assert said().startswith("(1, ")


def test_it_is_the_mains_module_meanwhile(folder: Path) -> None:
    old_study("old.log")
    body = """
import pickle
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, place):
        return torch.ones(4) * place
study = new()
def loaded(trial):
    lr, width = suggest(trial)
    assert pickle.loads(pickle.dumps(Data()))[2].sum() == 8
    return train(lr, width)
study.optimize(loaded, n_trials=9)
"""
    before = sys.modules["__main__"]
    result = galatune(script(folder, body), trials=1)
    assert result.exit_code == 0, result.output
    assert sys.modules["__main__"] is before


@pytest.mark.slow
def test_workers_that_start_anew_import_it(folder: Path) -> None:
    old_study("old.log")
    body = """
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, place):
        return torch.ones(4) * place
def loaded(trial):
    lr, width = suggest(trial)
    found = torch.utils.data.DataLoader(Data(), num_workers=1, multiprocessing_context="spawn")
    assert len(list(found)) == 8
    return train(lr, width)
if __name__ == "__main__":
    study = new()
    study.optimize(loaded, n_trials=9)
    say(study)
"""
    result = galatune(script(folder, body), trials=1)
    assert result.exit_code == 0, result.output


def test_a_final_training_is_controlled(folder: Path) -> None:
    old_study("old.log")
    body = """
study = new()
study.optimize(objective, n_trials=9)
value = train(study.best_params["lr"], study.best_params["width"], steps=11)
again = objective(study.best_trial)
third = objective(optuna.trial.FixedTrial(study.best_params))
say(study)
"""
    result = galatune(script(folder, body))
    assert result.exit_code == 0, result.output
    assert "controlled: AdamW 23 steps" in result.stderr


def test_of_several_rates_a_trial_has_those_that_it_asked_for(folder: Path) -> None:
    rate = optuna.distributions.FloatDistribution(1e-5, 1.0, log=True)
    old_study("old.log", rates={"lr": rate, "sgd_lr": rate})
    result = galatune(script(folder, "study = new()\nstudy.optimize(objective)\nsay(study)\n"), trials=1)
    assert result.exit_code == 0, result.output
    assert said().startswith("(1, ['lr', 'width'], ")


def test_nothing_is_controlled_behind_a_search_without_control(folder: Path) -> None:
    old_study("old.log")
    path = script(folder, "study = new()\nstudy.optimize(objective, n_trials=9)\ntrain(0.01)\nsay(study)\n")
    result = galatune(path, "--control", "off")
    assert result.exit_code == 0, result.output
    assert "trained on" not in result.stderr


def test_stop_after_search_ends_it_there(folder: Path) -> None:
    old_study("old.log")
    body = """
try:
    study = new()
    study.optimize(objective, n_trials=9)
except BaseException:
    raise
say(study)
"""
    result = galatune(script(folder, body), "--stop-after-search")
    assert result.exit_code == 0, result.output
    assert not Path("said.txt").exists()
    assert len(load().trials) == 2


def test_a_failure_behind_the_search_is_one_line_and_nothing_is_lost(folder: Path) -> None:
    old_study("old.log")
    body = "study = new()\nstudy.optimize(objective, n_trials=9)\nraise RuntimeError('no space')\n"
    result = galatune(script(folder, body), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["trials"] == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith(
        "galatune: The search is stored in new.log, but train.py failed behind it: RuntimeError"
    )
    assert len(load().trials) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("study = new()\n", "ended without a search: it makes old and calls neither study.optimize nor"),
        ("import sys\nsys.exit('no data')\n", "ended before it searched: it ended with exit status no data"),
        ("1 / 0\n", "ended before it searched: ZeroDivisionError: division by zero (train.py:"),
        (
            "study = new(direction='maximize')\nstudy.optimize(objective)\n",
            "'old' of the script is to maximize",
        ),
        (
            "def bad(trial):\n    suggest(trial)\n    raise ValueError('x')\nnew().optimize(bad)\n",
            "ValueError: x",
        ),
        (
            "try:\n    new().optimize(lambda trial: 1.0)\nexcept Exception:\n    pass\n",
            "no torch optimizer stepped",
        ),
    ],
)
def test_what_cannot_be_searched_is_one_line(body: str, words: str, folder: Path) -> None:
    old_study("old.log")
    result = galatune(script(folder, body))
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("galatune: ")
    assert words in last


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "loky"])
def test_a_search_in_processes_of_the_script_is_refused_before_it_writes(method: str, folder: Path) -> None:
    old_study("old.log")
    body = f"""
import multiprocessing
from joblib import Parallel, delayed
def search(number):
    study = optuna.load_study(study_name="old", storage="sqlite:///own.db")
    study.optimize(objective, n_trials=1)
def start(number):
    context = multiprocessing.get_context("{method}")
    process = context.Process(target=search, args=(number,))
    process.start()
    process.join()
if __name__ == "__main__":
    new()
    if "{method}" == "loky":
        Parallel(n_jobs=2)(delayed(search)(number) for number in range(2))
    else:
        start(0)
    study = optuna.load_study(study_name="old", storage="sqlite:///own.db")
    study.best_value
"""
    command = [sys.executable, "-m", "galatune", "run", "old.log", str(script(folder, body))]
    ended = subprocess.run([*command, "--yes"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("galatune: train.py searches in processes that it starts itself")
    assert last.endswith("and let --workers N start the processes")
    assert not Path("own.db").exists()


@pytest.mark.slow
def test_several_ranks_are_told_what_to_do(folder: Path) -> None:
    old_study("old.log")
    body = """
import sys
from torch import distributed
rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
if rank == 0:
    study = new()
    study.optimize(lambda trial: distributed.barrier(), n_trials=2)
else:
    for number in range(2):
        distributed.barrier()
"""
    words = [sys.executable, "-m", "galatune", "run", "old.log", str(script(folder, body)), "--yes", "--"]
    ranks = [
        subprocess.Popen([*words, str(rank), str(folder / "met")], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for rank, process in enumerate(ranks):
        _, told = process.communicate()
        assert process.returncode == 1
        words_of_it = f"galatune: a trial trains in one process, however: this is rank {rank} of 2 of"
        assert told.splitlines()[-1].startswith(words_of_it)
    assert not Path("old-gala.db").exists()


def test_an_error_in_the_body_of_a_loop_ends_it_and_is_said(folder: Path) -> None:
    old_study("old.log")
    body = """
study = new()
for number in range(9):
    trial = study.ask()
    value = objective(trial)
    if number == 1:
        raise RuntimeError("out of memory")
    study.tell(trial, value)
"""
    result = galatune(script(folder, body))
    assert result.exit_code == 1
    assert "RuntimeError: out of memory" in result.stderr.splitlines()[-1]
    assert [trial.state.name for trial in load().trials] == ["COMPLETE", "FAIL"]


def test_a_loop_that_asks_less_than_the_budget_decides(folder: Path) -> None:
    old_study("old.log")
    body = """
study = new()
for number in range(2):
    trial = study.ask()
    study.tell(trial, objective(trial))
say(study)
train(study.best_params["lr"])
"""
    result = galatune(script(folder, body), trials=5)
    assert result.exit_code == 0, result.output
    assert said().startswith("(2, ")
    assert "controlled: AdamW 6 steps" in result.stderr


def test_enqueued_configurations_come_first_without_their_rate(folder: Path) -> None:
    old_study("old.log")
    body = """
study = new()
study.enqueue_trial({"lr": 1e-3, "width": 8})
study.enqueue_trial({"lr": 1e-2, "width": 8})
study.enqueue_trial({"lr": 1e-3, "width": 2})
study.optimize(objective, n_trials=9)
say(study)
"""
    path = script(folder, body)
    assert galatune(path, trials=2).exit_code == 0
    assert galatune(path, trials=3).exit_code == 0
    trials = load().trials
    assert [trial.params["width"] for trial in trials[:2]] == [8, 2]
    assert len(trials) == 3
    assert said().startswith("(3, ")


def test_callbacks_are_called_and_decide_nothing(folder: Path) -> None:
    old_study("old.log")
    body = """
seen = []
def note(study, trial):
    seen.append((trial.number, "lr" in trial.params, study.best_trial.number <= trial.number))
    study.stop()
def broken(study, trial):
    raise RuntimeError("no server")
study = new()
study.optimize(objective, n_trials=9, callbacks=[note, broken])
from pathlib import Path
Path("said.txt").write_text(repr(seen))
"""
    result = galatune(script(folder, body), trials=3)
    assert result.exit_code == 0, result.output
    assert said() == repr([(number, True, True) for number in range(3)])
    assert result.stderr.count("no server") == 1
    assert result.stderr.count("not obeyed") == 1


def test_the_study_can_be_plotted_and_dumped(folder: Path) -> None:
    old_study("old.log")
    body = """
import joblib
study = new()
study.optimize(objective, n_trials=9)
frame = study.trials_dataframe()
assert list(frame["number"]) == [0, 1] and "params_lr" in frame
optuna.importance.get_param_importances(study)
joblib.dump(study, "study.pkl")
say(study)
"""
    result = galatune(script(folder, body))
    assert result.exit_code == 0, result.output
    kept = joblib.load("study.pkl")
    assert type(kept._storage) is optuna.storages.InMemoryStorage
    assert len(kept.trials) == 2
    assert "lr" in kept.best_params


TWO = """
first, second = new("one"), new("two")
first.optimize(objective, n_trials=3)
second.optimize(lambda trial: 2 * objective(trial), n_trials=3)
from pathlib import Path
Path("said.txt").write_text(repr([len(first.trials), len(second.trials), "lr" in first.best_params]))
"""


@pytest.mark.parametrize(("name", "counts"), [("one", [1, 3]), ("two", [3, 1])])
def test_study_chooses_and_the_other_has_its_old_trials(name: str, counts: list[int], folder: Path) -> None:
    old_study("old.log", name="one")
    old_study("old.log", name="two")
    path = script(folder, TWO)
    result = galatune(path, "--study", name, trials=1)
    assert result.exit_code == 0, result.output
    assert said() == repr([*counts, True])
    assert len(load(name=f"{name}-gala").trials) == 1
    assert "is not searched: it has its 3 old trials" in result.stderr


def test_studies_of_unknown_names_are_listed(folder: Path) -> None:
    old_study("old.log", name="elsewhere")
    result = galatune(script(folder, TWO), trials=1)
    assert result.exit_code == 1
    assert "train.py makes 2 studies (one, two), none of which is called 'elsewhere'" in result.stderr


def test_one_that_nobody_knows_runs_as_it_was_written(folder: Path) -> None:
    old_study("old.log")
    body = """
study = new()
study.optimize(objective, n_trials=9)
other = optuna.create_study()
other.optimize(lambda trial: trial.suggest_float("x", 0, 1) + train(0.01), n_trials=3)
from pathlib import Path
Path("said.txt").write_text(repr([len(study.trials), len(other.trials)]))
"""
    result = galatune(script(folder, body))
    assert result.exit_code == 0, result.output
    assert said() == "[2, 3]"
    assert "trained on" not in result.stderr


def test_sampler_and_pruner_of_the_script_are_taken_over(folder: Path) -> None:
    old_study("old.log")
    body = """
sampler = optuna.samplers.GridSampler({"lr": [0.1, 0.01], "width": [2, 8]})
study = new(sampler=sampler, pruner=optuna.pruners.HyperbandPruner())
study.optimize(objective)
"""
    result = galatune(script(folder, body))
    assert result.exit_code == 0, result.output
    about = load().user_attrs["galatune"]
    assert (about["sampler"], about["pruner"]) == ("GridSampler", "HyperbandPruner")
    assert sorted(trial.params["width"] for trial in load().trials) == [2, 8]


def test_several_objectives(folder: Path) -> None:
    old_study("old.log", directions=("minimize", "maximize"))
    body = """
study = new(directions=["minimize", "maximize"])
study.optimize(lambda trial: (objective(trial), 1.0), n_trials=9)
from pathlib import Path
Path("said.txt").write_text(repr([sorted(trial.params) for trial in study.best_trials][:1]))
"""
    result = galatune(script(folder, body))
    assert result.exit_code == 0, result.output
    assert said() == "[['lr', 'width']]"


def test_what_it_prints_goes_to_stderr(folder: Path) -> None:
    old_study("old.log")
    body = (
        "print('early')\nstudy = new()\nstudy.optimize(objective)\nprint('late', study.best_params['lr'])\n"
    )
    result = galatune(script(folder, body), "--json")
    assert json.loads(result.stdout)["trials"] == 2
    assert "early" in result.stderr
    assert "late" in result.stderr


def test_the_same_command_continues(folder: Path) -> None:
    old_study("old.log")
    path = script(folder, "study = new()\nstudy.optimize(objective)\nsay(study)\n")
    assert galatune(path, trials=1).exit_code == 0
    result = galatune(path, trials=3)
    assert result.exit_code == 0, result.output
    assert said().startswith("(3, ")
    assert recorded(load().trials[2]).controlled


@pytest.mark.parametrize("shape", ["lambda", "ask and tell"])
def test_scan_reads_the_space_by_one_call(shape: str, folder: Path) -> None:
    path = script(folder, SHAPES[shape])
    result = CliRunner().invoke(main, ["scan", str(path), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [dimension["name"] for dimension in found["learning_rate"] if dimension["dropped"]] == ["lr"]
    assert (found["kept"], found["trials"]["total"], found["directions"]) == (["width"], 0, ["minimize"])
    assert "one call of the objective" in result.stderr
    assert not Path("said.txt").exists()
    assert not Path("own.db").exists()
    shown = CliRunner().invoke(main, ["scan", str(path)])
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("lambda", "It calls study.optimize with a lambda in line"),
        ("partial", "It calls study.optimize with a partial function in line"),
        ("ask and tell", "It calls study.ask in line"),
    ],
)
def test_what_cannot_be_named_is_offered_as_a_script(shape: str, words: str, folder: Path) -> None:
    old_study("old.log")
    path = script(folder, SHAPES[shape])
    result = galatune(f"{path}:missing")
    assert result.exit_code == 1
    assert words in result.stderr or "calls study.optimize when it is imported" in result.stderr
    assert f"galatune run STORAGE {path}" in result.stderr


def test_optuna_is_as_before(folder: Path) -> None:
    old_study("old.log")
    before = [
        optuna.Study.optimize,
        optuna.Study.ask,
        optuna.storages.get_storage,
        JournalFileBackend.__init__,
    ]
    assert galatune(script(folder, "new().optimize(objective)\n"), trials=1).exit_code == 0
    assert before == [
        *(optuna.Study.optimize, optuna.Study.ask),
        *(optuna.storages.get_storage, JournalFileBackend.__init__),
    ]
    assert optuna.load_study(study_name="old", storage=JournalStorage(JournalFileBackend("old.log"))).trials
