"""Save a fitted estimator without pickle: tensors as safetensors, everything else as JSON in their header.

Loading runs no code from the file. The objects that a file may hold are listed here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from galatune.tabular.columns import LevelColumn, NumberColumn
from galatune.tabular.embeddings import LevelEmbedding, PiecewiseLinear
from galatune.tabular.encode import TableEncoder
from galatune.tabular.net import MLP
from galatune.tabular.state import TrainingState
from galatune.tabular.targets import Classes, Labels, Values

__all__ = ["estimator_name", "read_model", "write_model"]

SCHEMA = 1
"""Version of the file's structure."""

Tensors: TypeAlias = dict[str, Tensor]

_OBJECTS: dict[str, Callable[..., Any]] = {
    kind.__name__: kind
    for kind in (TableEncoder, NumberColumn, LevelColumn, Classes, Labels, Values, TrainingState)
}


def write_model(path: str | Path, name: str, attributes: Mapping[str, Any]) -> None:
    """Write the attributes of an estimator.

    Args:
        path: File to write; an existing one is replaced.
        name: Name of the estimator's class.
        attributes: Its parameters and fitted attributes.

    Raises:
        OSError: The file cannot be written.
        ValueError: An attribute is an object that only pickle can save, such as a function.
    """
    tensors: Tensors = {}
    tree: dict[str, Any] = {}
    for attribute, value in attributes.items():
        try:
            tree[attribute] = _pack(value, tensors)
        except TypeError as error:
            raise ValueError(
                f"Only numbers, text and tables of them can be saved without pickle, however: {attribute} "
                f"holds {error}. Choose another value, or use joblib.dump."
            ) from None
    header = {"galatune": json.dumps({"schema": SCHEMA, "class": name, "attributes": tree})}
    try:
        save_file(tensors, path, metadata=header)
    except SafetensorError as error:
        raise OSError(f"Cannot write {path}: {error}") from None


def estimator_name(path: str | Path) -> str:
    """Return the name of the class of the estimator in a file.

    Args:
        path: What `write_model` wrote.

    Raises:
        ValueError: The file holds something else.
    """
    return str(_header(path)["class"])


def read_model(path: str | Path, name: str) -> dict[str, Any]:
    """Read what `write_model` wrote.

    Args:
        path: File to read.
        name: Name of the estimator's class.

    Raises:
        ValueError: The file holds something else.
    """
    content = _header(path)
    if content["class"] != name:
        raise ValueError(f"{path} must hold a {name}, however: it holds a {content['class']}.")
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
    try:
        return {attribute: _unpack(value, tensors) for attribute, value in content["attributes"].items()}
    except Exception as error:  # whatever a damaged header makes of the objects in it
        raise ValueError(f"{path} must be a whole model, however: {type(error).__name__}: {error}.") from None


def _header(path: str | Path) -> dict[str, Any]:
    """Return what the header of a file says, without its tensors."""
    Path(path).open("rb").close()  # what cannot be opened is told by Python, not by safetensors
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("galatune")
    except SafetensorError as error:
        raise ValueError(f"{path} must be a model written by save, however: {error}.") from None
    content = json.loads(header) if header else None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must be a model written by save, however: it has no galatune header.")
    if content.get("schema") != SCHEMA:
        found = f"schema {content.get('schema')}, that of another version of galatune"
        raise ValueError(f"{path} must be a model of schema {SCHEMA}, however: it has {found}.")
    return content


def _pack(value: Any, tensors: Tensors) -> Any:
    """Return value as JSON; tensors and arrays go to tensors, under a number."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    for kind, packer in _PACKERS:
        if isinstance(value, kind):
            return packer(value, tensors)
    if type(value).__name__ in _OBJECTS:
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"object": type(value).__name__, "fields": _pack(fields, tensors)}
    raise TypeError(f"a {type(value).__name__}")


_PACKERS: list[tuple[Any, Callable[[Any, Tensors], Any]]] = [
    (np.generic, lambda value, tensors: _pack(value.item(), tensors)),
    (list, lambda value, tensors: [_pack(item, tensors) for item in value]),
    (tuple, lambda value, tensors: {"tuple": _pack(list(value), tensors)}),
    (slice, lambda value, tensors: {"slice": [value.start, value.stop, value.step]}),
    (
        Mapping,
        lambda value, tensors: {
            "dict": [[_pack(key, tensors), _pack(item, tensors)] for key, item in value.items()]
        },
    ),
    (Tensor, lambda value, tensors: {"tensor": _keep(value, tensors)}),
    (
        bytes,
        lambda value, tensors: {"bytes": _keep(torch.from_numpy(np.array(bytearray(value))), tensors)},
    ),
    (np.ndarray, lambda value, tensors: _pack_array(value, tensors)),
    (
        pd.DataFrame,
        lambda value, tensors: {"frame": [[name, _pack(value[name].to_numpy(), tensors)] for name in value]},
    ),
    (
        MLP,
        lambda value, tensors: {
            "network": _plan_of(value),
            "weights": _pack(dict(value.state_dict()), tensors),
        },
    ),
]


def _pack_array(array: np.ndarray[Any, Any], tensors: Tensors) -> dict[str, Any]:
    if array.dtype.kind in "OUS":
        return {"array": _pack(array.tolist(), tensors), "dtype": array.dtype.str}
    numbers = array.view(np.int64) if array.dtype.kind in "mM" else array
    tensor = torch.from_numpy(np.array(numbers))  # a copy: torch warns of arrays that are read-only
    return {"numbers": _keep(tensor, tensors), "dtype": array.dtype.str}


def _keep(tensor: Tensor, tensors: Tensors) -> str:
    key = str(len(tensors))
    tensors[key] = tensor.detach().cpu().contiguous().clone()
    return key


def _unpack(value: Any, tensors: Tensors) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    kind = next(iter(value))
    return _READERS[kind](value, tensors)


_READERS: dict[str, Callable[[dict[str, Any], Tensors], Any]] = {
    "tuple": lambda value, tensors: tuple(_unpack(value["tuple"], tensors)),
    "slice": lambda value, tensors: slice(*value["slice"]),
    "dict": lambda value, tensors: {
        _unpack(key, tensors): _unpack(item, tensors) for key, item in value["dict"]
    },
    "tensor": lambda value, tensors: tensors[value["tensor"]],
    "bytes": lambda value, tensors: tensors[value["bytes"]].numpy().tobytes(),
    "array": lambda value, tensors: np.array(_unpack(value["array"], tensors), dtype=value["dtype"]),
    "numbers": lambda value, tensors: tensors[value["numbers"]].numpy().view(value["dtype"]),
    "frame": lambda value, tensors: pd.DataFrame(
        {name: _unpack(column, tensors) for name, column in value["frame"]}
    ),
    "network": lambda value, tensors: _network(value["network"], _unpack(value["weights"], tensors)),
    "object": lambda value, tensors: _OBJECTS[value["object"]](**_unpack(value["fields"], tensors)),
}


def _plan_of(network: MLP) -> dict[str, Any]:
    """Return what it takes to build a network of the same shape."""
    cardinalities: list[int] = []
    if network.levels.vectors is not None:
        ends = [*network.levels.offsets.tolist(), len(network.levels.vectors)]
        cardinalities = np.diff(ends).tolist()
    widths = [int(layer.fan_in) for layer in network.layers]  # type: ignore[arg-type]
    return {
        "n_numbers": len(network.first.weight) - network.levels.width,
        "cardinalities": cardinalities,
        "n_bins": 0 if network.numbers is None else len(network.numbers),
        "hidden_layer_sizes": widths,
        "n_outputs": _n_outputs(network),
        "n_members": network.n_members,
        "dropout": network.dropout,
    }


def _n_outputs(network: MLP) -> int:
    last: Any = network.layers[-1].weight if len(network.layers) else network.first_bias
    return int(last.shape[-1])


def _network(plan: dict[str, Any], weights: Tensors) -> MLP:
    generator = torch.Generator().manual_seed(0)
    bins = PiecewiseLinear(
        torch.zeros(plan["n_bins"], dtype=torch.int64),
        torch.zeros(plan["n_bins"]),
        torch.ones(plan["n_bins"]),
    )
    network = MLP(
        plan["n_numbers"],
        LevelEmbedding(plan["cardinalities"], generator),
        bins,
        plan["hidden_layer_sizes"],
        plan["n_outputs"],
        n_members=plan["n_members"],
        dropout=plan["dropout"],
        generator=generator,
    )
    network.load_state_dict(weights)
    return network
