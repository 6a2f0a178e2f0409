"""The `Controller` of one torch optimizer: its life, and what happens around each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.controller import checkpoint
from galatune.controller.events import Event, EventLog
from galatune.controller.groups.controlled_groups import ControlledGroups
from galatune.controller.groups.lifetime import EARLY, Lifetime, why_stopped
from galatune.controller.groups.lineage import Heritage, lineages
from galatune.controller.groups.rate_group import RateGroup
from galatune.controller.history import ProbeRecord
from galatune.controller.optimizers import StepLengths, is_plain
from galatune.controller.options import Options
from galatune.controller.probes.closure_causes import NOT_CALLED
from galatune.controller.probes.loss_scale import LossScale
from galatune.controller.probes.select import ProbeSelector
from galatune.controller.refusals import refuse, refuse_sparse, shown_by_step, stands_still
from galatune.controller.rollback import Snapshot
from galatune.controller.rule.estimate import Observation
from galatune.controller.rule.loss_trend import Rise
from galatune.controller.rule.prior import Prior
from galatune.controller.rule.rate import Outcome, RateState
from galatune.controller.state import KEY, Pending, lost_hooks
from galatune.controller.torch_hooks.closure_call import ignores_closure
from galatune.controller.torch_hooks.distributed import place
from galatune.controller.torch_hooks.grad_scaler import overflow
from galatune.controller.torch_hooks.loss import LossWatch
from galatune.controller.torch_hooks.optimizer_step import StepHooks, closure_of, with_closure
from galatune.errors import ControlError, DivergenceError

__all__ = ["Controller"]


class Controller:
    """Sets the learning rate of one optimizer; made by `attach`.

    What it must remember is in ``optimizer.param_groups[...]["galatune"]`` (see `state.ControlState`).

    Attributes:
        history: One `ProbeRecord` per probe (and per group with `per_group`); not part of the state.
        rate_curve: The applied rate by step, thinned.
        rates_chosen: What the rule knew of each rate at the last step that was looked at.
    """

    def __init__(self, optimizer: Optimizer, options: Options, *, counted: bool = False) -> None:
        refuse(optimizer)
        kept = lineages.find(optimizer, options, counted=counted) or Heritage(options, [])
        kept.settle(optimizer)
        self.history, self.rate_curve = kept.history, kept.rate_curve
        self._options, guard = options, options.rule.guard
        self._log = EventLog(lambda: self.steps + 1, options.on_event, kept.events)
        self._groups = ControlledGroups(optimizer, options, self._log.note_once)
        wanted = options.probe, options.schedule
        self._selector = selector = ProbeSelector(*wanted, self._log.note, self._groups.rate_starts)
        self._lengths, self._begun = None if is_plain(optimizer) else StepLengths(), self.steps
        self._given_back: str | None = None
        self.on_given_back: Callable[[str], None] | None = None
        self._reads_losses, self._rolls_back = guard.reads_losses, guard.reaction == "roll back"
        self._watch, self._scale, self._snapshot = LossWatch(), LossScale(), Snapshot()
        self._watch.begin(_all(optimizer))
        self.rates_chosen: list[RateState] = []
        self._depth, self._full_step, self._ignored, self._frozen = 0, True, False, False
        self._decided, self._ignores_closure = False, ignores_closure(optimizer)
        self._next_full_step: float = 0
        around, ending = (self._before_step, self._after_step), (self._forget_step, self._finish)
        self._hooks = StepHooks(optimizer, lost_hooks, around, ending, (self._after_load, checkpoint.pack))
        self._lifetime = Lifetime(optimizer, self._log, selector, self._watch, self._leave)
        self._restore(optimizer)
        if kept.probe is not None:
            selector.take_over(kept.probe, self._groups.moving(optimizer))

    # -- what a user reads and does

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer under control; a `ControlError` if it is gone."""
        if (optimizer := self._lifetime.optimizer()) is None:
            raise ControlError("the optimizer of this controller is gone; keep a reference to it")
        return optimizer

    def controls(self, optimizer: Any) -> bool:
        """Whether this is its optimizer."""
        return self._lifetime.optimizer() is optimizer

    @property
    def learning_rate(self) -> float | list[float]:
        """Rate of the last step as applied (of the group with the largest); a list with `per_group`."""
        return list(self._groups.applied) if self._options.per_group else self._largest_rate

    @property
    def events(self) -> list[Event]:
        """What was decided and noticed, oldest first."""
        return self._log.events

    @property
    def steps(self) -> int:
        """Steps taken under control."""
        return self._groups.optimizer_state.step

    @property
    def probes(self) -> int:
        """Gradient pairs measured."""
        return self._groups.optimizer_state.probes

    @property
    def gradient_evaluations(self) -> int:
        """Gradients computed so far, the loop's own (one per step) and those of probes."""
        return self._groups.optimizer_state.gradient_evaluations

    @property
    def probe(self) -> str:
        """Name of the probe that gradient pairs come from."""
        return self._selector.probe.name

    @property
    def prior(self) -> Prior | None:
        """What is known of good rates."""
        return self._options.prior

    @property
    def unseen(self) -> str | None:
        """Why the rate is still the first one although steps were to be probed; None if one was chosen."""
        return self._selector.unseen

    @property
    def _largest_rate(self) -> float:
        return max(self._groups.applied, default=0.0)

    def freeze(self) -> None:
        """Keep the rate as it is from here on (the schedule still acts); no more probes."""
        self._frozen = True
        self._watch.close()
        self._forget_step()
        self._selector.close()

    def detach(self) -> None:
        """Let the optimizer go: hooks, state and wrapper are removed, its rate is its schedule's again.

        One that is made anew over the same parameters begins anew then.
        """
        checkpoint.clear(self._groups.states[0])
        self._selector.conclude()
        unseen = not self.steps and self._given_back is None
        self._lifetime.conclude(self.steps, self._largest_rate, self.rates_chosen, unseen=unseen)
        if self._given_back is not None and self.on_given_back is not None:
            told, self.on_given_back = self.on_given_back, None
            told(self._given_back)
        self.rates_chosen = []
        self._selector.close()
        self._watch.close()
        if (optimizer := self._lifetime.optimizer()) is None:
            return
        self._groups.restore()
        self._hooks.remove(optimizer)
        for group in optimizer.param_groups:
            group.pop(KEY, None)
        self._lifetime.forget()

    def state_dict(self) -> dict[str, Any]:
        """What the controller remembers, in plain types; it is part of ``optimizer.state_dict()`` as well."""
        return checkpoint.plain_groups(self._groups.states)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`.

        Raises:
            ControlError: Written in another schema, for another number of groups, or damaged.
        """
        checkpoint.load_groups(self.optimizer.param_groups, state, self._options.rule.learner)
        self._after_load(self.optimizer)

    # -- around a step

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._depth += 1
        if self._depth > 1 or self._given_back is not None:
            return None  # a subclass whose step calls that of its base: torch runs the hooks of both
        closure = None if self._ignores_closure else closure_of(args, kwargs)
        self._full_step = self.steps >= self._next_full_step
        self._ignored = self._decided = False
        if self._full_step:
            self._ignored = closure is None and not self.steps and checkpoint.only_makes_state(optimizer)
            if self._ignored:
                return None
            spent, closure = self._selector.before(closure, _all(optimizer))
            self._spend(spent)
        if closure is None:
            self._choose_rates(optimizer)
            return None
        return with_closure(args, kwargs, closure, lambda loss: self._choose_rates(optimizer, loss))

    def _choose_rates(self, optimizer: Optimizer, returned: Any = None) -> None:
        """With this step's gradients there: keep the rates if no probe needs this step, else decide."""
        self._decided, rise = True, self._watch.end_step(returned)
        self._groups.cautious = rise is Rise.ONCE
        if self._full_step or rise is Rise.ACCIDENT or not self._groups.keep_rates(optimizer):
            self._full_step = True
            self._decide(optimizer, accident=rise is Rise.ACCIDENT)

    def _decide(self, optimizer: Optimizer, accident: bool) -> None:
        """Choose the rates, apply them, keep what the next probe needs.

        The probe copies tensors now (`remember`); after the step they go into the state, for checkpoints.
        """
        self._groups.initialize(optimizer)
        if any(p.grad is not None and p.grad.layout != torch.strided for p in _all(optimizer)):
            refuse_sparse(optimizer)
        factors, rate_groups = self._groups.factors(optimizer), self._groups.rate_groups(optimizer)
        self._selector.probe.agree()  # on all ranks, whether this step is probed
        if self._is_skipped(optimizer, rate_groups):
            self._ignored = True
            return
        settings, news = self._groups.estimate_settings(optimizer, self._selector.probe, max(factors))
        if news is not None:
            scale = settings.step_scale
            self._log.note("schedule", f"step scale {scale:g}: {news}", {"step_scale": scale})
        checkpoint.clear(self._groups.states[0])
        pairs, spent = self._scale.take(self._selector, optimizer, self.steps)
        self._spend(spent)
        probed = pairs is not None
        played = [one.played_rate() for one in rate_groups] if probed else []
        if self._lengths and self.give_back(stands_still(optimizer, self._lengths, played, pairs)):
            return
        loss = self._watch.mean(_all(optimizer)) if probed and self._reads_losses else None
        seen = [self._accept(one, one.adapt(settings, pairs, loss)) for one in rate_groups]
        self._selector.saw(pairs, seen, [one.states[0].rate for one in rate_groups])
        pairs = None  # its tensors make room for the next step's
        if probed and any(one.states[0].rate.retreating for one in rate_groups):
            self._groups.cautious = False  # the guard has lowered the rate already
        elif accident:
            self._take_back(rate_groups)
        self._groups.apply(optimizer, factors)
        if probed:
            self._record(rate_groups, seen, played)
        self.rates_chosen = [one.mark_first_step(self.steps) for one in rate_groups]
        moving = self._groups.moving(optimizer)
        if not self._frozen:
            self._selector.remember(self.steps + 1, moving)
            self._scale.remember(optimizer)
        self._watch.follow(moving)
        self._judge_losses(optimizer)
        if self._rolls_back and (probed or not self._snapshot.taken):
            self._snapshot.take(optimizer)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._depth -= 1
        if self._depth > 0 or self._ignored or self._given_back is not None:
            return
        if not self._decided:
            self._groups.restore()
            self._ignores_closure = True
            self._log.note("closure", NOT_CALLED, {})
            return
        state = self._groups.states[0]
        taken = state.optimizer.step + 1
        if self._full_step:
            lost_hooks.has_stepped(optimizer)
            if self._lengths and taken <= self._begun + EARLY:  # states of optimizers are complete then
                self.give_back(shown_by_step(optimizer, self._groups.applied))
        self._groups.restore()
        if self._full_step:
            self._selector.stepped(taken)
            if self._rolls_back and self._snapshot.settle(optimizer):
                self._selector.forget()
            checkpoint.store(state, self._selector)
            self._next_full_step = self._find_next_full_step(taken)
        elif taken >= self._next_full_step:
            self._selector.expect(taken)
            self._next_full_step = self._selector.next_step
        evaluations = state.optimizer.gradient_evaluations + 1
        state.optimizer = replace(
            state.optimizer, step=taken, gradient_evaluations=evaluations, losses=self._watch.trend
        )
        self.rate_curve.add(taken, self._largest_rate)

    def _find_next_full_step(self, taken: int) -> float:
        """Number of the first step from here on that has to be looked at."""
        unsettled = self._groups.metric.begins_as_momentum is not None
        waits = any(not state.rate or (unsettled and state.plain_momentum) for state in self.rates_chosen)
        if waits or (self._rolls_back and not self._snapshot.taken):
            return taken
        return math.inf if self._frozen else self._selector.next_step  # by the probe schedule

    def give_back(self, reason: str | None) -> bool:
        """Let the optimizer go during its step, if there is a reason why it cannot be controlled."""
        if reason is not None:
            self._log.note("given back", reason, {})
            self._ignored, self._given_back = True, reason
            self._groups.restore()
        return reason is not None

    def _finish(self) -> None:
        """After a step, also one that raised."""
        self._depth = 0
        self._groups.restore()
        if self._given_back is not None:
            self.detach()

    def _forget_step(self) -> None:
        """The last step is not going to be probed."""
        self._selector.forget()
        checkpoint.clear(self._groups.states[0])
        self._next_full_step = 0

    def _after_load(self, optimizer: Optimizer) -> None:
        self._selector.forget()  # the remembered step belongs to parameters that may have been replaced
        self._snapshot.forget()
        self._watch.forget()
        self._groups.forget_schedule()
        self._scale.forget()
        self._log.forget_once()
        self._restore(optimizer)

    def _restore(self, optimizer: Optimizer) -> None:
        """Go on with the step that the state, if it comes from elsewhere, holds."""
        self._next_full_step = 0
        self._groups.load(optimizer)
        if self._groups.initialized:
            checkpoint.restore(self._groups.states[0], self._selector, self._groups.moving(optimizer))
        self._selector.expect(self.steps)
        self._watch.trend = self._groups.optimizer_state.losses
        self._judge_losses(optimizer)

    def _is_skipped(self, optimizer: Optimizer, rate_groups: Sequence[RateGroup]) -> bool:
        """Whether a step that would be learned from is going to be skipped, its gradients too large.

        Asked of such steps alone: the answer lies on the device.
        """
        found = overflow(optimizer)
        learns = self._selector.probe.ready or not all(one.states[0].rate.rate for one in rate_groups)
        return found is not None and learns and bool(found)

    def _judge_losses(self, optimizer: Optimizer) -> None:
        """Judge the losses from here on, or not.

        Before the first rate nothing moves, ranks would have to agree on the loss of every step, and a guard
        may not divide rates.
        """
        self._watch.maximized = any(group.get("maximize") for group in optimizer.param_groups)
        begun = bool(self._groups.rate_starts())
        divides = 1 < self._options.rule.guard.shrink < math.inf
        self._watch.judges = begun and divides and not self._frozen and place()[1] == 1

    def _accept(self, rate_group: RateGroup, outcome: Outcome) -> Observation | None:
        """Take over what the rule chose, and make events of what it says."""
        rate_group.states[0].rate = outcome.state
        for finding in outcome.findings:
            if finding.kind == "roll back":
                self._snapshot.ask()
            self._log.note(finding.kind, finding.reason, finding.values)
            if finding.kind == "stop":
                raise DivergenceError(why_stopped(finding, outcome.state))
        return outcome.observation

    def _take_back(self, rate_groups: Sequence[RateGroup]) -> None:
        """After an accident: lower the rates, and probe this step, which moves where curvature is large."""
        for one in rate_groups:
            self._accept(one, one.after_rise(self._watch.trend))
        self._selector.owed = True

    def _spend(self, evaluations: int) -> None:
        self._groups.update(gradient_evaluations=self.gradient_evaluations + evaluations)

    def _record(
        self, rate_groups: Sequence[RateGroup], seen: Sequence[Observation | None], played: Sequence[float]
    ) -> None:
        self._groups.update(probes=self.probes + 1, last_probe=self.steps)
        for one, observation, rate in zip(rate_groups, seen, played, strict=True):
            self.history.append(
                ProbeRecord.of(
                    observation,
                    step=self.steps + 1,
                    learning_rate=max(state.group.applied for state in one.states if state.group is not None),
                    gradient_evaluations=self.gradient_evaluations,
                    played_rate=rate,
                )
            )

    def _leave(self, *, alive: bool) -> Heritage | None:
        """What the next optimizer over the same parameters goes on with; None if there was no step."""
        if self._frozen or not (self.steps and self._groups.initialized):
            return None
        states = [replace(state, pending=Pending()) for state in self._groups.states]
        kept = Heritage(self._options, states, self.history, self.events, self.rate_curve)
        return kept.copy() if alive else kept


def _all(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
