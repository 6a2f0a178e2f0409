"""How the state travels in ``optimizer.state_dict()``, and how the step that is to be probed goes with it.

Shards are left out of ``optimizer.state_dict()``: `torch.distributed.checkpoint` would take those of one rank
for everybody's. A training that goes on from there does without that one probe; with each rank's
``controller.state_dict()`` beside it, it goes on to the last bit.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.controller.probes.select import ProbeSelector
from galatune.controller.rule.learner import Learner
from galatune.controller.state import KEY, SCHEMA, ControlState, Pending
from galatune.controller.torch_hooks.distributed import count, is_sharded, local
from galatune.errors import ControlError

__all__ = [
    "clear",
    "load_groups",
    "only_makes_state",
    "pack",
    "plain_groups",
    "restore",
    "store",
    "unpack_groups",
    "unpacked",
]

NUMBERS, PENDING = "numbers", "pending"
"""Keys of a packed state: everything but tensors, as text, and the tensors, as bytes."""


def store(state: ControlState, probes: ProbeSelector) -> None:
    """After a step: keep what its probe needs, if it has one."""
    state.pending = Pending(probes.probe.state_dict())
    if state.optimizer.probe != probes.probe.name or state.optimizer.probe_owed != probes.owed:
        state.optimizer = dataclasses.replace(
            state.optimizer, probe=probes.probe.name, probe_owed=probes.owed
        )


def clear(state: ControlState) -> None:
    """The step was probed, or is not going to be."""
    state.pending = Pending()
    if state.optimizer.probe_owed:
        state.optimizer = dataclasses.replace(state.optimizer, probe_owed=False)


def restore(state: ControlState, probes: ProbeSelector, parameters: Sequence[Tensor]) -> None:
    """After a load, or on a copy: the same probe goes on with the same step.

    If the parameters are others than those that were saved (one was frozen, a group was added), that one
    probe is left out.
    """
    if not state.optimizer.probe:
        return
    probes.sightings.resume(state.optimizer.probes, state.rate.flat_probes)
    fits = all(_fit(part, parameters) for part in state.pending.values() if isinstance(part, list))
    kept = {
        name: _placed(part, parameters) if isinstance(part, list) else part
        for name, part in state.pending.items()
        if fits or not isinstance(part, list)
    }
    probes.restore(state.optimizer.probe, kept, parameters, state.optimizer.probe_owed)


def pack(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Replace the states of groups in an optimizer's state dict by `packed` ones.

    A state that was saved stays as it was, like the rates beside it.
    """
    for group in state["param_groups"]:
        state = group.get(KEY)
        group[KEY] = _packed(state) if isinstance(state, ControlState) else state


def plain_groups(states: Sequence[ControlState]) -> dict[str, Any]:
    """The states of all groups in plain types."""
    return {"schema": SCHEMA, "groups": [state.plain() for state in states]}


def load_groups(
    groups: Sequence[MutableMapping[str, Any]], state: Mapping[str, Any], learner: Learner
) -> None:
    """Put what `plain_groups` made into groups.

    Raises:
        ControlError: Written in another schema, for another number of groups, or damaged.
    """
    loaded = state.get("groups", ())
    if state.get("schema") != SCHEMA or len(loaded) != len(groups):
        raise ControlError(
            f"this state has schema {state.get('schema')!r} and {len(loaded)} groups; "
            f"schema {SCHEMA} and {len(groups)} groups are needed"
        )
    states = [unpacked(plain, learner) for plain in loaded]
    for group, one in zip(groups, states, strict=True):
        group[KEY] = one


def unpack_groups(optimizer: Optimizer, learner: Learner) -> None:
    """Turn states that were loaded or copied, in plain types, into states.

    Raises:
        ControlError: They were written in another schema, or are damaged.
    """
    for group in optimizer.param_groups:
        if isinstance(group.get(KEY), Mapping):
            group[KEY] = unpacked(group[KEY], learner)


def unpacked(plain: Mapping[str, Any], learner: Learner) -> ControlState:
    """The state from plain types, packed or not.

    Raises:
        ControlError: It was written in another schema, or is damaged.
    """
    schema = plain.get("schema") if isinstance(plain, Mapping) else None
    if schema != SCHEMA:
        raise ControlError(
            f"the state of the controller has schema {schema!r}, and schema {SCHEMA} is needed; "
            "use the version of galatune that wrote it"
        )
    try:
        return ControlState.of(_unpacked(plain) if NUMBERS in plain else plain, learner)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ControlError(
            f"the state of the controller is damaged ({type(error).__name__}: {error}); "
            f"load another checkpoint, or remove group[{KEY!r}] from each group to begin anew"
        ) from error


def only_makes_state(optimizer: Optimizer) -> bool:
    """Whether a step at rate 0 without any gradient is about to be taken.

    `torch.distributed.checkpoint` takes one before it loads or saves, so that the state is there.
    """
    groups = optimizer.param_groups
    gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
    if any(float(group["lr"]) for group in groups) or any(g.layout != torch.strided for g in gradients):
        return False
    return not count(torch.count_nonzero, gradients)


def _packed(state: ControlState) -> dict[str, Any]:
    """The state with the same few keys always, and no shards.

    `torch.distributed.checkpoint` takes dicts, lists and tuples apart, and wants each key of the new
    optimizer in the checkpoint. So the numbers are one line of text, and the tensors one piece of bytes.
    """
    plain = state.plain()
    tensors = plain.pop("pending")
    if any(is_sharded(one) for part in tensors.values() if isinstance(part, list) for one in part):
        tensors = {name: part for name, part in tensors.items() if isinstance(part, (bool, int, float, str))}
    buffer = io.BytesIO()
    if tensors:
        torch.save(tensors, buffer)
    return {
        "schema": SCHEMA,
        NUMBERS: json.dumps(plain, default=float),
        PENDING: buffer.getvalue() or None,
    }


def _unpacked(packed: Mapping[str, Any]) -> dict[str, Any]:
    pending = packed[PENDING]
    loaded = (
        torch.load(io.BytesIO(pending), map_location="cpu", weights_only=True) if pending is not None else {}
    )
    return {**json.loads(packed[NUMBERS]), "pending": loaded}


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
