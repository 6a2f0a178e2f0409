"""What galatune changes in torch and in Python, all of it, and that it is as it was afterwards."""

from __future__ import annotations

import ast
import gc
import random
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from controller.training import batches, train
from torch import nn
from torch.nn import functional
from torch.nn.modules import module as module_hooks
from torch.optim import AdamW, Optimizer
from torch.optim import optimizer as optimizer_hooks
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from galatune.controller import attach, controlled
from galatune.controller.state import lost_hooks

REPOSITORY = Path(__file__).parents[1]

# -- the list: whoever changes something else has to add it here, with how it is undone

LIST = {
    # torch, by the controller
    "galatune/controller/torch_hooks/optimizer_watch.py": {
        # off with the last block
        *("Patch(Optimizer.__init__)", "Patch(Optimizer.load_state_dict)", "Patch(LRScheduler.__init__)"),
        "SharedHook(register_optimizer_step_pre_hook)",  # the same
    },
    "galatune/controller/torch_hooks/attention.py": {
        "Patch(Module.__call__)",  # off once no probed step is in its forward
        "sdpa_kernel()",  # a block around one call of a module
    },
    "galatune/controller/torch_hooks/backward.py": {"Patch(torch.autograd.backward)"},  # the last listener
    "galatune/controller/torch_hooks/closure_call.py": {"sys.setprofile()"},  # a block around one call
    "galatune/controller/torch_hooks/dataloader.py": {"Patch(_BaseDataLoaderIter.__next__)"},  # the same
    "galatune/controller/torch_hooks/isolated_evaluation.py": {
        # a block around one more evaluation of a closure
        "module_hooks.register_module_forward_pre_hook()",
        "warnings.filterwarnings()",
    },
    "galatune/controller/torch_hooks/optimizer_step.py": {
        "SharedHook(register_optimizer_step_post_hook)",  # the last controller; a copy keeps it
        # all of one optimizer: gone with `detach`
        "optimizer.step",
        "optimizer.register_step_pre_hook()",
        "optimizer.register_step_post_hook()",
        "optimizer.register_load_state_dict_post_hook()",
        "optimizer.register_state_dict_post_hook()",
    },
    "galatune/controller/torch_hooks/patch.py": {
        "delattr()",
        "setattr()",
    },  # what each Patch above goes through
    "galatune/controller/torch_hooks/random_state.py": {
        # `seed_everything` inside `restored_afterwards`; a probe that repeats random numbers restores them
        "np.random.seed()",
        "np.random.set_state()",
        "random.seed()",
        "random.setstate()",
        "torch.cuda.manual_seed_all()",
        "torch.cuda.set_rng_state()",
        "torch.manual_seed()",
        "torch.set_rng_state()",
    },
    # by the testbed
    "galatune/bench/cost/gradients.py": {"torch.manual_seed()"},  # its own process seeds itself
    "galatune/bench/cost/short.py": {"torch.manual_seed()", "torch.set_num_threads()"},  # likewise
    "galatune/bench/studies/meter.py": {"register_optimizer_step_post_hook()"},  # a block around one training
    "galatune/bench/studies/search.py": {"torch.manual_seed()"},  # as in the first line
    "galatune/bench/cost/workers.py": {"optuna.logging.set_verbosity()"},  # the same
    "galatune/bench/prior/trainings.py": {  # as in the first line
        "optuna.logging.set_verbosity()",
        "torch.manual_seed()",
        "torch.set_num_threads()",
    },
    "galatune/bench/studies/testbed.py": {
        *("optuna.logging.set_verbosity()", "torch.set_num_threads()"),  # the command is a process of its own
        "warnings.simplefilter()",  # a block around one unit
    },
    "galatune/study/search/sampler.py": {"warnings.simplefilter()"},  # a block around making a sampler
    "galatune/controller/torch_hooks/traced_rates.py": {
        # off with the last `tracing` block
        *("Patch(Optimizer.add_param_group)", "Patch(Optimizer.state_dict)"),
        *("Patch(lr_scheduler.LRScheduler.__init__)", "Patch(lr_scheduler.LRScheduler.__setattr__)"),
        *("Patch(torch.serialization._save)", "Patch(torch.serialization._legacy_save)"),
    },
    "galatune/controller/__init__.py": {"sys.modules.__class__"},  # of galatune.controller alone
    # Python and Optuna, by a search: until the end of the run
    "galatune/study/search/objective.py": {
        *("optuna.Study.optimize", "sys.argv", "sys.modules"),
        *("sys.path", "sys.path.append()", "sys.path.insert()"),
    },
    "galatune/study/search/best_so_far.py": {"study.__class__"},  # a block around one training, or a script
    # until the end of a script
    "galatune/study/search/working_folder.py": {"os.chdir()"},  # a block; both folders are what they were
    "galatune/study/search/scripts/other_processes.py": {"one.__init__"},  # in processes of the script alone
    "galatune/study/search/scripts/running.py": {"sys.argv", "sys.path", "sys.path.insert()"},
    "galatune/study/search/scripts/script_storage.py": {
        *("made.__class__", "storage.__class__"),  # of a storage object that the script made itself
    },
    "galatune/study/search/scripts/loops.py": {"sys.settrace()"},  # until the next line of the script
    "galatune/study/search/scripts/study_patch.py": {
        *(
            "Patch(optuna.storages.get_storage)",
            "Patch(RDBStorage.__init__)",
            "Patch(JournalStorage.__init__)",
        ),
        *("Patch(JournalFileBackend.__init__)", "Patch(GrpcStorageProxy.__init__)"),
        *("Patch(optuna.Study.__init__)", "Patch(optuna.Study.optimize)", "Patch(optuna.Study.ask)"),
        *("Patch(optuna.Study.tell)", "Patch(optuna.Study.stop)", "Patch(optuna.Study.add_trial)"),
        *("Patch(optuna.Study.enqueue_trial)", "Patch(BaseProcess.start)"),
    },
    "galatune/study/search/scripts/dry_call.py": {
        "optuna.logging.set_verbosity()"
    },  # a block around one call
    "galatune/study/search/blocks.py": {"optuna.logging.set_verbosity()"},
    "galatune/study/search/signals.py": {"signal.signal()"},
    # worker processes: of their own, and what they inherit while they are started
    "galatune/study/search/processes/origin.py": {"os.chdir()"},
    "galatune/study/search/processes/shares.py": {
        *("os.environ", "os.environ.pop()", "os.environ.update()"),
    },
    "galatune/study/search/processes/team.py": {"sys.modules"},
    "galatune/study/search/processes/worker.py": {"signal.signal()"},
    "galatune/study/storage/reading.py": {"warnings.simplefilter()"},
    # processes of a command of ours
    "galatune/cli/demo.py": {"optuna.logging.set_verbosity()"},
    "galatune/cli/main.py": {"os.environ"},  # COLUMNS=0, for the command's own process
    "galatune/cli/progress.py": {"sys.stderr", "sys.stdout"},
    "galatune/demo/baseline.py": {"torch.manual_seed()"},
    "galatune/demo/objective.py": {"torch.set_num_threads()"},
    "galatune/bench/controller/runs.py": {"torch.manual_seed()", "torch.set_num_threads()"},
    "galatune/bench/controller/tasks/images.py": {"torch.manual_seed()"},
    "galatune/bench/cost/side.py": {
        *("torch.cuda.set_sync_debug_mode()", "torch.manual_seed()"),
        *("torch.set_warn_always()", "warnings.simplefilter()"),
    },
    # blocks around reading a file, fitting to one, and logging a fit
    "galatune/tabular/files/fitting.py": {"warnings.simplefilter()"},
    "galatune/tabular/files/reading.py": {"warnings.simplefilter()"},
    "integrations/galatune_mlflow/autologging.py": {"warnings.simplefilter()"},
    # MLflow's settings, while it sends
    "integrations/galatune_mlflow/__init__.py": {"os.environ.setdefault()"},
    "integrations/galatune_mlflow/connection.py": {"os.environ.pop()", "os.environ.update()"},
}

CALLS = re.compile(
    r"(setattr|delattr|sdpa_kernel|(\w+\.)*register_\w*hook|signal\.signal|sys\.path\.\w+|sys\.set\w+"
    r"|torch\.(cuda\.)?(set_\w+|use_\w+|manual_seed\w*)|(np\.)?random\.(seed|set_?state)"
    r"|np\.set\w+|warnings\.(simplefilter|filterwarnings)|optuna\.logging\.(set|enable|disable)_\w+"
    r"|os\.(environ\.(setdefault|update|pop)|putenv|chdir|umask)|(\w+\.)*mock\.\w+)$"
)
"""Calls that change something which others see."""

METHODS = ("step", "backward", "forward", "zero_grad", "__call__", "__init__", "__next__", "__class__")


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Subscript):
        return dotted(node.value)
    return node.id if isinstance(node, ast.Name) else "?"


def called(node: ast.Call) -> Iterator[str]:
    name = dotted(node.func)
    if CALLS.match(name):
        yield f"{name}()"
    if name == "Patch":
        yield f"Patch({dotted(node.args[0])}.{ast.literal_eval(node.args[1])})"
    hooks = [one for one in map(dotted, node.args) if re.match(r"register_optimizer_\w+_hook$", one)]
    yield from (f"SharedHook({hook})" for hook in hooks)


def set_by(node: ast.AST, foreign: set[str]) -> Iterator[str]:
    """Attributes and items of what was imported that a statement sets, and methods of any object."""
    given = getattr(node, "targets", None) or [getattr(node, "target", None)]
    for target in [part for one in given for part in getattr(one, "elts", [one])]:
        name = dotted(target) if isinstance(target, (ast.Attribute, ast.Subscript)) else ""
        first, last = name.partition(".")[0], name.rpartition(".")[2]
        if name and (first in foreign or (last in METHODS and first != "self")):
            yield name


def changes(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    foreign = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        and (getattr(node, "module", None) or "").partition(".")[0] != "galatune"
        for alias in node.names
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found.update(called(node))
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)):
            found.update(set_by(node, foreign))
    return found


def test_the_list_is_complete() -> None:
    found = {}
    for folder in ("galatune", "integrations"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if here := changes(path):
                found[path.relative_to(REPOSITORY).as_posix()] = here
    assert found == LIST


# -- what is patched is put back


PATCHED = {
    "backward": lambda: torch.autograd.backward,
    "call": lambda: nn.Module.__call__,
    "constructor": lambda: Optimizer.__init__,
    "minibatch": lambda: _BaseDataLoaderIter.__next__,
    "step hooks before": lambda: tuple(optimizer_hooks._global_optimizer_pre_hooks),
    "step hooks after": lambda: tuple(optimizer_hooks._global_optimizer_post_hooks),
    "forward hooks": lambda: tuple(module_hooks._global_forward_pre_hooks),
    "kernels": lambda: (
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
        torch.backends.cuda.cudnn_sdp_enabled(),
    ),
    "profile": lambda: sys.getprofile(),
    "warnings": lambda: [one for one in warnings.filters if "global hooks on modules" in str(one[1])],
}
"""Everything of the process that the list names for the controller, but random states."""


def present() -> dict[str, Any]:
    return {name: look() for name, look in PATCHED.items()}


def different(before: dict[str, Any]) -> set[str]:
    return {name for name, value in present().items() if value != before[name]}


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Optimizers of tests before are gone, and copies, which use the hook for good, let it go meanwhile."""
    gc.collect()
    users = lost_hooks._users
    for _ in range(users):
        lost_hooks.leave()
    yield
    gc.collect()
    for _ in range(users):
        lost_hooks.use()


class Attending(nn.Module):
    """Attention, batch normalization and dropout: with them each probe makes all of its patches.

    Args:
        watch: Called in each forward.
    """

    def __init__(self, watch: Callable[[], Any] = lambda: None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)
        self.norm, self.dropout, self.watch = nn.BatchNorm1d(8), nn.Dropout(0.1), watch

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.watch()
        hidden = self.first(inputs)[None, None]
        hidden = functional.scaled_dot_product_attention(hidden, hidden, hidden)[0, 0]
        return self.last(self.dropout(self.norm(hidden)))


PROBES = {
    "closure": {"forward hooks", "warnings", "profile"},
    "graph": {"call", "kernels"},
    "echo": {"minibatch"},
    "consecutive": set(),
}
"""What each probe is seen to change during a training, beside `ALWAYS`."""

ALWAYS = {"backward", "step hooks after"}
"""The losses are watched, and lost hooks."""


class StoppedError(Exception):
    """Raised by a loop."""


class Loop:
    """A training that a probe serves, and what is changed meanwhile.

    Args:
        probe: The probe.
        until: Number of forwards after which it raises; None for never.
    """

    def __init__(self, probe: str, until: int | None = None) -> None:
        self.before, self.seen, self.left = present(), set(), until
        self.net, self.probe = Attending(self.watch), probe
        self.optimizer = AdamW(self.net.parameters(), lr=1.0)

    def watch(self) -> None:
        self.seen |= different(self.before)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise StoppedError

    def run(self, steps: int = 12) -> None:
        torch.manual_seed(1)  # for dropout
        for batch in DataLoader(batches(steps), batch_size=None):
            self.seen |= different(self.before)
            train(self.net, self.optimizer, [batch], closure=self.probe == "closure")


def assert_own(optimizer: Optimizer) -> None:
    """Nothing of ours is on it."""
    assert "step" not in optimizer.__dict__
    assert not any("galatune" in group for group in optimizer.param_groups)
    assert not any(value for name, value in vars(optimizer).items() if "hooks" in name)


@pytest.mark.parametrize("probe", PROBES)
def test_detached_optimizer_leaves_nothing_behind(probe):
    loop = Loop(probe)
    controller = attach(loop.optimizer, probe=probe)
    loop.run()
    assert loop.seen == PROBES[probe] | ALWAYS
    assert controller.probes > 3
    controller.detach()
    assert not different(loop.before)
    assert_own(loop.optimizer)


@pytest.mark.parametrize("probe", PROBES)
def test_block_leaves_nothing_behind(probe):
    loop = Loop(probe)
    with controlled(probe=probe):
        loop.run()
    assert loop.seen == PROBES[probe] | ALWAYS | {"step hooks before", "constructor"}
    assert not different(loop.before)
    assert_own(loop.optimizer)


@pytest.mark.parametrize("steps", [2, 3, 12])
@pytest.mark.parametrize("probe", PROBES)
def test_collected_optimizer_leaves_nothing_behind(probe, steps):
    loop = Loop(probe)
    _ = attach(loop.optimizer, probe=probe)
    loop.run(steps)
    before = loop.before
    del loop, _
    gc.collect()  # the net knows the loop that watches it
    assert not different(before)


@pytest.mark.parametrize("probe", PROBES)
def test_body_that_raises_leaves_nothing_behind(probe):
    """In any forward: of an ordinary step, of one that is remembered or probed, or of a probe's own."""
    for forwards in range(18):
        loop = Loop(probe, forwards)
        with pytest.raises(StoppedError), controlled(probe=probe):
            loop.run(steps=20)
        assert not different(loop.before), forwards
        assert_own(loop.optimizer)


@pytest.mark.parametrize("probe", PROBES)
def test_step_that_raises_leaves_patches_to_detach(probe):
    for forwards in range(18):
        loop = Loop(probe, forwards)
        controller = attach(loop.optimizer, probe=probe)
        with pytest.raises(StoppedError):
            loop.run(steps=20)
        assert not different(loop.before) & {"forward hooks", "warnings"}
        assert loop.optimizer.param_groups[0]["lr"] == 1.0
        loop.left = None
        loop.run(steps=3)
        controller.detach()
        assert not different(loop.before), forwards


@pytest.mark.parametrize("ends", ["detach", "collected"])
@pytest.mark.parametrize("probe", PROBES)
def test_the_first_of_two_users_leaves_the_patches_to_the_other(probe, ends):
    alone = Loop(probe)
    expected = attach(alone.optimizer, probe=probe)
    alone.run(30)
    expected.detach()
    before = present()
    first, second = Loop(probe), Loop(probe)
    first.before = second.before = before
    leaving, staying = attach(first.optimizer, probe=probe), attach(second.optimizer, probe=probe)
    first.run(5)
    if ends == "detach":
        leaving.detach()
    else:
        del first, leaving
        gc.collect()
    assert different(before) == different(before) | {"step hooks after"}
    second.run(30)
    assert staying.history == expected.history
    staying.detach()
    assert not different(before)


def test_nested_blocks_share_the_patches_until_the_last_one_ends():
    before = present()
    with controlled():
        with controlled():
            pass
        assert different(before) == {"constructor", "step hooks before"}
    assert not different(before)


def test_patches_that_another_library_wrapped_stay_and_do_nothing(monkeypatch):
    before, loop = present(), Loop("graph")
    controller = attach(loop.optimizer, probe="graph")
    ours = torch.autograd.backward
    monkeypatch.setattr(torch.autograd, "backward", lambda *args, **kwargs: ours(*args, **kwargs))
    controller.detach()
    assert different(before) == {"backward"}
    evaluations = controller.gradient_evaluations
    loop.run(3)
    assert controller.gradient_evaluations == evaluations
    monkeypatch.undo()
    torch.autograd.backward = before["backward"]  # undo put back ours, which only calls torch's
    assert not different(before)


@pytest.mark.parametrize("probe", PROBES)
def test_random_states_are_those_of_the_loop_alone(probe):
    def after(control: bool) -> list[Any]:
        loop = Loop(probe)
        random.seed(0)
        np.random.seed(0)
        if control:
            attach(loop.optimizer, probe=probe)
        loop.run()
        return [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]

    same = [one == other for one, other in zip(after(True), after(False), strict=True)]
    assert same == [True, True, probe != "echo"]  # which has a loop draw the same numbers twice
