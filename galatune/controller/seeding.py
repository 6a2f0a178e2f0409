"""Random states of everything that a training loop draws from."""

from __future__ import annotations

import random

import numpy as np
import torch

__all__ = ["reseeded", "seed_everything"]


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def reseeded(seed: int) -> bool:
    """Whether somebody has seeded torch anew since `seed_everything(seed)`."""
    return torch.initial_seed() != seed
