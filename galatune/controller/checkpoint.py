"""A step whose probe is still to come lies in the optimizer's memory: checkpoints and copies carry it.

Shards are left out of ``optimizer.state_dict()``: `torch.distributed.checkpoint` would take those of one rank
for everybody's. A training that goes on from there does without that one probe; with each rank's
``controller.state_dict()`` beside it, it goes on to the last bit.
"""

from __future__ import annotations

import io
import json
from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from galatune.controller.probes.select import PairSource
from galatune.controller.torch_hooks.distributed import is_sharded, local

__all__ = ["SCHEMA", "CarriedStep", "carry", "in_plain_types", "lay_down", "packed", "take_up", "unpack"]

SCHEMA = 1
"""Of a memory; another one is refused."""

CARRIED, PROBE, OWED, MATH = "carried", "probe", "owed", "math_kernel"
"""Keys of a memory: what the probe remembers, only while the next step is probed; the probe's name; whether
a probe is to be made up for; whether attention needs the math kernel."""

NUMBERS = "numbers"
"""Key of a packed memory, under which all but the tensors lie."""

Memory = MutableMapping[str, Any]


class CarriedStep(dict[str, Any]):
    """What the probe remembers, which would fill pages where an optimizer is printed."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)} of {len(self.get('old', ()))} parameters>"


def carry(memory: Memory, pairs: PairSource) -> None:
    """After a step: keep what its probe needs, where it has one."""
    lay_down(memory)
    memory[PROBE] = pairs.name
    memory.pop(MATH, None)
    if pairs.needs_math:
        memory[MATH] = True
    if pairs.owed:
        memory[OWED] = True
    kept = pairs.remembered()
    if kept:
        memory[CARRIED] = CarriedStep(kept)


def lay_down(memory: Memory) -> None:
    """The step was probed, or is not going to be."""
    memory.pop(CARRIED, None)
    memory.pop(OWED, None)


def take_up(memory: Memory, pairs: PairSource, parameters: Sequence[Tensor]) -> None:
    """After a load, or on a copy: the same probe goes on with the same step.

    Where the parameters are others than those that were saved (one was frozen, a group was added), that
    one probe is left out.
    """
    if PROBE not in memory:
        return
    kept = memory.get(CARRIED) or {}
    fits = all(_fit(part, parameters) for part in kept.values() if isinstance(part, list))
    own = {
        name: _placed(part, parameters) if isinstance(part, list) else part
        for name, part in (kept if fits else {}).items()
    }
    pairs.owed = memory.get(OWED, False)
    pairs.restore(memory[PROBE], parameters, own, bool(memory.get(MATH)))


def _fit(tensors: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> bool:
    return len(tensors) == len(parameters) and all(
        t is None
        or (t.shape == p.shape and is_sharded(t) == is_sharded(p) and local(t).shape == local(p).shape)
        for t, p in zip(tensors, parameters, strict=True)
    )


def _placed(tensors: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """Copies of the parameters' devices and types."""
    return [
        None if t is None else t.detach().to(p.device, p.dtype, copy=True)
        for t, p in zip(tensors, parameters, strict=True)
    ]


def packed(memory: Memory) -> dict[str, Any]:
    """A memory as it travels in ``optimizer.state_dict()``: the same few keys always, and no shards.

    `torch.distributed.checkpoint` takes dicts, lists and tuples apart, and wants each key of the new
    optimizer in the checkpoint. So the numbers are one line of text, and the tensors one piece of bytes.
    """
    numbers = in_plain_types(memory)
    tensors = numbers.pop(CARRIED, {})
    if any(is_sharded(one) for part in tensors.values() if isinstance(part, list) for one in part):
        tensors = {}
    buffer = io.BytesIO()
    if tensors:
        torch.save(tensors, buffer)
    return {
        "schema": numbers.get("schema", 0),
        NUMBERS: json.dumps(numbers, default=float),
        CARRIED: buffer.getvalue() or None,
    }


def unpack(memory: Memory) -> None:
    """Undo `packed`, in place; nothing where it is not packed."""
    if NUMBERS not in memory:
        return
    numbers, tensors = json.loads(memory[NUMBERS]), memory[CARRIED]
    memory.clear()
    memory.update(numbers)
    if tensors:
        memory[CARRIED] = torch.load(io.BytesIO(tensors), map_location="cpu", weights_only=True)


def in_plain_types(memory: Memory) -> dict[str, Any]:
    """A copy in types that load under ``torch.load(weights_only=True)``."""
    copied = dict(memory)
    if CARRIED in copied:
        copied[CARRIED] = {
            name: list(part) if isinstance(part, list) else part for name, part in copied[CARRIED].items()
        }
    return copied
