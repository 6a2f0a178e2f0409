"""All parameter groups of one optimizer: their states, and the rates as applied to them."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.controller.checkpoint import unpack_groups
from galatune.controller.groups.rate_group import RateGroup
from galatune.controller.optimizers import OptimizerMetric, metric_of
from galatune.controller.options import Options
from galatune.controller.probes.base import Probe
from galatune.controller.probes.schedule import RateStart
from galatune.controller.rule.estimate import norm_power
from galatune.controller.rule.prior import Prior
from galatune.controller.rule.rate import EstimateSettings, is_early_in_schedule
from galatune.controller.state import KEY, ControlState, GroupState, OptimizerState, control_states
from galatune.controller.torch_hooks.lr_schedule import (
    SetRates,
    decaying_scheduler,
    nine_digits,
    schedule_factors,
)

__all__ = ["ControlledGroups"]

Group = MutableMapping[str, Any]

OUTGROWN = 100.0
"""A rate that rose by so much more than every other group's was as good as 0 at first."""


class ControlledGroups:
    """The parameter groups of one optimizer with their states, and the rates as applied to them.

    Args:
        optimizer: Its groups get their states here.
        options: Bounds of the rate; whether each group has a rate of its own.
        note_once: Called with (kind, reason) if a bound acts.

    Attributes:
        states: One for each group.
        applied: Rates of the last step, one for each group.
        cautious: Whether this step's rates are to be divided, as after an accident, and the next ones not.
    """

    def __init__(self, optimizer: Optimizer, options: Options, note_once: Callable[[str, str], None]) -> None:
        self._metric, self._rule, self._options = metric_of(optimizer), options.rule, options
        self._note_once = note_once
        # By default with the default learner, and with alignment="previous_update".
        self._compares_update = options.compares_update
        for group in optimizer.param_groups:
            self._metric.one_step(group)  # refuses a dampening of 1
        self._rates, self._exact = SetRates(), True
        # Ratios of the groups in the last step and in the coming one; 0 for those that are held still.
        self._before: list[float] = []
        self._coming: list[float] = []
        self._trainable: list[bool] = []
        self.applied: list[float] = []
        self.cautious = False
        self.states: list[ControlState] = []
        self.load(optimizer)

    @property
    def metric(self) -> OptimizerMetric:
        """The optimizer's row."""
        return self._metric

    @property
    def optimizer_state(self) -> OptimizerState:
        """Of the whole optimizer."""
        return self.states[0].optimizer

    def update(self, **changes: Any) -> None:
        """Change fields of `optimizer_state`."""
        self.states[0].optimizer = replace(self.states[0].optimizer, **changes)

    def load(self, optimizer: Optimizer) -> None:
        """Find the states of the groups, which may have been loaded or copied.

        Raises:
            ControlError: They were written in another schema.
        """
        unpack_groups(optimizer, self._rule.learner)
        self.states = control_states(optimizer.param_groups)

    def forget_schedule(self) -> None:
        """Rates may have been replaced: a checkpoint was loaded."""
        self._rates.forget()

    def initialize(self, optimizer: Optimizer) -> None:
        """Give every new group its state: the ratio of its initial rate, and its peak so far.

        The ratio is that of the initial rates, which the user fixed, to the largest of them. A group that
        starts at 0 has its ratio once it is raised (`_followed`). A group added later has the ratio
        of its rate to the largest one of the first group. If each group has a rate of its own, its ratio is
        1.
        """
        if self._are_known(optimizer):
            return
        self.load(optimizer)
        present = self._read(optimizer)
        initial = [
            rate if (first := group.get("initial_lr")) is None else float(first)
            for group, rate in zip(optimizer.param_groups, present, strict=True)
        ]
        known = [own for own in self._known() if own.ratio and not own.late]
        whole = max(known[0].initial, known[0].peak) / known[0].ratio if known else max(initial)
        for state, now, rate in zip(self.states, present, initial, strict=True):
            if state.group is None:
                ratio = nine_digits(rate / whole) if whole > 0 else 0.0
                ratio = float(ratio > 0) if self._options.per_group else ratio
                state.group = GroupState(ratio, rate, peak=now if known else 0.0, moved="0")

    @property
    def initialized(self) -> bool:
        """True once every group has its state."""
        return all(state.group is not None for state in self.states)

    def rate_groups(self, optimizer: Optimizer) -> list[RateGroup]:
        """Groups that share a rate: all of them, or each its own; at the step whose `factors` were asked."""
        groups, states, before, coming = optimizer.param_groups, self.states, self._before, self._coming
        if not self._options.per_group:
            prior = self._options.prior
            return [RateGroup(optimizer, self._metric, self._rule, groups, states, before, coming, prior)]
        return [
            RateGroup(optimizer, self._metric, self._rule, [group], [state], [last], [now], self._own(state))
            for group, state, last, now in zip(groups, states, before, coming, strict=True)
        ]

    def _own(self, state: ControlState) -> Prior | None:
        """The prior of a group that has a rate of its own: in the ratio of the initial rates."""
        prior, whole = self._options.prior, max((own.initial for own in self._known()), default=0.0)
        initial = 0.0 if state.group is None else state.group.initial
        return replace(prior, rate=prior.rate * initial / whole) if prior and initial else None

    def moving(self, optimizer: Optimizer) -> list[Tensor]:
        """Parameters of the groups that are not held at rate 0, by the rates that were applied last."""
        return [
            p
            for group, ratio in zip(optimizer.param_groups, _ratios_of_last_step(self._known()), strict=True)
            if ratio
            for p in group["params"]
            if p.requires_grad
        ]

    def rate_starts(self) -> list[RateStart]:
        """Since when each rate is chosen, for those that are."""
        rates = [state.rate for state in self.states if state.rate.rate]
        return [RateStart(rate.first_step or 0, rate.far_below) for rate in rates]

    def estimate_settings(
        self, optimizer: Optimizer, probe: Probe, factor: float
    ) -> tuple[EstimateSettings, str | None]:
        """How the pairs of this probe are read, and what is new about the schedule, if anything.

        Args:
            optimizer: The optimizer.
            probe: The probe in use.
            factor: Largest schedule factor of the groups.
        """
        why, state, metric = self._see_decay(optimizer), self.optimizer_state, self._metric
        if probe.ready or not state.step:
            self._exact = all(map(_moves_exactly, self.moving(optimizer)))
        if probe.echoes_minibatch:
            independent = metric.own_share is not None
        else:
            independent = not probe.uses_loop_gradients
        direction = self._exact and independent and self._compares_update
        adaptive = direction and metric.diagonal is not None
        limits_growth = self._exact and is_early_in_schedule(factor)
        scale = probe.step_scales.scale(decays=bool(state.decays), adaptive=adaptive, steps=state.step)
        settings = EstimateSettings(
            step_scale=self._options.step_scale_factor * (self._options.step_scale or scale),
            use_direction_alignment=direction,
            own_share_removed=probe.echoes_minibatch,
            next_step_metric=probe.next_step_metric,
            steps_since_probe=state.step - state.last_probe if limits_growth else None,
            norm_power=norm_power(state.step) if adaptive and self._options.step_scale is None else 0.0,
        )
        return settings, why

    def keep_rates(self, optimizer: Optimizer) -> bool:
        """Apply the present rates, as the schedule changes them; False if more has to be looked at."""
        if not self._are_known(optimizer) or self._trainable != _trainable(optimizer):
            return False
        state, known = self.states[0].optimizer, [state.group for state in self.states if state.group]
        rates = [self._rates.read(group) for group in optimizer.param_groups]
        moves, several = max(rates) > 0, len(known) > 1
        risen = several and max([own.peak for own in known]) > 0
        peaks = []
        for one, own, rate in zip(self.states, known, rates, strict=True):
            if not 0.0 <= rate < math.inf:
                return False
            if rate > own.peak:
                if several and ((risen and not own.peak) or own.late or rate > OUTGROWN * own.initial):
                    return False
                one.group = replace(own, peak=rate)
            elif rate < own.peak and not state.decays and (rate or not moves):
                return False
            peaks.append(max(rate, own.peak))
        self.apply(optimizer, schedule_factors(rates, peaks, state.step))
        return True

    def factors(self, optimizer: Optimizer) -> list[float]:
        """Schedule factor of each group, whose peak is kept up to date, and whose ratio, if it began late.

        The rate begins anew if parameters begin to move that were held still while others moved, by a rate of
        0 or by ``requires_grad``, or that are new: along them no curvature was ever measured.
        """
        before, rates = self._known(), self._read(optimizer)
        self._before = _ratios_of_last_step(before)
        self._trainable = _trainable(optimizer)
        known = _followed(before, rates, per_group=self._options.per_group)
        moving = [
            _with_moving(own, group["params"]) if rate else own
            for own, group, rate in zip(known, optimizer.param_groups, rates, strict=True)
        ]
        self._begin_anew([_has_grown(own, now) for own, now in zip(before, moving, strict=True)])
        for one, own in zip(self.states, moving, strict=True):
            one.group = own
        factors = schedule_factors(rates, [own.peak for own in known], self.optimizer_state.step)
        self._coming = [own.ratio if factor else 0.0 for own, factor in zip(known, factors, strict=True)]
        return factors

    def _begin_anew(self, grown: Sequence[bool]) -> None:
        """Restart the rate of groups of which more parameters move than before, unless none has moved yet."""
        if not self._options.per_group:
            grown = [any(grown)]
        for state, more in zip(self.states, grown, strict=False):
            if more and state.rate.rate and any(own.moved != "0" for own in self._known()):
                self._note_once("start", "parameters begin to move that did not: the rate begins anew")
                state.rate = replace(self._rule.restart(state.rate), first_step=None)

    def apply(self, optimizer: Optimizer, factors: Sequence[float]) -> None:
        """Write the rates into the groups; `restore` puts the schedule's back."""
        applied = []
        for group, state, factor in zip(optimizer.param_groups, self.states, factors, strict=True):
            rate = self._applied_rate(group, state, factor)
            if state.group is not None and state.group.applied != rate:
                state.group = replace(state.group, applied=rate)
            applied.append(rate)
        self._rates.write(optimizer.param_groups, applied)
        self.applied = applied

    def restore(self) -> None:
        """Put the schedule's rates back."""
        self._rates.restore()

    def _see_decay(self, optimizer: Optimizer) -> str | None:
        """Find out whether the schedule decays; why, if that is new, else None."""
        why = None
        if self.optimizer_state.decays is None:
            scheduler = decaying_scheduler(optimizer)
            self.update(decays=scheduler is not None)
            why = "no decaying schedule seen yet" if scheduler is None else f"{scheduler} decays"
        rates = self._read(optimizer)
        # A group that is held at 0 while others move is frozen, and its schedule may well be constant.
        if not self.optimizer_state.decays and any(
            rate < own.peak and (rate or not any(rates))
            for rate, own in zip(rates, self._known(), strict=True)
        ):
            self.update(decays=True)
            why = "a group's rate fell below its peak"
        return why

    def _read(self, optimizer: Optimizer) -> list[float]:
        """The rates that the schedule has set; what is no rate counts as 0, and that is said."""
        rates = [self._rates.read(group) for group in optimizer.param_groups]
        odd = [rate for rate in rates if not 0.0 <= rate < math.inf]
        if odd:
            reason = f"a group's rate is {odd[0]:g}: it is held still until its rate is a number from 0 on"
            self._note_once("schedule", reason)
        return [rate if 0.0 <= rate < math.inf else 0.0 for rate in rates]

    def _known(self) -> list[GroupState]:
        return [state.group for state in self.states if state.group is not None]

    def _are_known(self, optimizer: Optimizer) -> bool:
        """Whether each group still has the state that was found, and has started."""
        groups = optimizer.param_groups
        if len(groups) != len(self.states):
            return False
        for group, state in zip(groups, self.states, strict=True):
            if state.group is None or group.get(KEY) is not state:
                return False
        return True

    def _applied_rate(self, group: Group, state: ControlState, factor: float) -> float:
        assert state.group is not None
        options, metric = self._options, self._metric
        chosen = state.rate.rate if options.per_group else self.states[0].rate.rate
        if self.cautious:
            chosen /= self._rule.guard.shrink
        if metric.momentum_factor is not None:
            chosen *= metric.momentum_factor(group)
        base = max(chosen, options.min_lr)
        rate = base * state.group.ratio * factor
        if base > chosen:
            self._note_once("bound", f"the rate is held at its lower bound {options.min_lr:g}")
        if rate > options.max_lr:
            self._note_once("bound", f"the rate is held at its upper bound {options.max_lr:g}")
        return min(rate, options.max_lr)


def _moves_exactly(parameter: Tensor) -> bool:
    """Whether a step is not rounded to so few digits that its direction is lost."""
    return torch.finfo(parameter.dtype).bits >= 32


def _ratios_of_last_step(groups: Sequence[GroupState]) -> list[float]:
    """Ratio of each group's rate; 0 for a group that was held still, unless all of them were."""
    moved = any(own.applied > 0 for own in groups)
    return [own.ratio if own.applied or not moved else 0.0 for own in groups]


def _followed(groups: Sequence[GroupState], rates: Sequence[float], *, per_group: bool) -> list[GroupState]:
    """The groups with the rates of the coming step: their peaks, and the ratios of those that begin late."""
    risen = any(own.peak > 0 for own in groups)
    followed = [
        replace(
            own,
            peak=max(own.peak, rate),
            late=own.late
            or (rate > 0 and not own.peak and risen)
            or (not per_group and 0 < own.peak < rate and _outgrows(own, rate, groups, rates)),
        )
        for own, rate in zip(groups, rates, strict=True)
    ]
    steady = [own.peak / own.ratio for own in followed if own.ratio and not own.late]
    whole = max(steady, default=0.0) or max(rates)
    return [
        replace(own, ratio=1.0 if per_group else nine_digits(own.peak / whole))
        if own.peak and (own.late or not own.ratio)
        else own
        for own in followed
    ]


def _outgrows(own: GroupState, rate: float, groups: Sequence[GroupState], rates: Sequence[float]) -> bool:
    others = [
        max(1.0, now / other.initial, other.peak / other.initial)
        for other, now in zip(groups, rates, strict=True)
        if other is not own and other.initial and not other.late
    ]
    return bool(others) and own.initial > 0 and rate / own.initial > OUTGROWN * max(others)


def _trainable(optimizer: Optimizer) -> list[bool]:
    return [p.requires_grad for group in optimizer.param_groups for p in group["params"]]


def _with_moving(own: GroupState, parameters: Sequence[Tensor]) -> GroupState:
    mask = int(own.moved or "0", 16)
    for place, p in enumerate(parameters):
        mask |= p.requires_grad << place
    return replace(own, moved=f"{mask:x}")


def _has_grown(before: GroupState, now: GroupState) -> bool:
    """Whether more of the parameters move, or their rate was as good as 0 before."""
    outgrown = bool(before.peak) and now.late != before.late
    return outgrown or (before.moved is not None and now.moved != before.moved)
