"""Tiny scripts in the shapes that public ones have, and what is needed to run them."""

from __future__ import annotations

from pathlib import Path

HEADER = """
import optuna
import torch


def train(lr, width=4, steps=6):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr)
    x = torch.linspace(-1, 1, 128).reshape(32, 4)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
    return loss.item()


def suggest(trial):
    return trial.suggest_float("lr", 1e-5, 1.0, log=True), trial.suggest_categorical("width", [2, 4, 8])


def objective(trial):
    return train(*suggest(trial))


def new(name="old", **given):
    return optuna.create_study(study_name=name, storage="sqlite:///own.db", load_if_exists=True, **given)


def say(study):
    from pathlib import Path
    text = repr((len(study.trials), sorted(study.best_params), study.best_params["lr"]))
    Path("said.txt").write_text(text)
"""

SHAPES = {
    "module level": """
study = new()
study.optimize(objective, n_trials=30)
say(study)
""",
    "nested function": """
def main():
    def nested(trial):
        return train(*suggest(trial))
    study = new()
    study.optimize(nested, n_trials=30)
    say(study)
if __name__ == "__main__":
    main()
""",
    "lambda": """
def main(scale):
    study = new()
    study.optimize(lambda trial: scale * objective(trial), n_trials=30, n_jobs=4, timeout=1)
    say(study)
if __name__ == "__main__":
    main(2.0)
""",
    "partial": """
from functools import partial
def scaled(trial, scale):
    return scale * objective(trial)
study = new()
study.optimize(partial(scaled, scale=2.0), n_trials=30)
say(study)
""",
    "method": """
class Tuner:
    def __init__(self):
        self.study = new()
    def objective(self, trial):
        return train(*suggest(trial))
    def run(self):
        self.study.optimize(self.objective, n_trials=30, show_progress_bar=True)
        return self.study
say(Tuner().run())
""",
    "callable object": """
class Objective:
    def __call__(self, trial):
        return train(*suggest(trial))
study = new()
study.optimize(Objective(), 30)
say(study)
""",
    "factory": """
def make(scale):
    def made(trial):
        return scale * train(*suggest(trial))
    return made
study = new()
study.optimize(make(3.0), n_trials=30)
say(study)
""",
    "globals under main": """
def late(trial):
    return train(*suggest(trial), steps=STEPS)
if __name__ == "__main__":
    STEPS = 6
    study = new()
    study.optimize(late, n_trials=30)
    say(study)
""",
    "one trial per call": """
study = new()
for i in range(30):
    study.optimize(objective, n_trials=1)
say(study)
""",
    "until there are enough": """
study = new()
while len(study.trials) < 30:
    study.optimize(objective, n_trials=1)
say(study)
""",
    "several calls": """
study = new()
study.optimize(objective, n_trials=3)
study.optimize(objective, n_trials=20)
say(study)
""",
    "ask and tell": """
def main():
    study = new()
    for number in range(30):
        trial = study.ask()
        value = objective(trial)
        study.tell(trial, value)
    say(study)
main()
""",
    "ask and tell by number, defined": """
space = {
    "lr": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True),
    "width": optuna.distributions.CategoricalDistribution([2, 4, 8]),
}
study = new()
for number in range(30):
    trial = study.ask(space)
    study.tell(trial.number, train(trial.params["lr"], trial.params["width"]))
say(study)
""",
    "ask and tell while true": """
study = new()
while True:
    trial = study.ask()
    try:
        value = objective(trial)
    except ValueError:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        continue
    study.tell(trial, value)
    if len(study.trials) >= 30:
        break
say(study)
""",
    "ask in batches": """
study = new()
for batch in range(10):
    trials = [study.ask() for _ in range(3)]
    for trial in trials:
        study.tell(trial, objective(trial))
say(study)
""",
    "two threads": """
import threading
def search():
    study = optuna.load_study(study_name="old", storage="sqlite:///own.db")
    study.optimize(objective, n_trials=15)
study = new()
threads = [threading.Thread(target=search) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
say(study)
""",
    "load or create": """
try:
    study = optuna.load_study(study_name="old", storage="sqlite:///own.db")
except KeyError:
    study = new()
study.optimize(objective, n_trials=max(0, 30 - len(study.trials)))
say(study)
""",
    "storage object": """
storage = optuna.storages.RDBStorage("sqlite:///own.db", engine_kwargs={"connect_args": {"timeout": 9}})
names = [one.study_name for one in storage.get_all_studies()]
study = optuna.create_study(storage=storage, study_name="old", load_if_exists=True)
study.optimize(objective, n_trials=30)
say(optuna.load_study(storage=storage, study_name="old"))
""",
    "journal object": """
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
storage = JournalStorage(JournalFileBackend("own.db"))
study = optuna.create_study(storage=storage, study_name="old", load_if_exists=True)
study.optimize(objective, n_trials=30)
say(study)
""",
    "deleted first": """
try:
    optuna.delete_study(study_name="old", storage="sqlite:///own.db")
except KeyError:
    pass
study = new()
study.optimize(objective, n_trials=30)
say(study)
""",
}
"""Each searches more trials than the command asks for, and says what its study holds in said.txt."""


def script(folder: Path, body: str, name: str = "train.py") -> Path:
    """Write a script."""
    path = folder / name
    path.write_text(HEADER + body, encoding="utf-8")
    return path
