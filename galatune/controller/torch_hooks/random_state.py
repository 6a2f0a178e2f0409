"""Random states of everything that a training loop draws from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["RandomState", "reseeded", "restored_afterwards", "seed_everything", "undrawn"]


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def reseeded(seed: int) -> bool:
    """Whether somebody has seeded torch anew since `seed_everything(seed)`."""
    return torch.initial_seed() != seed


@dataclass(frozen=True)
class RandomState:
    """State of the generators of Python, numpy and torch (CPU and CUDA devices)."""

    python: Any
    numpy: Any
    cpu: Tensor
    cuda: Mapping[int, Tensor]

    @classmethod
    def now(cls, devices: Sequence[int] = ()) -> RandomState:
        """The present state; ``devices`` are indices of CUDA devices."""
        cuda = {index: torch.cuda.get_rng_state(index) for index in devices}
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda)

    def restore(self) -> None:
        """Put the generators back into this state."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        for index, state in self.cuda.items():
            torch.cuda.set_rng_state(state, index)

    def in_plain_types(self) -> dict[str, Any]:
        """As tensors, numbers and strings, which load under ``torch.load(weights_only=True)``."""
        version, words, pending = self.python
        name, keys, *rest = self.numpy
        return {
            "python": [version, torch.tensor(words, dtype=torch.int64), pending],
            "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],
            "cpu": self.cpu,
            "cuda": dict(self.cuda),
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> RandomState:
        """From `in_plain_types`."""
        version, words, pending = plain["python"]
        name, keys, *rest = plain["numpy"]
        numpy = (name, keys.cpu().numpy().astype(np.uint32), *rest)
        cuda = {index: state.cpu() for index, state in plain["cuda"].items()}
        return cls((version, tuple(words.tolist()), pending), numpy, plain["cpu"].cpu(), cuda)


@contextmanager
def undrawn(devices: Sequence[int] = ()) -> Iterator[None]:
    """Restore the generators afterwards, so that what is drawn inside is drawn again."""
    before = RandomState.now(devices)
    try:
        yield
    finally:
        before.restore()


@contextmanager
def restored_afterwards() -> Iterator[None]:
    """Whatever is seeded or drawn inside, the caller draws what it would have drawn without it.

    Python, numpy and torch, with every CUDA device. CUDA that was not in use before is not started for
    this: it is seeded as torch was.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else range(0)
    seed = torch.initial_seed()
    with undrawn(devices):
        try:
            yield
        finally:
            if not devices:
                torch.cuda.manual_seed_all(seed)
