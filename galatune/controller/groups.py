"""The parameter groups of one optimizer: their states, their rates, and what the rule is told of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.controller.checkpoint import unpack_groups
from galatune.controller.gradient_pair import GradientPair, PairEntry, inner_products, pieces
from galatune.controller.optimizers import (
    OptimizerMetric,
    State,
    adam_first_direction,
    as_real,
    has_seen_gradient,
    has_stepped,
    metric_of,
)
from galatune.controller.options import Options
from galatune.controller.rule.estimate import InnerProducts
from galatune.controller.rule.first_rate import FIRST_MOVE, UNKNOWN_STEP_RATE, first_move, first_rate
from galatune.controller.rule.rate import EstimateSettings, Finding, Outcome, ProbedStep, RateState, Rule
from galatune.controller.state import KEY, ControlState, GroupState, OptimizerState, control_states
from galatune.controller.torch_hooks.distributed import GlobalSum, count, squared
from galatune.controller.torch_hooks.grad_scaler import gradient_scale
from galatune.controller.torch_hooks.lr_schedule import (
    SetRates,
    decaying_scheduler,
    nine_digits,
    schedule_factor,
)

__all__ = ["ControlledGroups", "RateGroup"]

Group = MutableMapping[str, Any]


class ControlledGroups:
    """The parameter groups of one optimizer with their states, and the rates as applied to them.

    Args:
        optimizer: Its groups get their states here.
        options: Bounds of the rate; whether each group has a rate of its own.
        note_once: Called with (kind, reason) if a bound acts.

    Attributes:
        states: One for each group.
        applied: Rates of the last step, one for each group.
    """

    def __init__(self, optimizer: Optimizer, options: Options, note_once: Callable[[str, str], None]) -> None:
        self._metric, self._rule, self._options = metric_of(optimizer), options.rule, options
        self._note_once = note_once
        for group in optimizer.param_groups:
            self._metric.one_step(group)  # refuses a dampening of 1
        self._rates = SetRates()
        self.applied: list[float] = []
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

    def start(self, optimizer: Optimizer) -> None:
        """Give every new group its state: the ratio of its initial rate, and its peak so far.

        The ratio is that of the initial rates, which the user fixed, to the largest of them. A group that
        starts at 0 stays at 0, unless all do (a warmup written by hand). A group added later has the ratio
        of its rate to what the first ones started from. If each group has a rate of its own, the ratio is 1.
        """
        self.load(optimizer)
        if all(state.group is not None for state in self.states):
            return
        initial = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
        known = [state.group for state in self.states if state.group is not None and state.group.ratio]
        whole = known[0].initial / known[0].ratio if known else max(initial)
        for state, rate in zip(self.states, initial, strict=True):
            if state.group is None:
                ratio = nine_digits(rate / whole) if whole > 0 else 1.0
                state.group = GroupState(float(ratio > 0) if self._options.per_group else ratio, rate)

    def rate_groups(self, optimizer: Optimizer) -> list[RateGroup]:
        """Groups that share a rate: all of them, or each its own."""
        groups, states = optimizer.param_groups, self.states
        if not self._options.per_group:
            return [RateGroup(optimizer, self._metric, self._rule, groups, states)]
        return [
            RateGroup(optimizer, self._metric, self._rule, [group], [state])
            for group, state in zip(groups, states, strict=True)
        ]

    def moving(self, optimizer: Optimizer) -> list[Tensor]:
        """Parameters whose group is not held at rate 0."""
        return [
            p
            for group, state in zip(optimizer.param_groups, self.states, strict=True)
            if state.group is not None and state.group.ratio > 0
            for p in group["params"]
            if p.requires_grad
        ]

    def keep_rates(self, optimizer: Optimizer) -> bool:
        """Apply the present rates, as the schedule changes them; False if more has to be looked at."""
        groups, states = optimizer.param_groups, self.states
        if len(groups) != len(states):
            return False
        decays, factors = states[0].optimizer.decays, []
        for group, state in zip(groups, states, strict=True):
            own = state.group
            if own is None or group.get(KEY) is not state:
                return False
            rate = self._rates.read(group)
            if rate > own.peak:
                state.group = own = replace(own, peak=rate)
            elif rate < own.peak and not decays:
                return False
            factors.append(schedule_factor(rate, own.peak))
        self.apply(optimizer, factors)
        return True

    def factors(self, optimizer: Optimizer) -> list[float]:
        """Schedule factor of each group, whose peak is kept up to date."""
        factors = []
        for group, state in zip(optimizer.param_groups, self.states, strict=True):
            assert state.group is not None
            rate = self._rates.read(group)
            state.group = replace(state.group, peak=max(state.group.peak, rate))
            factors.append(schedule_factor(rate, state.group.peak))
        return factors

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

    def see_decay(self, optimizer: Optimizer) -> str | None:
        """Find out whether the schedule decays; why, if that is new, else None."""
        why = None
        if self.optimizer_state.decays is None:
            scheduler = decaying_scheduler(optimizer)
            self.update(decays=scheduler is not None)
            why = "no decaying schedule seen yet" if scheduler is None else f"{scheduler} decays"
        if not self.optimizer_state.decays and any(
            state.group is not None and self._rates.read(group) < state.group.peak
            for group, state in zip(optimizer.param_groups, self.states, strict=True)
        ):
            self.update(decays=True)
            why = "a group's rate fell below its peak"
        return why

    def _applied_rate(self, group: Group, state: ControlState, factor: float) -> float:
        assert state.group is not None
        options, metric = self._options, self._metric
        chosen = state.rate.rate if options.per_group else self.states[0].rate.rate
        if metric.momentum_factor is not None:
            chosen *= metric.momentum_factor(group)
        base = max(chosen, options.min_lr)
        rate = base * state.group.ratio * factor
        if base > chosen:
            self._note_once("bound", f"the rate is held at its lower bound {options.min_lr:g}")
        if rate > options.max_lr:
            self._note_once("bound", f"the rate is held at its upper bound {options.max_lr:g}")
        return min(rate, options.max_lr)


@dataclass(frozen=True)
class RateGroup:
    """Parameter groups that share one rate, at one step.

    Attributes:
        optimizer: Gradients of the present step are there; its state is that before the step.
        metric: The optimizer's row.
        rule: What turns gradient pairs into rates.
        groups: The parameter groups.
        states: Theirs; the first holds the state of the rate.
    """

    optimizer: Optimizer
    metric: OptimizerMetric
    rule: Rule
    groups: Sequence[Group]
    states: Sequence[ControlState]

    def adapt(
        self, settings: EstimateSettings, pairs: Sequence[GradientPair] | None, loss: float | None
    ) -> Outcome:
        """The next state of the rate.

        Args:
            settings: How the pairs are read.
            pairs: The gradient pairs, None if this step is not probed.
            loss: Of the probed step, None if the guard does not need it or it is not known.
        """
        state = self._up_to_date()
        if not state.rate:
            return self._start(state)
        products = None if pairs is None else self._products(pairs, settings)
        if products is None:
            return Outcome(state)
        own = self._own_share() if settings.own_share_removed and settings.use_direction_alignment else 0.0
        if own >= 1.0:  # a first step, and no direction before it
            settings = replace(settings, use_direction_alignment=False)
        probed = ProbedStep(
            products=products,
            played_rate=self.played_rate(),
            own_share=own,
            loss=loss,
            first_move=self._first_move() if state.step_unknown and products.step_step else 0.0,
        )
        return self.rule.next_rate(state, probed, replace(settings, metric_known=self.metric.known))

    def _up_to_date(self) -> RateState:
        """The state with a learner's, and begun anew if plain momentum has become adaptive.

        Rates then have another unit.
        """
        state = self.states[0].rate
        if state.learner is None:
            state = replace(state, learner=self.rule.learner.init())
        if not state.plain_momentum or self.metric.begins_as_momentum is None:
            return state
        plain = self._is_plain_momentum()
        if not plain and state.rate:
            state = self.rule.restart(state)
        return replace(state, plain_momentum=plain)

    def _start(self, state: RateState) -> Outcome:
        """The first rate, the learner's own if it has one; none while there is no gradient."""
        own = self.rule.learner.rate(self.rule.learner.init())
        if own is not None:
            finding = Finding("start", "the first rate is the learner's own", {"rate": own})
            return Outcome(self.rule.start(state, own), findings=(finding,))
        if self.metric.first_direction is None:
            if not self._has_gradient():
                return Outcome(state)
            state = replace(self.rule.start(state, UNKNOWN_STEP_RATE), step_unknown=True)
            reason = (
                f"the metric of {type(self.optimizer).__name__} is not known: gradients are compared with "
                "the previous update (galatune.controller.register_optimizer tells the metric)"
            )
            return Outcome(state, findings=(Finding("metric", reason, {}),))
        rate = self._first_rate()
        if not rate:
            return Outcome(state)
        reason = f"first step moves the parameters by {FIRST_MOVE:g} of their norm, whatever rate was given"
        finding = Finding("start", reason, {"rate": rate})
        return Outcome(self.rule.start(state, rate), findings=(finding,))

    def played_rate(self) -> float:
        """The rate of the last step, before group ratios and the momentum factor."""
        return max(
            (
                state.group.applied / (state.group.ratio * self.metric.one_step(group))
                for group, state in zip(self.groups, self.states, strict=True)
                if state.group is not None and state.group.ratio
            ),
            default=0.0,
        )

    def _products(self, pairs: Sequence[GradientPair], settings: EstimateSettings) -> InnerProducts | None:
        """Inner products of the gradient pairs of these groups; None if there are none."""
        return inner_products(self._entries(pairs, settings.next_step_metric))

    def _own_share(self) -> float:
        """Share of the last gradient in the last step; parameters that took fewer steps hardly count."""
        share = self.metric.own_share
        assert share is not None
        states = [(group, self.optimizer.state.get(p)) for group in self.groups for p in group["params"]]
        return min((share(group, state) for group, state in states if has_stepped(state)), default=1.0)

    def _is_plain_momentum(self) -> bool:
        """Whether the coming step is plain momentum, for optimizers that begin so."""
        plain = self.metric.begins_as_momentum
        assert plain is not None
        return all(
            plain(group, self.optimizer.state.get(p) or {})
            for group in self.groups
            for p in group["params"]
            if p.grad is not None
        )

    def _has_gradient(self) -> bool:
        """Whether any entry of any gradient, on any rank, is other than zero."""
        gradients = [p.grad for group in self.groups for p in group["params"]]
        return bool(count(torch.count_nonzero, gradients))

    def _first_rate(self) -> float:
        """The rate of the first step if its direction is known beforehand; 0 while there is no gradient."""
        length = GlobalSum()
        for group, state in zip(self.groups, self.states, strict=True):
            assert state.group is not None
            weight = state.group.ratio * self.metric.one_step(group)
            for p in group["params"]:
                if p.grad is not None and weight:
                    length.add(p, weight**2 * squared(self._first_direction(group, p)))
        total = sum(length.result())
        if not total or not math.isfinite(total):
            return 0.0
        return first_rate(self._first_move(), total)

    def _first_move(self) -> float:
        """Length of the first step, over all parameters that have a gradient."""
        moved = [
            p
            for group, state in zip(self.groups, self.states, strict=True)
            if state.group is not None and state.group.ratio
            for p in group["params"]
            if p.grad is not None
        ]
        total = GlobalSum()
        for p in moved:
            total.add(p, squared(p.detach()))
        return first_move(math.sqrt(sum(total.result())), sum(p.numel() for p in moved))

    def _entries(self, pairs: Sequence[GradientPair], next_step_metric: bool) -> Iterator[PairEntry]:
        owner = {
            id(p): (group, state.group.ratio)
            for group, state in zip(self.groups, self.states, strict=True)
            if state.group is not None and state.group.ratio
            for p in group["params"]
        }
        for pair in pairs:
            group, ratio = owner.get(id(pair.parameter), (None, 0.0))
            if group is None:
                continue
            state = self.optimizer.state.get(pair.parameter)
            if self.metric.diagonal is not None and not has_stepped(state):
                continue  # no step yet, so no metric and no part in the step
            cut = pieces(pair, state) if self.metric.elementwise else [(pair, state)]
            for piece, its_state in cut:
                yield self._entry(group, ratio, piece, its_state, next_step_metric)

    def _entry(
        self, group: Group, ratio: float, pair: GradientPair, state: State | None, next_step_metric: bool
    ) -> PairEntry:
        before, after, step = as_real(pair.before), as_real(pair.after), as_real(pair.step)
        if group.get("maximize"):
            before, after = -before, -after
        decay = self.metric.coupled_decay(group)
        if decay:
            x1 = as_real(pair.parameter.detach())
            before, after = before + decay * (x1 - step), after + decay * x1
        metric = None
        if self.metric.diagonal is not None and state is not None:
            if next_step_metric and self.metric.with_gradient is not None:
                state = self.metric.with_gradient(group, state, after)
            metric = self.metric.diagonal(group, state)
        return PairEntry(before, after, step, metric, ratio)

    def _first_direction(self, group: Group, p: Tensor) -> Tensor:
        """The direction of the first controlled step; a state from before control has its metric.

        A state that has seen zeros only has none yet: a second moment of 0 would say that the step is huge.
        """
        gradient = as_real(p.grad.detach())  # type: ignore[union-attr]
        scale = gradient_scale(self.optimizer)
        if scale is not None:
            gradient = gradient / float(scale)
        if group.get("maximize"):
            gradient = -gradient
        decay = self.metric.coupled_decay(group)
        if decay:
            gradient = gradient + decay * as_real(p.detach())
        state, begins_as_momentum = self.optimizer.state.get(p), self.metric.begins_as_momentum
        if has_stepped(state) and self.metric.diagonal is not None:
            if has_seen_gradient(state):
                return self.metric.diagonal(group, state) * gradient
            if begins_as_momentum is not None and not begins_as_momentum(group, state):
                return adam_first_direction(group, gradient)
        assert self.metric.first_direction is not None
        return self.metric.first_direction(group, gradient)
