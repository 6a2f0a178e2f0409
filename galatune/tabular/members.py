"""Layers of several networks that are trained side by side, the members."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["FirstLinear", "MemberLinear", "draw_mask"]

DRAWS = 256
"""Dropout probabilities are rounded to multiples of 1 / 256: eight draws are made at once."""


class FirstLinear(nn.Module):
    """One linear layer per member, all on the same inputs.

    Args:
        n_members: Number of members.
        fan_in: Width of the inputs.
        fan_out: Width of the output.
        generator: Source of the initial weights.

    Shape:
        inputs (n_rows, fan_in), output (n_members, n_rows, fan_out).
    """

    def __init__(self, n_members: int, fan_in: int, fan_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.n_members = n_members
        self.weight = _uniform((fan_in, n_members * fan_out), fan_in, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of all members."""
        return (inputs @ self.weight).view(len(inputs), self.n_members, -1).transpose(0, 1)

    @torch.no_grad()
    def keep(self, members: slice) -> None:
        """Forget the other members."""
        fan_in = len(self.weight)
        kept = self.weight.view(fan_in, self.n_members, -1)[:, members]
        self.n_members = kept.shape[1]
        self.weight = nn.Parameter(kept.reshape(fan_in, -1).clone())


class MemberLinear(nn.Module):
    """One linear layer per member, each on its own inputs.

    Args:
        n_members: Number of members.
        fan_in: Width of the inputs.
        fan_out: Width of the output.
        generator: Source of the initial weights; biases begin at 0.

    Shape:
        inputs (n_members, n_rows, fan_in), output (n_members, n_rows, fan_out).
    """

    def __init__(self, n_members: int, fan_in: int, fan_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.fan_in = fan_in
        self.weight = _uniform((n_members, fan_in, fan_out), fan_in, generator)
        self.bias = nn.Parameter(torch.zeros(n_members, 1, fan_out, device=generator.device))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of all members."""
        return torch.baddbmm(self.bias, inputs, self.weight)

    @torch.no_grad()
    def keep(self, members: slice) -> None:
        """Forget the other members."""
        self.weight = nn.Parameter(self.weight[members].clone())
        self.bias = nn.Parameter(self.bias[members].clone())


def draw_mask(shape: tuple[int, ...], dropout: float, generator: torch.Generator) -> Tensor:
    """Draw a dropout mask of 0 or 1 / (1 - dropout).

    Example:
        >>> mask = draw_mask((1000,), 0.25, torch.Generator().manual_seed(0))
        >>> mask.unique().tolist(), round(mask.mean().item(), 1)
        ([0.0, 1.3333333730697632], 1.0)
    """
    dropped, n_entries = min(round(dropout * DRAWS), DRAWS - 1), math.prod(shape)
    draws = torch.empty(-(-n_entries // 8), dtype=torch.int64, device=generator.device)
    bytes_drawn = draws.random_(-(2**63), None, generator=generator).view(torch.uint8)[:n_entries]
    return bytes_drawn.ge(dropped).float().mul_(DRAWS / (DRAWS - dropped)).view(shape)


def _uniform(shape: tuple[int, ...], fan_in: int, generator: torch.Generator) -> nn.Parameter:
    bound = 1 / math.sqrt(max(1, fan_in))
    weight = torch.empty(shape, device=generator.device)
    return nn.Parameter(weight.uniform_(-bound, bound, generator=generator))
