"""Copied and unpickled optimizers have lost their hooks, and say so; their state is plain."""

from __future__ import annotations

import ast
import copy
import gc
import io
import pickle
import subprocess
import sys
import textwrap
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import AdamW, Optimizer

from galatune import attach

from .training import batches, classifier, train

IN_ANOTHER_PROCESS = """
    import pickle, sys, warnings

    assert not any(name.startswith("galatune") for name in sys.modules)
    with open(sys.argv[1], "rb") as file:
        net, optimizer = pickle.load(file)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            optimizer.zero_grad()
            net(net[0].weight.new_ones(2, 4)).sum().backward()
            optimizer.step()
    print([str(one.message) for one in seen])
"""


def test_unpickled_optimizer_warns_in_a_process_that_never_imported_galatune(tmp_path):
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=0.1)
    _ = attach(optimizer)
    train(net, optimizer, batches(5))
    (tmp_path / "pickled").write_bytes(pickle.dumps((net, optimizer)))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(IN_ANOTHER_PROCESS), str(tmp_path / "pickled")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (message,) = ast.literal_eval(done.stdout)
    assert message.startswith("this AdamW is a copy of a controlled optimizer and is not under control")


def copied_by_pickle(given: Any) -> Any:
    return pickle.loads(pickle.dumps(given))


COPIES = {"copied": copy.deepcopy, "unpickled": copied_by_pickle}


def one_copy(how: str, steps: int = 5) -> tuple[nn.Module, Optimizer]:
    """A copy of an optimizer that is gone."""
    net = classifier()
    optimizer = AdamW(net.parameters(), lr=0.1)
    _ = attach(optimizer)
    train(net, optimizer, batches(steps))
    return COPIES[how]((net, optimizer))


@pytest.mark.parametrize("how", COPIES)
def test_copy_warns_once_also_if_the_original_is_gone(how):
    net, optimizer = one_copy(how)
    gc.collect()
    with pytest.warns(UserWarning, match=r"galatune\.attach\(optimizer\) continues") as seen:
        train(net, optimizer, batches(3))
    assert len(seen) == 1
    train(net, optimizer, batches(3))


@pytest.mark.parametrize("steps", [4, 5, 40])
@pytest.mark.parametrize("how", COPIES)
def test_state_of_a_copy_without_hooks_is_plain(how, steps):
    net, optimizer = one_copy(how, steps)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other = classifier()
    other.load_state_dict(net.state_dict())
    twin = AdamW(other.parameters(), lr=0.1)
    twin.load_state_dict(state)
    pair = attach(optimizer), attach(twin)
    train(net, optimizer, batches(30))
    train(other, twin, batches(30))
    assert pair[0].steps == steps + 30
    assert pair[0].history == pair[1].history != []


@pytest.mark.parametrize("how", COPIES)
def test_copy_that_is_attached_goes_through_a_distributed_checkpoint(how, tmp_path):
    net, optimizer = one_copy(how, 45)
    first = attach(optimizer)
    other = classifier()
    twin = AdamW(other.parameters(), lr=0.1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torch.distributed")  # without processes it says so
        saved = {"net": net.state_dict(), "optimizer": get_optimizer_state_dict(net, optimizer)}
        checkpoint.save(saved, checkpoint_id=tmp_path, no_dist=True)
        second = attach(twin)
        loaded = {"net": other.state_dict(), "optimizer": get_optimizer_state_dict(other, twin)}
        checkpoint.load(loaded, checkpoint_id=tmp_path, no_dist=True)
        other.load_state_dict(loaded["net"])
        set_optimizer_state_dict(other, twin, loaded["optimizer"])
    train(net, optimizer, batches(40))
    train(other, twin, batches(40))
    assert first.steps == second.steps == 85
    assert first.history == second.history != []
