"""From an observation to the next rate: the equation and its limits, in the order in which they act.

1. If the loss or a gradient went wrong, the guard reacts, and nothing else happens.
2. If the length of the first step was unknown, it is known now and corrects the present rate.
3. `same_minibatch` or `direction_alignment` turns inner products into an observation.
4. The guard lowers its confidence if the curvature is unusual.
5. `alignment_mean` limits its weight and replaces one minibatch's alignment by the running mean.
6. The learner adds the observation to its state and proposes a rate, by default bounded by that of the whole
   run; it is multiplied by the step scale.
7. If good rates are known beforehand, the proposal is weighed with that (`galatune.controller.rule.prior`).
8. The guard clips the proposal to what one probe, and one step, may change, and smooths the result; the first
   rise to the rate of a prior is not limited.

Then, for each group (`groups.controlled_groups`): momentum factor, `min_lr`, group ratio, schedule, `max_lr`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from galatune.controller.rule.estimate import (
    AlignmentMean,
    InnerProducts,
    Observation,
    alignment_mean,
    direction_alignment,
    same_minibatch,
)
from galatune.controller.rule.first_rate import rate_after_unknown_step
from galatune.controller.rule.guard import Accident, Guard, RunningWindow
from galatune.controller.rule.learner import DiscountedFTRL, Learner
from galatune.controller.rule.prior import Prior

__all__ = [
    "DiscountedFTRL",
    "EstimateSettings",
    "Finding",
    "Learner",
    "Outcome",
    "ProbedStep",
    "RateState",
    "Rule",
    "is_early_in_schedule",
]

EARLY_IN_SCHEDULE = 0.9
"""Growth per step is limited while the schedule factor is above this; later there is no time for that."""

LARGE_STEPS = 300.0
"""Times the first rate, at which a step moves the parameters by 0.3 % of their norm: growth per step is
limited from there on. It does not matter how fast smaller steps grow."""

FAR_BELOW = 300.0
"""If the proposed rate is this many times higher, growth per step is not limited."""

AGREEMENT = 0.2
"""Nor is it if the last logarithms of the curvature differ by less than this, as those of a quadratic do."""

CURVATURES = RunningWindow(length=8, fewest=8)
"""Of the last logarithms of the curvature."""

ROSE = "the loss rose far beyond its noise in two steps in a row"

FLAT_PROBES = 20
"""If so many probes from the start see no curvature, that is said: the loss may be piecewise linear."""


@dataclass(frozen=True)
class RateState:
    """What the rule remembers of one rate. All numbers; a learner's state is a dataclass of numbers too.

    Attributes:
        rate: The present rate, before group ratio, momentum factor, schedule and bounds; 0 at the beginning.
        first_rate: The rate of the first step.
        learner: State of the learner; None before the first step.
        alignment_mean: Sums of the alignment's running mean.
        curvatures: Logarithms of the last 8 curvatures, by whose agreement growth per step is not limited.
        sharpness: Logarithms of the last 15 curvatures; only kept if the guard has a finite `confidence`.
        losses: Last 15 losses seen; only kept if the guard tests for spikes.
        limited: 1 if the last probe wanted a higher rate than allowed, -1 if a lower one, else 0.
        far_below: True if the last probe's increase was limited per probe and not per step.
        settled: True once a probe did not want a higher rate than allowed.
        retreating: True if the last probe saw an accident.
        rollbacks: Number of times the training was rolled back.
        flat_probes: Probes that saw no curvature before any was seen.
        step_unknown: True if the first rate was chosen without knowing the length of its step.
        plain_momentum: True if the coming step is plain momentum, for optimizers that begin so (RAdam).
        first_step: Number of steps before the first one with a gradient; None before that.
        disagrees: True if the last probe contradicted the prior.
    """

    rate: float = 0.0
    first_rate: float = 0.0
    learner: Any = None
    alignment_mean: AlignmentMean = field(default_factory=AlignmentMean)
    curvatures: tuple[float, ...] = ()
    sharpness: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    limited: int = 0
    far_below: bool = False
    settled: bool = False
    retreating: bool = False
    rollbacks: int = 0
    flat_probes: int = 0
    step_unknown: bool = False
    plain_momentum: bool = True
    first_step: int | None = None
    disagrees: bool = False

    @property
    def still_growing(self) -> bool:
        """True if the rate never came to what the learner asked for."""
        return self.limited > 0 and not self.settled

    @property
    def arrived(self) -> bool:
        """True if the rate came to what the learner asked for, and no limit on growth holds it now."""
        return self.settled and self.limited <= 0


@dataclass(frozen=True)
class EstimateSettings:
    """How inner products are turned into a rate.

    Attributes:
        step_scale: Multiplies the rate of the learner.
        use_direction_alignment: Compare the gradient with the previous update, also if the metric is known.
        metric_known: False if the inner products are in the identity because the metric is unknown.
        own_share_removed: The probed minibatch has a share in that update, which is to be removed.
        next_step_metric: Inner products are in the metric of the coming step, the probed gradient taken in.
        steps_since_probe: Steps since the last probe, which limit growth. None if they do not: late in the
            schedule, or if parameters of low precision make the step inexact.
        norm_power: Power of `AlignmentMean.norm_ratio` that multiplies the rate, unless there is a prior.
        prior: What is known of good rates, in the unit of the rule's; None if nothing is.
    """

    step_scale: float
    use_direction_alignment: bool = False
    metric_known: bool = True
    own_share_removed: bool = False
    next_step_metric: bool = False
    steps_since_probe: int | None = None
    norm_power: float = 0.0
    prior: Prior | None = None


@dataclass(frozen=True)
class ProbedStep:
    """One gradient pair, in numbers.

    Attributes:
        products: Inner products of the pair and the step between.
        played_rate: Rate that step was made with: schedule and bounds included, divided by group ratio and
            momentum factor.
        own_share: Share of g0 in the direction of that step, if it was part of it.
        loss: Of the probed step, None if the guard does not need it or it is not known.
        first_move: See `first_rate.first_move`; needed while the length of the first step is unknown.
    """

    products: InnerProducts
    played_rate: float
    own_share: float = 0.0
    loss: float | None = None
    first_move: float = 0.0


@dataclass(frozen=True)
class Finding:
    """What the rule did beside choosing a rate; the controller makes an event of it."""

    kind: str
    reason: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """The next state, what was observed (None: nothing), and what limited the rate."""

    state: RateState
    observation: Observation | None = None
    findings: tuple[Finding, ...] = ()


def is_early_in_schedule(schedule_factor: float) -> bool:
    """True if the schedule is so early that growth per step may be limited."""
    return schedule_factor > EARLY_IN_SCHEDULE


@dataclass(frozen=True)
class Rule:
    """A learner and a guard: together they turn gradient pairs into rates."""

    learner: Learner = field(default_factory=DiscountedFTRL)
    guard: Guard = field(default_factory=Guard)

    def next_rate(self, state: RateState, probed: ProbedStep, settings: EstimateSettings) -> Outcome:
        """The next rate from one gradient pair."""
        losses, accident = self.guard.accident(state.losses, probed.products.finite, probed.loss)
        state = replace(state, losses=losses)
        if accident is not None:
            return self._after_accident(state, accident)
        state = replace(state, retreating=False)
        if probed.products.step_step and state.step_unknown:
            known = rate_after_unknown_step(probed.first_move, probed.products.step_step, state.rate)
            state = replace(state, step_unknown=False, rate=known, first_rate=known)  # a step of 1e-5 ||x||
        by_direction = settings.use_direction_alignment or not settings.metric_known
        if by_direction:
            observation = direction_alignment(probed.products, probed.played_rate, probed.own_share)
        else:
            observation = same_minibatch(probed.products)
        if observation is None:
            # A gradient that is zero says nothing at all.
            return (
                self._nothing_seen(state, probed, settings)
                if probed.products.before_before
                else Outcome(state)
            )
        sharpness, observation, doubts = self._weigh(state, observation)
        mean, steady = state.alignment_mean, observation
        if by_direction and settings.metric_known:
            mean, steady = alignment_mean(mean, observation)
        state = replace(state, sharpness=sharpness, alignment_mean=mean)
        state = self._learn(state, steady)
        asked = self._asked(state, settings)
        if asked is None:
            return Outcome(state, observation, doubts)
        state, wanted, news = self._weigh_prior(state, asked, settings.prior)
        state, limits = self._limit(state, wanted, settings)
        return Outcome(state, observation, doubts + news + limits)

    def with_first_rate(self, state: RateState, rate: float) -> RateState:
        """The state with its first rate."""
        return replace(state, rate=rate, first_rate=rate)

    def after_rise(self, state: RateState, loss: float, first: float) -> Outcome:
        """The rate divided, since the loss rose far beyond its noise in two steps in a row (`loss_trend`).

        Args:
            state: The present state.
            loss: The present loss.
            first: The first loss.
        """
        state = replace(state, rate=self.guard.retreat(state.rate), retreating=True)
        values = {"loss": loss, "first_loss": first, "rate": state.rate}
        return Outcome(state, findings=(Finding("accident", f"{ROSE}: rate divided", values),))

    def restart(self, state: RateState) -> RateState:
        """The state without a rate, for optimizers whose rate changes its unit (RAdam).

        The guard's memory and the counts stay.
        """
        return replace(
            state,
            rate=0.0,
            first_rate=0.0,
            learner=self.learner.init(),
            alignment_mean=AlignmentMean(),
            curvatures=(),
        )

    def _weigh(
        self, state: RateState, observation: Observation
    ) -> tuple[tuple[float, ...], Observation, tuple[Finding, ...]]:
        sharpness, weighed = self.guard.weigh(state.sharpness, observation)
        if weighed.confidence >= observation.confidence:
            return sharpness, weighed, ()
        reason = "this curvature is far from the usual one: the observation counts for less"
        values = {"curvature": weighed.effective_curvature, "confidence": weighed.confidence}
        return sharpness, weighed, (Finding("doubt", reason, values),)

    def _learn(self, state: RateState, observation: Observation) -> RateState:
        curvatures = state.curvatures
        if observation.effective_curvature > 0:
            curvatures = CURVATURES.add(curvatures, math.log(observation.effective_curvature))
        return replace(state, curvatures=curvatures, learner=self.learner.update(state.learner, observation))

    def _asked(self, state: RateState, settings: EstimateSettings) -> float | None:
        """The rate that the learner asks for, times the step scale; None before any observation."""
        chosen = self.learner.rate(state.learner)
        if chosen is None:
            return None
        power = 0.0 if settings.prior is not None else settings.norm_power
        return settings.step_scale * math.pow(state.alignment_mean.norm_ratio, power) * chosen

    def _weigh_prior(
        self, state: RateState, proposed: float, prior: Prior | None
    ) -> tuple[RateState, float, tuple[Finding, ...]]:
        """The proposal weighed with what is known; contradictions in a row are one finding."""
        if prior is None:
            return state, proposed, ()
        asked = max(proposed, state.rate / self.guard.shrink)  # gradients that turned around ask for less
        weighed = prior.weigh(asked)
        findings: tuple[Finding, ...] = ()
        if weighed.disagree and not state.disagrees:
            reason = "gradients and the prior contradict each other: the rate goes half way"
            values = {"prior": prior.rate, "asked": asked, "rate": weighed.rate}
            findings = (Finding("prior", reason, values),)
        return replace(state, disagrees=weighed.disagree), weighed.rate, findings

    def _limit(
        self, state: RateState, proposed: float, settings: EstimateSettings
    ) -> tuple[RateState, tuple[Finding, ...]]:
        """The proposed rate within the guard's limits, smoothed; limited probes in a row are one finding."""
        previous = state.rate
        steps = self._growth_steps(state, proposed, settings)
        clipped = self.guard.limit(previous, proposed, steps)
        held = (clipped < proposed) - (clipped > proposed)
        if held > 0 and settings.prior is not None:
            if not state.settled:
                clipped = max(clipped, min(settings.prior.safe_rate, proposed))
            # Where good rates lie it has arrived; what gradients ask beyond that is a refinement.
            held = int(clipped < min(settings.prior.safe_rate, proposed))
        findings: tuple[Finding, ...] = ()
        if held and held != state.limited:
            values = {"previous": previous, "proposed": proposed, "rate": clipped}
            most, least = self.guard.most_growth(steps), self.guard.shrink
            reason = (
                f"rate increase limited to {most:.3g}x"
                if held > 0
                else f"rate decrease limited to 1/{least:g}"
            )
            findings = (Finding("limit", f"{reason} per probe", values),)
        state = self._after_limit(state, held, steps)
        return replace(state, rate=self.guard.smooth(previous, clipped)), findings

    def _growth_steps(self, state: RateState, proposed: float, settings: EstimateSettings) -> int | None:
        """Steps since the last probe if growth per step is limited, else None."""
        tiny_step = settings.prior is None and state.rate <= LARGE_STEPS * state.first_rate
        leap, agree = state.rate * FAR_BELOW < proposed, CURVATURES.spread(state.curvatures) < AGREEMENT
        return None if tiny_step or leap or agree else settings.steps_since_probe

    def _after_limit(self, state: RateState, held: int, steps: int | None) -> RateState:
        """Remember the limit. If it was that per probe, the rate is far below and probes stay frequent."""
        far_below, settled = held > 0 and steps is None, state.settled or held <= 0
        return replace(state, limited=held, far_below=far_below, settled=settled)

    def _nothing_seen(self, state: RateState, probed: ProbedStep, settings: EstimateSettings) -> Outcome:
        """The rate after a step that showed nothing, although there was a gradient.

        If nothing was ever observed, it doubles if the step rounds away and stays otherwise. Later it rises
        to what earlier probes said, or to the first rate: a rate that noise made so low that its steps show
        nothing would stay there for ever.
        """
        asked = self._asked(state, settings)
        if settings.prior is not None:
            return self._toward_prior(state, settings, settings.prior, asked)
        if asked is None and probed.products.step_step == 0:
            growth = self.guard.growth if math.isfinite(self.guard.growth) else 2.0
            return Outcome(replace(self._after_limit(state, 1, None), rate=state.rate * growth))
        if asked is None:
            state = replace(state, flat_probes=state.flat_probes + 1)
            if state.flat_probes != FLAT_PROBES:
                return Outcome(state)
            reason = f"{FLAT_PROBES} probes saw no curvature at all: the rate stays at its start"
            return Outcome(state, findings=(Finding("flat", reason, {"rate": state.rate}),))
        wanted = max(asked, state.first_rate)
        steps = self._growth_steps(state, wanted, settings)
        clipped = self.guard.limit(state.rate, wanted, steps)
        state = self._after_limit(state, int(clipped < wanted), steps)
        return Outcome(replace(state, rate=max(state.rate, clipped)))

    def _toward_prior(
        self, state: RateState, settings: EstimateSettings, prior: Prior, asked: float | None
    ) -> Outcome:
        """`_nothing_seen` with a prior, whose rate stands for what was never observed."""
        _, wanted, _ = self._weigh_prior(state, asked or prior.rate, prior)
        begins = not state.settled
        state, findings = self._limit(state, max(wanted, state.rate), settings)
        if asked is None and begins and state.settled:
            values = {"rate": state.rate}
            findings += (Finding("flat", "no curvature was seen: the rate is the prior's", values),)
        return Outcome(state, findings=findings)

    def _after_accident(self, state: RateState, accident: Accident) -> Outcome:
        """The guard's reaction; of several retreats in a row only the first is a finding."""
        guard, reason = self.guard, accident.reason
        spent = guard.reaction == "roll back" and state.rollbacks >= guard.rollbacks
        if guard.reaction == "stop" or spent:
            return Outcome(state, findings=(Finding("stop", reason, {"rate": state.rate}),))
        if guard.reaction == "roll back":
            state = replace(state, rate=state.rate / 2, rollbacks=state.rollbacks + 1)
            values = {"rate": state.rate, "rollbacks": float(state.rollbacks)}
            reason = f"{reason}: back to the last good parameters, rate halved"
            return Outcome(state, findings=(Finding("roll back", reason, values),))
        first = not state.retreating
        state = replace(state, rate=guard.retreat(state.rate), retreating=True)
        finding = Finding(accident.kind, f"{reason}: rate divided", {"rate": state.rate})
        return Outcome(state, findings=(finding,) if first else ())
