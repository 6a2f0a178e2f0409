"""An old study and objectives that take milliseconds, for tests of the smaller search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from galatune.study.ledger.attributes import RECORD, STAGE
from galatune.study.ledger.record import TrialRecord
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search.run import run

RATE = FloatDistribution(1e-5, 1.0, log=True)
KEPT: Mapping[str, BaseDistribution] = {
    "width": CategoricalDistribution([2, 4, 8]),
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
}

STEPS = 12

HEADER = """
import optuna
import torch


def train(optimizer, net, steps=12):
    x = torch.linspace(-1, 1, 128).reshape(32, 4)
    y = x.sum(1, keepdim=True)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    return loss.item()


def make(trial):
    width = trial.suggest_categorical("width", [2, 4, 8])
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
"""

OBJECTIVE = f"""{HEADER}

def objective(trial):
    net = make(trial)
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    return train(torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=decay), net)
"""
"""The text of a file that nobody changed."""


def old_study(
    storage: str,
    values: Sequence[float | TrialState] = (3.0, 2.0, 1.0),
    *,
    name: str = "old",
    rates: Mapping[str, BaseDistribution] | None = None,
    directions: Sequence[str] = ("minimize",),
) -> optuna.Study:
    """A study of ``width``, ``weight_decay`` and learning rates, one trial a value.

    Optuna takes a second to make an SQLite file; a journal (``storage`` without ``://``) takes none.
    """
    place = storage if "://" in storage else JournalStorage(JournalFileBackend(storage))
    study = optuna.create_study(study_name=name, storage=place, directions=list(directions))
    spaces = {**KEPT, **({"lr": RATE} if rates is None else rates)}
    for number, value in enumerate(values):
        study.add_trial(_trial(number, value, spaces, len(directions)))
    return study


def _trial(
    number: int, value: float | TrialState, spaces: Mapping[str, BaseDistribution], objectives: int
) -> optuna.trial.FrozenTrial:
    # Not a simple multiple of anything that stands in a training script.
    sampler = optuna.samplers.RandomSampler(seed=1000 + number)
    study = optuna.create_study(sampler=sampler)
    params = study.ask(dict(spaces)).params
    if isinstance(value, TrialState):
        return create_trial(state=value, params=params, distributions=dict(spaces))
    values = [value * (1 + i) for i in range(objectives)]
    return create_trial(values=values, params=params, distributions=dict(spaces))


def train(optimizer: torch.optim.Optimizer, net: torch.nn.Module, steps: int = STEPS) -> float:
    """An ordinary loop."""
    x = torch.linspace(-1, 1, 128).reshape(32, 4)
    y = x.sum(1, keepdim=True)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    return float(loss.item())


def make(trial: optuna.trial.Trial) -> torch.nn.Module:
    """A net as wide as the trial says."""
    width = trial.suggest_categorical("width", [2, 4, 8])
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))


def objective(trial: optuna.trial.Trial) -> float:
    """The objective of `OBJECTIVE`."""
    net = make(trial)
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    return train(torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=decay), net)


def objective_file(folder: Path, text: str = OBJECTIVE, name: str = "tiny_objective.py") -> Path:
    """Write an objective to a file."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def with_rate(suggest: Callable[[Any], float]) -> Callable[[Any], float]:
    """An objective that gets its learning rate from a trial in its own way."""

    def one(trial: Any) -> float:
        net = make(trial)
        return train(torch.optim.SGD(net.parameters(), lr=suggest(trial), momentum=0.9), net)

    return one


def go(plan: ShrinkPlan, function: Callable[[Any], Any] = objective, **given: Any) -> optuna.Study:
    """Run the smaller study into a journal; the old best is not repeated unless that is asked for."""
    return run(plan, function, **{"into": "new.log", "repeats": 0, **given})


def recorded(trial: optuna.trial.FrozenTrial) -> TrialRecord:
    """What a trial of the smaller study recorded."""
    found = TrialRecord.from_attribute(trial.user_attrs[RECORD])
    assert found is not None
    return found


def run_once(
    function: Callable[[Any], Any],
    rates: Mapping[str, BaseDistribution] | None = None,
    lr: tuple[str, ...] = (),
    **more: Any,
) -> optuna.trial.FrozenTrial:
    """The one trial of a smaller study, in which nobody had to look twice whose rate follows."""
    old_study("old.log", rates=rates)
    trial = go(scan("old.log", lr=lr), function, trials=1, **more).get_trials()[0]
    assert not [event for event in recorded(trial).events if event.kind == "lineage"]
    return trial


def optimizer_of(trial: Any, rate: Any) -> tuple[torch.optim.Optimizer, torch.nn.Module]:
    """An optimizer with this rate, and its net."""
    net = make(trial)
    return torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9), net


def yes(question: str) -> bool:
    """Agree to everything."""
    return True


def load(file: str = "new.log", name: str = "old-gala") -> optuna.Study:
    """The smaller study as it lies in the journal."""
    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(file)))


def outcome(study: optuna.Study) -> list[tuple[Any, ...]]:
    """Parameters and values of the trials that count."""
    trials = [trial for trial in study.get_trials() if trial.state == TrialState.COMPLETE]
    return [(trial.params, trial.value) for trial in trials]


def searched(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Begun trials only: processes that begin the last one at once leave one waiting, beyond the budget."""
    begun = (trial for trial in study.trials if trial.state != TrialState.WAITING)
    return [trial for trial in begun if STAGE not in trial.user_attrs]
