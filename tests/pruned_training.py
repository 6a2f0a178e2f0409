"""Old studies with PRUNED trials, the same objectives under control: who is pruned, when, what it costs.

``python tests/pruned_training.py 3 4`` prints one line per objective and seed. The seeds 1 and 2 were looked
at while the rules of `galatune.study.search.pruning` were chosen.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sklearn.datasets import load_digits, make_friedman1
from torch import Tensor
from torch.nn import Conv2d, Dropout, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential, Tanh
from torch.nn.functional import cross_entropy, mse_loss

import galatune
from galatune.study.ledger.attributes import RECORD

TRIALS = 30

WARM_UP = 0.2
"""Share of the steps in which the old studies do not prune. A study that prunes at its first report spends
next to nothing on such a trial; no rate has arrived by then, and the smaller study cannot keep up."""


@dataclass(frozen=True)
class Data:
    """Inputs and targets, to train and to validate."""

    x: Tensor
    y: Tensor
    new_x: Tensor
    new_y: Tensor


def _split(x: Any, y: Any, size: int, dtype: torch.dtype) -> Data:
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=dtype)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    first, rest = order[:size], order[size:]
    return Data(x[first], y[first], x[rest], y[rest])


def _digits() -> Data:
    x, y = load_digits(return_X_y=True)
    return _split(x / 16, y, 1200, torch.long)


def _generated() -> Data:
    x, y = make_friedman1(1200, noise=1.0, random_state=0)
    return _split(x, (y - y.mean()) / y.std(), 800, torch.float32)


def _report(trial: optuna.trial.Trial, value: float, step: int) -> None:
    trial.report(value, step)
    if trial.should_prune():
        raise optuna.TrialPruned


def _epoch(net: Module, optimizer: torch.optim.Optimizer, data: Data, batch_size: int) -> None:
    net.train()
    for rows in torch.randperm(len(data.x)).split(batch_size):
        optimizer.zero_grad()
        cross_entropy(net(data.x[rows]), data.y[rows]).backward()
        optimizer.step()
    net.eval()


def perceptron(trial: optuna.trial.Trial) -> float:
    """Accuracy on digits; Adam, 570 steps, no schedule."""
    return _perceptron(trial, epochs=30)


def _perceptron(trial: optuna.trial.Trial, epochs: int) -> float:
    torch.manual_seed(trial.number)
    data, rate = _digits(), trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    width, share = trial.suggest_int("width", 16, 64), trial.suggest_float("dropout", 0, 0.5)
    net = Sequential(Linear(64, width), ReLU(), Dropout(share), Linear(width, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    for epoch in range(epochs):
        _epoch(net, optimizer, data, 64)
        with torch.no_grad():
            right = (net(data.new_x).argmax(1) == data.new_y).float().mean().item()
        _report(trial, right, epoch)
    return right


def convolutional(trial: optuna.trial.Trial) -> float:
    """Loss on digits; SGD with momentum, cosine, 760 steps."""
    torch.manual_seed(trial.number)
    data, rate = _digits(), trial.suggest_float("lr", 1e-4, 1.0, log=True)
    channels = trial.suggest_int("channels", 4, 12)
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    net = Sequential(Conv2d(1, channels, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(9 * channels, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    images = Data(data.x.view(-1, 1, 8, 8), data.y, data.new_x.view(-1, 1, 8, 8), data.new_y)
    for epoch in range(20):
        _epoch(net, optimizer, images, 32)
        schedule.step()
        with torch.no_grad():
            loss = cross_entropy(net(images.new_x), images.new_y).item()
        _report(trial, loss, epoch)
    return loss


def regression(trial: optuna.trial.Trial) -> float:
    """Loss on generated data; RMSprop, 600 steps, no schedule."""
    torch.manual_seed(trial.number)
    data, rate = _generated(), trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
    width, layers = trial.suggest_int("width", 8, 64, log=True), trial.suggest_int("layers", 1, 3)
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True)
    hidden = [layer for _ in range(layers - 1) for layer in (Linear(width, width), Tanh())]
    net = Sequential(Linear(10, width), Tanh(), *hidden, Linear(width, 1))
    optimizer = torch.optim.RMSprop(net.parameters(), lr=rate, weight_decay=decay)
    for step in range(1, 601):
        rows = torch.randint(len(data.x), (64,))
        optimizer.zero_grad()
        mse_loss(net(data.x[rows]).squeeze(1), data.y[rows]).backward()
        optimizer.step()
        if step % 25 == 0:
            with torch.no_grad():
                loss = mse_loss(net(data.new_x).squeeze(1), data.new_y).item()
            _report(trial, loss, step)
    return loss


def short_perceptron(trial: optuna.trial.Trial) -> float:
    """The same in 228 steps, of which the rate needs half to arrive."""
    return _perceptron(trial, epochs=12)


@dataclass(frozen=True)
class Task:
    """An objective and what its old study needs to know.

    Attributes:
        objective: To be searched.
        direction: Of its value.
        between: Optimizer steps between two reports.
        last: The last step that is reported.
        warm_up: Share of the steps in which the old study does not prune.
    """

    objective: Callable[[optuna.trial.Trial], float]
    direction: str
    between: int
    last: int
    warm_up: float = WARM_UP


TASKS: Mapping[str, Task] = {
    "perceptron": Task(perceptron, "maximize", 19, 30),
    "convolutional": Task(convolutional, "minimize", 38, 20),
    "regression": Task(regression, "minimize", 25, 600),
}
SHORT = Task(short_perceptron, "maximize", 19, 12, warm_up=0.0)


@dataclass(frozen=True)
class Pruned:
    """What became of an old study and of the smaller one.

    Attributes:
        old_share: PRUNED trials of the old study's.
        new_share: The same of the smaller study.
        gradients: Gradient evaluations per trial, divided by those of the old study (its steps).
        too_early: Trials that were pruned before their rate had arrived and before a third of the reports.
        old_best: Best value of the old study.
        new_best: Best value of the smaller one.
    """

    old_share: float
    new_share: float
    gradients: float
    too_early: int
    old_best: float
    new_best: float


def compare(
    task: Task, seed: int, trials: int = TRIALS, sampler: optuna.samplers.BaseSampler | None = None
) -> Pruned:
    """Run an old study with Optuna's median pruner, and the smaller one with what galatune makes of it."""
    with tempfile.TemporaryDirectory() as folder:
        old = optuna.create_study(
            study_name="old",
            storage=JournalStorage(JournalFileBackend(f"{folder}/old.log")),
            direction=task.direction,
            sampler=sampler or optuna.samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=round(task.warm_up * task.last)),
        )
        old.optimize(task.objective, n_trials=trials)
        plan = galatune.scan(f"{folder}/old.log")
        only = {"repeats": 0, "confirm": False}  # what comes on top of a search is not pruned
        new = galatune.run(plan, task.objective, into=f"{folder}/new.log", trials=trials, seed=seed, **only)
        steps = task.between * sum(len(trial.intermediate_values) for trial in old.trials)
        spent = sum(trial.user_attrs[RECORD]["gradient_evaluations"] for trial in new.trials)
        most = max(len(trial.intermediate_values) for trial in new.trials)
        early = [trial for trial in _pruned(new) if not _arrived(trial, most)]
        shares = (len(_pruned(old)) / trials, len(_pruned(new)) / trials)
        return Pruned(*shares, spent / steps, len(early), old.best_value, new.best_value)


def _pruned(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.trials if trial.state == TrialState.PRUNED]


def _arrived(trial: FrozenTrial, most: int) -> bool:
    """Whether a trial was pruned at a rate that had arrived, as its record says, or after enough reports."""
    kinds = {event[2] for event in trial.user_attrs[RECORD]["events"]}
    return "short" not in kinds or 3 * len(trial.intermediate_values) >= most


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    for word in sys.argv[1:]:
        for name, one in TASKS.items():
            found = compare(one, int(word))
            print(
                f"{name}, seed {word}: pruned {found.old_share:.0%} before, {found.new_share:.0%} "
                f"under control, {found.too_early} too early; gradients {found.gradients:.2f} times; best "
                f"{found.old_best:.4f} and {found.new_best:.4f}",
                flush=True,
            )
