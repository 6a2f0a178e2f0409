"""What a training needs to go on, bit for bit as if it had not stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from galatune.tabular.net import MLP

__all__ = ["TrainingState", "on_cpu"]


@dataclass(frozen=True)
class TrainingState:
    """The state of a training between two epochs; all of its tensors are on the CPU.

    Attributes:
        network: Averaged weights of all members, in float32.
        weights: The weights that are trained, by name.
        members: The members that predict.
        optimizer: State of the optimizer, and that of the controller in it.
        generator: State of the random generator, bytes.
        device: Kind of device that the generator belongs to, such as "cpu".
        averaged_steps: Steps that the average is made of.
        steps: Steps taken so far.
    """

    network: MLP
    weights: dict[str, Tensor]
    members: slice
    optimizer: dict[str, Any]
    generator: Tensor
    device: str
    averaged_steps: int
    steps: int


def on_cpu(tree: Any) -> Any:
    """Return a copy whose tensors are on the CPU and share nothing with the original.

    Args:
        tree: Dictionaries, lists and tuples of tensors and other values.

    Example:
        >>> import torch
        >>> on_cpu({"step": torch.ones(2), "betas": (0.9, 0.95)})
        {'step': tensor([1., 1.]), 'betas': (0.9, 0.95)}
    """
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, Mapping):
        return {key: on_cpu(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(on_cpu(value) for value in tree)
    return tree
