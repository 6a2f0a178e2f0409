"""The GPUs that torch sees in this process."""

from __future__ import annotations

import os

import torch

__all__ = ["VISIBLE", "visible_gpus"]

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that names the GPUs of a process."""


def visible_gpus() -> tuple[str, ...]:
    """Their names as CUDA_VISIBLE_DEVICES takes them; empty if there are none.

    If that variable is set, it is believed: what stands behind an empty name or -1 is not visible. Otherwise
    torch counts, which makes no context on any of them.
    """
    given = os.environ.get(VISIBLE)
    if given is None:
        return tuple(str(number) for number in range(torch.cuda.device_count()))
    names = [name.strip() for name in given.split(",")]
    hidden = next((place for place, name in enumerate(names) if name in ("", "-1")), len(names))
    return tuple(names[:hidden])
