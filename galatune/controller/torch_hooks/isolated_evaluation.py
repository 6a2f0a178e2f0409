"""One more evaluation of a closure, after which everything in the training loop is as it was."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.modules import module as module_hooks

from galatune.controller.torch_hooks.backward import leaves, listening_alone
from galatune.controller.torch_hooks.random_state import undrawn

__all__ = ["isolated_evaluation"]


@contextmanager
def isolated_evaluation(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Undo what one more evaluation changes: gradients, random states, buffers of every module called."""
    gradients, buffers = _Gradients(parameters), _Buffers()
    devices = sorted({p.get_device() for p in parameters if p.device.type == "cuda"})
    try:
        with (
            undrawn(devices),
            torch.enable_grad(),
            buffers.saved(),
            listening_alone(gradients),
        ):
            yield
    finally:
        buffers.restore()
        gradients.restore()


class _Gradients:
    """Sets the ``.grad`` of every leaf that a backward call reaches aside, whoever it belongs to."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._aside: dict[int, tuple[Tensor, Tensor | None]] = {}
        self._set_aside(parameters)

    def saw_backward(self, outputs: Sequence[Any], grad_outputs: Any, inputs: Any) -> None:
        self._set_aside(leaves(outputs))

    def restore(self) -> None:
        for leaf, gradient in self._aside.values():
            leaf.grad = gradient

    def _set_aside(self, tensors: Sequence[Tensor]) -> None:
        for leaf in tensors:
            if id(leaf) not in self._aside:
                self._aside[id(leaf)] = (leaf, leaf.grad)
                leaf.grad = None


class _Buffers:
    """Copies of the buffers of every module that is called."""

    def __init__(self) -> None:
        self._modules: dict[int, Module] = {}
        self._saved: list[tuple[Module, str, Tensor, Tensor]] = []

    @contextmanager
    def saved(self) -> Iterator[None]:
        hook = module_hooks.register_module_forward_pre_hook(self._save)
        try:
            with warnings.catch_warnings():
                # A compiled module is called through two modules; that the hook fires twice is no matter.
                warnings.filterwarnings("ignore", message="Using `torch.compile.*global hooks on modules")
                yield
        finally:
            hook.remove()

    def restore(self) -> None:
        with torch.no_grad():
            for module, name, buffer, values in self._saved:
                buffer.copy_(values)
                module._buffers[name] = buffer  # a module may have put another tensor in its place

    def _save(self, module: Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            return  # traced into a graph; the module that holds this one has been seen
        for part in module.modules():
            if id(part) in self._modules:
                continue
            self._modules[id(part)] = part
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    self._saved.append((part, name, buffer, buffer.detach().clone()))
