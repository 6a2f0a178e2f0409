"""A worker of a search that is about to be killed, and what it writes down outside of the study."""

from __future__ import annotations

import os
import random
import time
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

import optuna
import torch
from tiny_search import make, train

from galatune.study.ledger.attributes import TICKET
from galatune.study.scan.scan import scan
from galatune.study.search.run import run

NOTES = "executions.txt"
REPEATS = 3


def note(*words: object) -> None:
    """Append one line, in one write."""
    line = " ".join(map(str, (*words, time.monotonic()))) + "\n"
    descriptor = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def objective(trial: Any) -> float:
    """Trains a little, and writes down when."""
    who = (trial.user_attrs[TICKET], trial.number, os.getpid())
    note("begin", *who)
    pause = random.SystemRandom().uniform(0.0, 0.15)
    net = make(trial)
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=trial.suggest_float("lr", 1e-5, 1.0, log=True), weight_decay=decay
    )
    for step in range(4):
        time.sleep(pause)
        value = train(optimizer, net, steps=2)
        trial.report(value, step)
        note("tick", *who)
    note("end", *who, repr(value))
    return value


def work(folder: str, into: str, trials: int) -> None:
    """Run the smaller study as `galatune run` does."""
    os.chdir(folder)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    output = Path(f"worker-{os.getpid()}.txt")
    with output.open("w") as lines, redirect_stderr(lines), suppress(KeyboardInterrupt):
        run(scan("old.log"), objective, into=into, trials=trials, repeats=REPEATS)
