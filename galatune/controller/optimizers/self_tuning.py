"""Optimizers that set their own step: there is no rate that the controller could set.

They are known by class, by what their groups, states and attributes hold (copies under another name), or by
`register_self_tuning`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from galatune.controller.optimizers.table import is_registered
from galatune.errors import ControlError

__all__ = ["StepLengths", "own_step", "register_self_tuning", "writes_rate"]

MUCH, LITTLE = 64.0, 2.0
"""Of the rate, and of a step's length: steps that follow the rate change by as much as it does."""

COMPARED = 3
"""First steps that later ones are compared with."""

FADED = 20
"""Probes after which steps of before hardly have a part in momentum that adds up steps."""

FIRST_PROBES = 60
"""Later, gradients may have become smaller by as much as the rate has grown."""

STATES = 4
"""Parameters whose state is looked at; all have the same keys."""

DISTANCE = "it estimates its rate from the distance travelled"
DOG = "its rate is the distance from the start over the gradients so far"
MECHANIC = "it tunes the scale of another optimizer's steps"
LOSS = "its rate comes from the loss"
AVERAGE = "it averages its iterates instead of following a schedule, by sums of its own rate"
RELATIVE = "relative_step sets its rate from the number of steps"
BETTING = "it bets on gradients and has no rate"
LINE = "it searches along its own line"
ENTRIES = "it keeps a step size for each entry, which the rate only starts"
PAST = "its steps are bounded by the mean of its rates so far"
HYPER = "it learns its rate by gradients of its own"
NO_RATE = "its groups hold no learning rate"
DECAY = "its weight decay is relative to the rate that it was built with"

_DECAY_FLAGS = ("corrected_weight_decay", "decouple_lr", "wd_schedule")
"""Keys of groups that say so: timm's optimizers, FlashAdamW, Rose."""

_NAMED: Mapping[str, str] = {
    "dog": DOG,
    "ldog": DOG,
    "tdog": DOG,
    "dowg": DOG,
    "mechanic": MECHANIC,
    "trac": MECHANIC,
    "momo": LOSS,
    "momoadam": LOSS,
    "alig": LOSS,
    "sps": LOSS,
    "spsmax": LOSS,
    "polyaksgd": LOSS,
    "stochasticpolyak": LOSS,
    "adasps": LOSS,
    "sls": LINE,
    "adasls": LINE,
    "adamg": DISTANCE,
    "adgd": LINE,
    "adamod": PAST,
    "sgdhd": HYPER,
    "adamhd": HYPER,
}
"""Class names in lower case, without underscores."""

_CONTAINED: Mapping[str, str] = {
    "prodigy": DISTANCE,
    "dadapt": DISTANCE,
    "mechanize": MECHANIC,
    "schedulefree": AVERAGE,
    "cocob": BETTING,
    "lbfgs": LINE,
    "rprop": ENTRIES,
}
"""Parts of class names."""


@dataclass(frozen=True)
class _Sign:
    """Names that, all together, only such an optimizer has.

    Attributes:
        why: What it does.
        groups: Keys of its groups or defaults.
        states: Keys of its state, of a parameter's state, or of a dict in it.
        attributes: Its own attributes.
    """

    why: str
    groups: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


_SIGNS = (
    *(
        _Sign(DISTANCE, ("d", other))
        for other in (
            "d0",
            "d_coef",
            "d_max",
            "d_hat",
            "growth_rate",
            "numerator_weighted",
            "gsq_weighted",
            "k",
        )
    ),
    _Sign(DISTANCE, ("d",), ("s",)),
    _Sign(DISTANCE, ("estim_lr",)),
    _Sign(DISTANCE, ("estim_lr0",)),
    _Sign(DISTANCE, ("d0", "d_coef")),
    _Sign(DISTANCE, states=("r",), attributes=("p", "q")),
    _Sign(DOG, ("reps_rel",)),
    _Sign(DOG, ("rbar",)),
    _Sign(DOG, ("init_eta",)),
    _Sign(MECHANIC, states=("s_init",)),
    _Sign(MECHANIC, states=("reward", "max_product")),
    _Sign(MECHANIC, states=("sigma", "variance", "s")),
    _Sign(LOSS, states=("step_size_list",)),
    _Sign(LOSS, states=("grad_dot_w",)),
    _Sign(LOSS, attributes=("lb", "use_fstar")),
    _Sign(AVERAGE, ("weight_sum", "k")),
    _Sign(AVERAGE, ("weight_sum", "lr_max")),
    _Sign(AVERAGE, ("weight_lr_power",)),
    _Sign(AVERAGE, attributes=("weight_lr_power",)),
    _Sign(BETTING, states=("reward", "grad_norm_sum")),
    _Sign(BETTING, states=("reward", "tilde_w")),
    _Sign(LINE, ("history_size", "max_iter")),
    _Sign(LINE, ("line_search_fn",)),
    _Sign(LINE, ("init_step_size",)),
    _Sign(ENTRIES, ("etas", "step_sizes")),
    _Sign(PAST, states=("exp_avg_lr",)),
    _Sign(DECAY, ("normalized",), attributes=("max_lr",)),  # AdamC
    _Sign(HYPER, ("hypergrad_lr",)),
)

_REGISTERED: dict[type, str] = {}


def own_step(optimizer: Any, *, wraps: bool = False) -> str | None:
    """Why an optimizer sets its own step; None if it follows its rate, as far as can be seen.

    A class that `register_optimizer` was told of follows its rate, whatever it is called.

    Args:
        optimizer: It, or what wraps one.
        wraps: It wraps one, so that its own groups need no rate.
    """
    trusted = False
    for ancestor in type(optimizer).__mro__:
        if ancestor in _REGISTERED:
            return _REGISTERED[ancestor]
        trusted = is_registered(ancestor)
        why = None if trusted else _by_name(ancestor.__name__)
        if trusted or why is not None:
            break
    groups = _groups(optimizer)
    if why is None and any(group.get("relative_step") for group in groups):
        why = RELATIVE
    if why is None and any(map(_decays_by_built_rate, groups)):
        why = DECAY
    if why is None and not wraps and any(group.get("lr") is None for group in groups):
        why = NO_RATE
    return why if why is not None or trusted else _by_signs(optimizer, groups)


def register_self_tuning(
    optimizer_class: type[Optimizer], reason: str = "it was registered so"
) -> Callable[[], None]:
    """Tell the controller of an optimizer class that sets its own step, and of the classes derived from it.

    `attach` refuses such an optimizer, `controlled` leaves it alone, and in a search its trial fails, since
    the rate that it was given is only a placeholder there.

    Args:
        optimizer_class: Of the optimizers.
        reason: How it sets its step: "it ...".

    Returns:
        Call it to take the class out again.

    Raises:
        ControlError: That is no class, or the reason is more than one line.

    Example:
        >>> import torch
        >>> class Bold(torch.optim.SGD): ...
        >>> take_out = register_self_tuning(Bold, "it doubles its rate at every step")
        >>> own_step(Bold([torch.nn.Parameter(torch.ones(1))], lr=1.0))
        'it doubles its rate at every step'
        >>> take_out()
    """
    if not isinstance(optimizer_class, type):
        raise ControlError(f"a class of optimizers is needed, however: {optimizer_class!r}")
    if not reason or "\n" in reason:
        raise ControlError(f"a reason of one line is needed, however: reason={reason!r}")
    _REGISTERED[optimizer_class] = reason
    return lambda: _take_out(optimizer_class)


def writes_rate(optimizer: Optimizer, applied: Sequence[float]) -> bool:
    """Whether a step changed the rate that it was given in its groups.

    Args:
        optimizer: Its step is done.
        applied: Rates that were written into its groups before the step.
    """
    rates = [group.get("lr") for group in optimizer.param_groups]
    return any(isinstance(rate, float) and rate != given for rate, given in zip(rates, applied, strict=False))


class StepLengths:
    """Whether steps follow the rate: their length at two rates. A second net, for unknown classes.

    The rate is far below its level at the start, so that it soon grows by a large factor while the
    parameters hardly move: then the length of a step grows as well, unless the optimizer sets it.

    Example:
        >>> lengths = StepLengths()
        >>> [lengths.stand_still(rate, 0.1) for rate in (1e-6, 1e-5, 1e-4, 1e-3)]
        [False, False, False, True]
    """

    def __init__(self) -> None:
        self._first: list[tuple[float, float]] = []
        self._seen = 0
        self.decided = False

    def stand_still(self, rate: float, length: float) -> bool:
        """Whether the rate changed by much, and the length of a step did not.

        Each of the first steps has to say so: one of them may have been extraordinary.
        """
        if self.decided or not (rate > 0.0 and 0.0 < length < math.inf):
            return False
        self._seen += 1
        verdicts = [
            follows
            for earlier, its_length in self._first
            if (follows := self._follows(rate / earlier, length / its_length)) is not None
        ]
        if len(self._first) < COMPARED:
            self._first.append((rate, length))
        self.decided = any(verdicts) or len(verdicts) >= COMPARED - 1 or self._seen >= FIRST_PROBES
        return len(verdicts) >= COMPARED - 1 and not any(verdicts)

    def _follows(self, grown: float, longer: float) -> bool | None:
        """None if the rate did not change by enough, or not long enough ago."""
        if grown >= MUCH:
            return longer >= LITTLE
        return longer <= 1.0 / LITTLE if grown <= 1.0 / MUCH and self._seen > FADED else None


def _decays_by_built_rate(group: Mapping[str, Any]) -> bool:
    return bool(group.get("weight_decay")) and any(group.get(flag) for flag in _DECAY_FLAGS)


def _take_out(optimizer_class: type) -> None:
    _REGISTERED.pop(optimizer_class, None)


def _by_name(name: str) -> str | None:
    plain = name.lower().replace("_", "")
    if plain in _NAMED:
        return _NAMED[plain]
    return next((why for part, why in _CONTAINED.items() if part in plain), None)


def _by_signs(optimizer: Any, groups: Sequence[Mapping[str, Any]]) -> str | None:
    held = set(chain(getattr(optimizer, "defaults", None) or (), *groups))
    kept, own = set(_state_keys(getattr(optimizer, "state", None))), _attributes(optimizer)
    for sign in _SIGNS:
        found = held.issuperset(sign.groups) and kept.issuperset(sign.states)
        if found and own.issuperset(sign.attributes):
            return sign.why
    return None


def _groups(optimizer: Any) -> list[Mapping[str, Any]]:
    groups = getattr(optimizer, "param_groups", None)
    return [group for group in groups if isinstance(group, Mapping)] if isinstance(groups, list) else []


def _attributes(optimizer: Any) -> set[str]:
    """Its own attributes, without an underscore before them."""
    return {name.lstrip("_") for name in getattr(optimizer, "__dict__", ())}


def _state_keys(state: Any) -> Iterator[str]:
    """Keys of the state, of the first parameters' states, and of dicts among either."""
    if not isinstance(state, Mapping):
        return
    named = [key for key in state if isinstance(key, str)]
    of_parameters: Iterable[Any] = (state[key] for key in state if isinstance(key, Tensor))
    yield from named
    for part in chain((state[name] for name in named), islice(of_parameters, STATES)):
        if isinstance(part, Mapping):
            yield from (key for key in part if isinstance(key, str))
