"""Rules for the parameters of the estimators; scikit-learn wants them checked in fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.metrics import get_scorer_names

__all__ = ["check_parameters", "chosen_device", "layer_sizes"]


def check_parameters(parameters: Mapping[str, object]) -> None:
    """Raise ValueError at the first parameter whose value breaks its rule.

    Example:
        >>> check_parameters({"dropout": 1.5})
        Traceback (most recent call last):
        ValueError: dropout must be a number in [0, 1), however: dropout=1.5
    """
    for name, value in parameters.items():
        if name in _RULES:
            holds, rule = _RULES[name]
            if not holds(value):
                raise ValueError(f"{name} must be {rule}, however: {name}={value!r}")


def layer_sizes(value: object) -> tuple[int, ...]:
    """Return hidden_layer_sizes as a tuple, whether one width was given or several."""
    return tuple(int(width) for width in np.atleast_1d(np.asarray(value, dtype=int)))


def chosen_device(device: object) -> torch.device:
    """Return the device to train on; "auto" is the accelerator of this machine, else its CPU.

    Example:
        >>> chosen_device("cpu")
        device(type='cpu')
    """
    if device != "auto":
        return torch.device(device)  # type: ignore[call-overload, no-any-return]
    found = torch.accelerator.current_accelerator(check_available=True) if _KNOWS_ACCELERATORS else None
    return found if found is not None else torch.device("cuda" if torch.cuda.is_available() else "cpu")


_KNOWS_ACCELERATORS = hasattr(torch, "accelerator")
"""Since torch 2.6."""


def _is_scoring(value: object) -> bool:
    if value == "loss" or callable(value):
        return True
    return isinstance(value, str) and value in get_scorer_names()


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _is_flag(value: object) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and low <= float(value) < high


def _are_sizes(value: object) -> bool:
    if isinstance(value, list | tuple | np.ndarray):
        return all(_is_count(width) for width in value)
    return _is_count(value)


def _are_levels(value: object) -> bool:
    levels = list(value) if isinstance(value, list | tuple | np.ndarray) else [value]
    return len(levels) > 0 and all(_is_number(level, np.finfo(float).tiny, 1) for level in levels)


def _is_device(value: object) -> bool:
    if isinstance(value, str) and value == "auto":
        return True
    try:
        return torch.empty(0, device=torch.device(value)).numel() == 0  # type: ignore[call-overload]
    except (RuntimeError, AssertionError, TypeError):
        return False


_RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "hidden_layer_sizes": (_are_sizes, "a positive integer or a sequence of them"),
    "loss": (
        lambda value: value in ("squared_error", "absolute_error", "quantile"),
        "'squared_error', 'absolute_error' or 'quantile'",
    ),
    "quantile": (_are_levels, "a number between 0 and 1, neither of them, or a sequence of such numbers"),
    "batch_size": (lambda value: value == "auto" or _is_count(value), "'auto' or a positive integer"),
    "dropout": (lambda value: _is_number(value, 0, 1), "a number in [0, 1)"),
    "weight_decay": (lambda value: _is_number(value, 0, np.inf), "a finite number of at least 0"),
    "max_iter": (_is_count, "a positive integer"),
    "early_stopping": (
        lambda value: value == "auto" or _is_flag(value),
        "'auto', True or False",
    ),
    "validation_fraction": (
        lambda value: value == "auto" or _is_number(value, np.finfo(float).tiny, 1),
        "'auto' or a number between 0 and 1, neither of them",
    ),
    "patience": (_is_count, "a positive integer"),
    "n_members": (_is_count, "a positive integer"),
    "embed_numbers": (_is_flag, "True or False"),
    "embed_levels": (_is_flag, "True or False"),
    "scoring": (_is_scoring, "'loss', a scorer, or one of sklearn.metrics.get_scorer_names()"),
    "max_time": (
        lambda value: value is None or _is_number(value, np.finfo(float).tiny, np.inf),
        "None or a positive number of seconds",
    ),
    "warm_start": (_is_flag, "True or False"),
    "device": (_is_device, "'auto' or a torch device that this machine has"),
}
