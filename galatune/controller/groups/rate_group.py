"""Parameter groups that share one rate, and what the rule is told of them: tensors in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.controller.gradient_pair import GradientPair, PairEntry, inner_products, pieces
from galatune.controller.optimizers import (
    OptimizerMetric,
    State,
    adam_first_direction,
    as_real,
    first_diagonal,
    has_seen_gradient,
    has_stepped,
)
from galatune.controller.rule.estimate import InnerProducts
from galatune.controller.rule.first_rate import FIRST_MOVE, UNKNOWN_STEP_RATE, first_move, first_rate
from galatune.controller.rule.loss_trend import LossTrend
from galatune.controller.rule.prior import Prior
from galatune.controller.rule.rate import EstimateSettings, Finding, Outcome, ProbedStep, RateState, Rule
from galatune.controller.state import ControlState
from galatune.controller.torch_hooks.distributed import GlobalSum, count, squared
from galatune.controller.torch_hooks.grad_scaler import gradient_scale

__all__ = ["RateGroup"]

Group = MutableMapping[str, Any]

YOUNG = 30
"""Steps of a parameter that began to move later than others, until its metric says enough by itself."""


@dataclass(frozen=True)
class RateGroup:
    """Parameter groups that share one rate, at one step.

    Attributes:
        optimizer: Gradients of the present step are there; its state is that before the step.
        metric: The optimizer's row.
        rule: What turns gradient pairs into rates.
        groups: The parameter groups.
        states: Theirs; the first holds the state of the rate.
        before: Ratio of each group's rate in the last step; 0 for a group that was held still.
        coming: The same in the coming step.
        prior: What is known of good rates; None if nothing is.
    """

    optimizer: Optimizer
    metric: OptimizerMetric
    rule: Rule
    groups: Sequence[Group]
    states: Sequence[ControlState]
    before: Sequence[float]
    coming: Sequence[float]
    prior: Prior | None = None

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
            return self._choose_first_rate(state) if any(self.coming) else Outcome(state)
        products = None if pairs is None else self._products(pairs, settings)
        if products is None or (not self.played_rate() and self.rule.learner.rate(state.learner) is None):
            return Outcome(state)  # no pair; or held still before anything was ever observed
        own = self._own_share() if settings.own_share_removed and settings.use_direction_alignment else 0.0
        if own >= 1.0:  # a first step, and no direction before it
            settings = replace(settings, use_direction_alignment=False)
        probed = ProbedStep(
            products=products,
            played_rate=self.played_rate(),
            own_share=own,
            loss=loss,
            first_move=self._first_move(self.before) if state.step_unknown and products.step_step else 0.0,
        )
        settings = replace(settings, metric_known=self.metric.known, prior=self._prior_of_rule())
        return self.rule.next_rate(state, probed, settings)

    def _prior_of_rule(self) -> Prior | None:
        """The prior in the unit of the rule's rate, which is divided by the momentum factor."""
        if self.prior is None or (self.metric.begins_as_momentum is not None and self._is_plain_momentum()):
            return None  # rates of plain momentum have another unit
        if self.metric.momentum_factor is None:
            return self.prior
        factor = max(self.metric.momentum_factor(group) for group in self.groups)
        return replace(self.prior, rate=self.prior.rate / factor) if factor > 0 else None

    def after_rise(self, losses: LossTrend) -> Outcome:
        """The next state of the rate after an accident that the losses told."""
        return self.rule.after_rise(self.states[0].rate, losses.recent[-1], losses.first)

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

    def _choose_first_rate(self, state: RateState) -> Outcome:
        """The first rate, the learner's own if it has one; none while there is no gradient."""
        own = self.rule.learner.rate(self.rule.learner.init())
        if own is not None:
            finding = Finding("start", "the first rate is the learner's own", {"rate": own})
            return Outcome(self.rule.with_first_rate(state, own), findings=(finding,))
        if (prior := self._prior_of_rule()) is not None:
            return self._begin_below(prior, state)
        return self._choose_tiny_rate(state)

    def _choose_tiny_rate(self, state: RateState) -> Outcome:
        """The rate whose step hardly moves the parameters, so that it does not matter where it begins."""
        if (
            self.metric.first_direction is None
        ):  # as of every unknown metric: a rate of 1e-6 measures the step
            if not self._has_gradient():
                return Outcome(state)
            state = replace(self.rule.with_first_rate(state, UNKNOWN_STEP_RATE), step_unknown=True)
            if self.metric.known:
                return Outcome(state)
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
        return Outcome(self.rule.with_first_rate(state, rate), findings=(finding,))

    def _begin_below(self, prior: Prior, state: RateState) -> Outcome:
        """The first rate that a prior gives; none while there is no gradient."""
        if not self._has_gradient():
            return Outcome(state)
        known = f"{prior.rate:.3g} within a factor of {math.exp(prior.spread):.2g}"
        finding = Finding("start", f"good rates are known: {known}", {"rate": prior.first_rate})
        return Outcome(self.rule.with_first_rate(state, prior.first_rate), findings=(finding,))

    def mark_first_step(self, steps: int) -> RateState:
        """Once the rate is chosen, remember after how many steps: its first probes are counted from there."""
        state = self.states[0]
        if state.rate.rate and state.rate.first_step is None:
            state.rate = replace(state.rate, first_step=steps)
        return state.rate

    def played_rate(self) -> float:
        """The rate that the last step was made with, schedule and bounds included.

        It is divided by group ratio and momentum factor (1 if the metric has none).
        """
        return max(
            (
                state.group.applied / (ratio * self.metric.one_step(group))
                for group, state, ratio in zip(self.groups, self.states, self.before, strict=True)
                if state.group is not None and ratio
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
        for group, ratio in zip(self.groups, self.coming, strict=True):
            weight = ratio * self.metric.one_step(group)
            for p in group["params"]:
                if p.grad is not None and weight:
                    length.add(p, weight**2 * squared(self._first_direction(group, p)))
        total = sum(length.result())
        if not total or not math.isfinite(total):
            return 0.0
        return first_rate(self._first_move(self.coming), total)

    def _first_move(self, ratios: Sequence[float]) -> float:
        """Length of the first step, over all parameters that have a gradient and are moved."""
        moved = [
            p
            for group, ratio in zip(self.groups, ratios, strict=True)
            if ratio
            for p in group["params"]
            if p.grad is not None
        ]
        total = GlobalSum()
        for p in moved:
            total.add(p, squared(p.detach()))
        return first_move(math.sqrt(sum(total.result())), sum(p.numel() for p in moved))

    def _entries(self, pairs: Sequence[GradientPair], next_step_metric: bool) -> Iterator[PairEntry]:
        owner = {
            id(p): (group, ratio)
            for group, ratio in zip(self.groups, self.before, strict=True)
            if ratio
            for p in group["params"]
        }
        for pair in pairs:
            group, ratio = owner.get(id(pair.parameter), (None, 0.0))
            if group is None:
                continue
            state = self.optimizer.state.get(pair.parameter)
            if self.metric.diagonal is not None and not has_stepped(state) and self.optimizer.state:
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
            if self.metric.with_gradient is not None and (next_step_metric or self._is_young(state)):
                state = self.metric.with_gradient(group, state, after)
            metric = self.metric.diagonal(group, state)
        elif self.metric.diagonal is not None:  # another optimizer took the step, and this one begins anew
            metric = first_diagonal(self.metric, group, after)
        return PairEntry(before, after, step, metric, ratio)

    def _is_young(self, state: State) -> bool:
        """Whether a parameter began to move later than others, a few steps ago.

        The one gradient that its metric was made of is mostly noise by then, near zero in some entries; with
        the present gradient taken in, those do not outweigh all others.
        """
        return bool(self.states[0].rate.first_step) and float(state.get("step", YOUNG)) < YOUNG

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
