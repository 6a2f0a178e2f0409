"""What one call of a closure does, seen from outside while the loop makes it: nothing is called twice."""

from __future__ import annotations

import dis
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as module_hooks
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from galatune.controller.torch_hooks.backward import attend, leaves, listen, nodes, unlisten
from galatune.controller.torch_hooks.closure_state import ReachableState
from galatune.controller.torch_hooks.distributed import count, local

__all__ = ["ClosureCall", "ObservedClosure", "ignores_closure"]

Closure = Callable[[], Any]

HEAD = 16
"""Number of entries of a parameter that are compared, to see whether it moved."""

EFFECTS: Mapping[str, Mapping[str, str]] = {
    "torch.optim.lr_scheduler": {"step": "a step of a learning-rate schedule"},
    "torch.optim.swa_utils": {"update_parameters": "an average of weights"},
    "torch.optim.optimizer": {"wrapper": "a step of an optimizer"},
    "torch.amp.grad_scaler": dict.fromkeys(("unscale_", "step", "update"), "a GradScaler's state"),
    "logging": {"_log": "logging"},
}
"""Functions by module and name, and what calling them once more would repeat."""

LIBRARIES: Mapping[str, str] = {
    "torchmetrics.metric": "a metric of torchmetrics",
    "torcheval.metrics.metric": "a metric of torcheval",
    "torcheval.metrics.toolkit": "a metric of torcheval",
    "ignite.metrics": "a metric of ignite",
    "torch_ema": "an average of weights",
    "ema_pytorch": "an average of weights",
    "timm.utils.model_ema": "an average of weights",
    **dict.fromkeys(
        (
            "torch.utils.tensorboard",
            "tensorboardX",
            "wandb",
            "mlflow",
            "comet_ml",
            "neptune",
            "aim",
            "clearml",
        ),
        "logging",
    ),
    **dict.fromkeys(("tqdm", "rich.progress"), "a progress bar"),
}
"""Modules, with those below them, any function of which has an effect."""

ROOTS = {name.partition(".")[0] for name in (*EFFECTS, *LIBRARIES)}

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
OF_OBJECTS = ("_call_impl", "unscale_", "step", "update")
"""Methods whose object matters."""

OWN = ("torch", "galatune")
"""Packages whose hooks on modules are part of what is computed (spectral norm, shards)."""


@dataclass(frozen=True)
class ClosureCall:
    """What a call of a closure did.

    Attributes:
        computes: It wrote gradients of the optimizer's parameters.
        adds: Gradients were there already when it went backward.
        older_graph: It went backward through what was computed before it was called.
        moved: The optimizer had moved the parameters before it called the closure.
        draws: It drew from an iterator, and left some of it.
        effects: What one more call would repeat, in words.
    """

    computes: bool = True
    adds: bool = False
    older_graph: bool = False
    moved: bool = False
    draws: bool = False
    effects: tuple[str, ...] = ()


class ObservedClosure:
    """A closure whose first call is looked at.

    Args:
        closure: It is called as it is; what it returns and raises is passed on.
        parameters: Of the optimizer, before its step.
        seen: Told what the first call did, unless that raised.
    """

    def __init__(
        self, closure: Closure, parameters: Sequence[Tensor], seen: Callable[[ClosureCall], None]
    ) -> None:
        self._closure, self._parameters, self._seen = closure, parameters, seen
        self._called = False
        self._before = [_head(p) for p in parameters]

    def __call__(self) -> Any:
        """Call the closure."""
        if self._called:
            return self._closure()
        self._called = True
        now = [_head(p) for p in self._parameters]
        moved = any(not torch.equal(p, old) for p, old in zip(now, self._before, strict=True))
        self._before = []
        gradients = [(p.grad, _version(p.grad)) for p in self._parameters]
        calls, backwards, state = _Calls(), _Backwards(self._parameters), ReachableState(self._closure)
        with calls.watched(), backwards.watched():
            returned = self._closure()
        written = any(
            p.grad is not None and (p.grad is not old or (_version(p.grad) != version and not calls.clips))
            for p, (old, version) in zip(self._parameters, gradients, strict=True)
        )
        self._seen(
            ClosureCall(
                computes=backwards.reached or written,
                adds=backwards.adds,
                older_graph=backwards.older_graph,
                moved=moved,
                draws=calls.draws or state.drawn(),
                effects=(*calls.effects, *(f"it changes {name}" for name in state.changed()[:3])),
            )
        )
        return returned


def ignores_closure(optimizer: Optimizer) -> bool:
    """Whether the optimizer's ``step`` has an argument ``closure`` and never looks at it."""
    try:
        code = inspect.unwrap(type(optimizer).step).__code__
    except (AttributeError, ValueError):
        return False
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if "closure" not in arguments or "closure" in code.co_cellvars:
        return False
    return not any(
        "closure" in (one.argval if isinstance(one.argval, tuple) else (one.argval,))
        or (one.opname == "LOAD_GLOBAL" and one.argval == "locals")
        for one in dis.get_instructions(code)
        if one.opname.startswith("LOAD")
    )


class _Backwards:
    """Listens to the backward calls that reach these parameters."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters, self._wanted = parameters, {id(p) for p in parameters}
        self.reached = self.adds = self.older_graph = False
        self._first_node = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        with torch.enable_grad():
            mark: Any = torch.zeros((), requires_grad=True).clone().grad_fn
        self._first_node = mark._sequence_nr()
        listen(self)
        attend(self, True)
        try:
            yield
        finally:
            unlisten(self)

    def saw_backward(self, outputs: Sequence[Any], grad_outputs: Any, inputs: Any) -> None:
        reached = {id(leaf) for leaf in leaves(outputs)}
        if inputs is not None:
            reached &= {id(wanted) for wanted in inputs}
        if not reached & self._wanted:
            return
        if not self.reached:
            self.reached = True
            self.adds = bool(count(torch.count_nonzero, [p.grad for p in self._parameters]))
        # Nodes are numbered in the order in which a thread makes them; those of leaves have the last number.
        self.older_graph |= any(node._sequence_nr() < self._first_node for node in nodes(outputs))


class _Calls:
    """Looks at which Python functions are called, by Python's own hook for that."""

    def __init__(self) -> None:
        self.effects: dict[str, None] = {}
        self.clips = False
        self._drawn: set[int] = set()
        if any(_foreign(hook) for name in GLOBAL_HOOKS for hook in getattr(module_hooks, name).values()):
            self.effects["a hook on modules"] = None

    @property
    def draws(self) -> bool:
        """Whether an iterator of a DataLoader was drawn from and is not exhausted."""
        return bool(self._drawn)

    @contextmanager
    def watched(self) -> Iterator[None]:
        if sys.getprofile() is not None:  # somebody profiles: then there is less to be seen
            yield
            return
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _called(self, frame: Any, event: str, argument: Any) -> None:
        if event == "c_call" and argument is print:
            self.effects["print"] = None
        if event not in ("call", "return"):
            return
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] not in ROOTS:
            return
        name = frame.f_code.co_name
        if module == "torch.utils.data.dataloader":
            self._look_at_draw(name, frame.f_locals.get("self"), event == "return" and argument is None)
        elif module == "torch._dynamo.convert_frame":
            sys.setprofile(None)  # compiling calls millions of functions
        elif event == "call":
            self._look_at(module, name, frame.f_locals.get("self") if name in OF_OBJECTS else None)

    def _look_at(self, module: str, name: str, called: Any) -> None:
        if module == "torch.nn.modules.module" and name == "_call_impl":
            hooks = [hook for kind in HOOKS for hook in (getattr(called, kind, None) or {}).values()]
            if any(map(_foreign, hooks)):
                self.effects["a hook on modules"] = None
        self.clips |= module == "torch.nn.utils.clip_grad"
        effect = EFFECTS.get(module, {}).get(name) or _library(module)
        if effect is not None and getattr(called, "_enabled", True):  # a GradScaler may do nothing
            self.effects[effect] = None

    def _look_at_draw(self, name: str, iterator: Any, exhausted: bool) -> None:
        """Of an iterator that is made and exhausted within the call, each call sees the same minibatches."""
        if name == "__next__":
            (self._drawn.discard if exhausted else self._drawn.add)(id(iterator))


def _library(module: str) -> str | None:
    return next(
        (effect for name, effect in LIBRARIES.items() if module == name or module.startswith(name + ".")),
        None,
    )


def _foreign(hook: Any) -> bool:
    """Whether somebody else than torch put this hook on a module."""
    while isinstance(hook, functools.partial):
        hook = hook.func
    owner = hook if inspect.isroutine(hook) else type(hook)
    return str(getattr(owner, "__module__", None)).partition(".")[0] not in OWN


def _head(tensor: Tensor) -> Tensor:
    if is_lazy(tensor):
        return torch.empty(0)
    return local(tensor.detach()).reshape(-1)[:HEAD].clone()


def _version(tensor: Tensor | None) -> int:
    return 0 if tensor is None or tensor.is_inference() else tensor._version
