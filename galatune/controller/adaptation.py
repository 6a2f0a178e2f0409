"""From a gradient pair to the next rate of one slot: parameter groups that share a rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.controller.gradient_pair import Change, pieces
from galatune.controller.optimizers import (
    Geometry,
    State,
    adam_first_direction,
    as_real,
    has_seen_gradient,
    has_stepped,
)
from galatune.controller.pace import CURVATURES, note_curvature, note_limit, paced
from galatune.controller.rule.estimate import (
    InnerProducts,
    Observation,
    PairEntry,
    along_the_way,
    in_metric,
    inner_products,
)
from galatune.controller.rule.guard import Accident, Guard
from galatune.controller.rule.rate import Learner
from galatune.controller.torch_hooks.distributed import GlobalSum, count, squared
from galatune.controller.torch_hooks.grad_scaler import gradient_scale
from galatune.controller.torch_hooks.lr_schedule import MEMORY
from galatune.controller.way import AT_THE_START, steadied
from galatune.errors import DivergenceError

__all__ = ["Adaptation", "Reading"]

FIRST_MOVE = 1e-5
"""Size of the first step relative to the parameters' norm: so small that the start is forgotten."""

SMALLEST_WEIGHT = 1e-3
"""Parameters count as at least this large (root mean square), so that zero-initialized ones start too."""

BLIND_RATE = 1e-6
"""First rate where the direction is not known beforehand; the step it makes tells the next one."""

FLAT_PROBES = 20
"""So many probes without any curvature, from the start, are an event: a piecewise linear loss, for one."""

Note = Callable[[str, str, Mapping[str, float]], None]


@dataclass(frozen=True)
class Reading:
    """How a gradient pair is read.

    Attributes:
        scale: Step scale.
        travelled: Alignment with the direction travelled, also where a metric is known.
        echoed: The probed minibatch has a share in that direction, which is to be taken out.
        coming: Metric of the coming step, the probed gradient taken in, where the optimizer's row has it.
        steps: Since the last probe; None where the schedule leaves no time for the guard's pace.
    """

    scale: float
    travelled: bool = False
    echoed: bool = False
    coming: bool = False
    steps: int | None = None


class Adaptation:
    """Recipe R for one optimizer. All memory lies in the parameter groups; this holds only choices.

    Args:
        geometry: The optimizer's row.
        learner: What chooses the rate.
        guard: Limits on its movement.
        note: Called with (kind, reason, values) of each event.
        roll_back: Has the present step undone once it is over.
    """

    def __init__(
        self,
        geometry: Geometry,
        learner: Learner,
        guard: Guard,
        note: Note,
        roll_back: Callable[[], None],
    ) -> None:
        self._geometry, self._learner, self._guard, self._note = geometry, learner, guard, note
        self._roll_back = roll_back

    def adapt(
        self,
        optimizer: Optimizer,
        members: Sequence[int],
        reading: Reading,
        changes: Sequence[Change] | None,
        loss: float | None = None,
    ) -> Observation | None:
        """Update the rate of the groups ``members`` in their memory.

        Args:
            optimizer: Gradients of the present step are there; its state is that before the step.
            members: Indices of groups; the first holds the slot's memory.
            reading: How the pair is read.
            changes: The gradient pair, None where this step is not probed.
            loss: Of the probed step, None where the guard does not ask for it or it is not known.

        Returns:
            What was seen, None where nothing was.
        """
        groups = [optimizer.param_groups[i] for i in members]
        memory = groups[0][MEMORY]
        for name, value in self._learner.init().items():
            memory.setdefault(name, value)
        if memory.get("plain", True) and self._geometry.starts_plain is not None:
            self._follow_units(optimizer, groups)
        if not memory.get("rate"):
            memory["rate"] = memory["first"] = self._first_rate(optimizer, groups)
            return None
        if changes is None:
            return None
        products = inner_products(self._entries(optimizer, groups, changes, reading.coming))
        if products is None:
            return None
        own = self._own_share(optimizer, groups) if reading.echoed and reading.travelled else 0.0
        if own >= 1.0:
            reading = replace(reading, travelled=False)  # a first step, and no direction before it
        return self._learn(groups, memory, reading, products, own, loss)

    def _follow_units(self, optimizer: Optimizer, groups: Sequence[dict[str, Any]]) -> None:
        """Begin anew when plain momentum becomes adaptive: rates then have another unit."""
        assert self._geometry.starts_plain is not None
        memory = groups[0][MEMORY]
        states = [
            (g, optimizer.state.get(p) or {}) for g in groups for p in g["params"] if p.grad is not None
        ]
        plain = all(self._geometry.starts_plain(group, state) for group, state in states)
        if memory.get("plain") and not plain and memory.get("rate"):
            memory.update({**self._learner.init(), **AT_THE_START, "rate": 0.0, "first": 0.0})
            CURVATURES.clear(memory)
        memory["plain"] = plain

    def _learn(
        self,
        groups: Sequence[dict[str, Any]],
        memory: dict[str, Any],
        reading: Reading,
        products: InnerProducts,
        own: float,
        loss: float | None,
    ) -> Observation | None:
        previous = memory["rate"]
        accident = self._guard.accident(memory, products.finite, loss)
        if accident is not None:
            self._react(memory, previous, accident)
            return None
        memory["retreating"] = False
        if products.step_step and memory.pop("blind", False):
            previous = memory["rate"] = memory["first"] = self._known_first_rate(groups, memory, products)
        played = self.played_rate(groups)
        known, by_the_way = self._geometry.known, not self._geometry.known or reading.travelled
        observation = along_the_way(products, played, own) if by_the_way else in_metric(products)
        state = {name: memory[name] for name in self._learner.init()}
        if observation is None:
            if products.before_before:
                chosen = self._learner.rate(state)
                memory["rate"] = self._unseen(memory, previous, reading, chosen, products.step_step == 0)
            return None
        observation = self._weighed(memory, observation)
        steady = steadied(memory, observation) if known and by_the_way else observation
        note_curvature(memory, steady.effective_curvature)
        state = dict(self._learner.update(state, steady))
        memory.update(state)
        chosen = self._learner.rate(state)
        if chosen is not None:
            memory["rate"] = self._guarded(memory, previous, reading, reading.scale * chosen)
        return observation

    def _guarded(self, memory: dict[str, Any], previous: float, reading: Reading, proposed: float) -> float:
        """The proposed rate within the guard's limits, smoothed; a run of limited probes is one event."""
        steps = paced(memory, previous, proposed, reading.steps)
        limited = self._guard.limit(previous, proposed, steps)
        held = (limited < proposed) - (limited > proposed)
        if held and held != memory.get("held"):
            growth, shrink = self._guard.most_growth(steps), self._guard.shrink
            which = f"growth of {growth:.3g}" if held > 0 else f"fall to 1/{shrink:g}"
            values = {"previous": previous, "proposed": proposed, "rate": limited}
            self._note("limit", f"a probe may change the rate by a {which} at most", values)
        note_limit(memory, held, steps)
        return self._guard.smooth(previous, limited)

    def _weighed(self, memory: dict[str, Any], observation: Observation) -> Observation:
        weighed = self._guard.weigh(memory, observation)
        if weighed.confidence < observation.confidence:
            reason = "this curvature is far from the usual one: the observation counts for less"
            values = {"curvature": weighed.effective_curvature, "confidence": weighed.confidence}
            self._note("doubt", reason, values)
        return weighed

    def _react(self, memory: dict[str, Any], previous: float, accident: Accident) -> None:
        """What the guard is to do in an accident; of retreats in a row only the first is an event."""
        guard, reason = self._guard, accident.reason
        rollbacks = int(memory.get("rollbacks", 0))
        spent = guard.reaction == "roll back" and rollbacks >= guard.rollbacks
        if guard.reaction == "stop" or spent:
            self._note("stop", reason, {"rate": previous})
            why = f"after going back {rollbacks} times" if spent else "and the guard is to stop"
            raise DivergenceError(f"{reason} at a rate of {previous:.3g}, {why}; lower max_lr")
        if guard.reaction == "roll back":
            memory["rate"], memory["rollbacks"] = previous / 2, rollbacks + 1
            self._roll_back()
            values = {"rate": memory["rate"], "rollbacks": float(rollbacks + 1)}
            self._note("roll back", f"{reason}: back to the last good parameters, rate halved", values)
            return
        memory["rate"] = guard.retreat(previous)
        if not memory.get("retreating"):
            self._note(accident.kind, f"{reason}: rate divided", {"rate": memory["rate"]})
        memory["retreating"] = True

    def played_rate(self, groups: Sequence[dict[str, Any]]) -> float:
        """The rate of the last step, in the slot's unit: before group ratios and the heavy-ball factor."""
        return max(
            (
                group[MEMORY].get("applied", 0.0)
                / (group[MEMORY]["ratio"] * self._geometry.momentum_factor(group))
                for group in groups
                if group[MEMORY]["ratio"]
            ),
            default=0.0,
        )

    def _unseen(
        self,
        memory: dict[str, Any],
        previous: float,
        reading: Reading,
        chosen: float | None,
        rounds_away: bool,
    ) -> float:
        """The rate after a step that showed nothing, though there was a gradient.

        While nothing was ever observed it is doubled where the step rounds away, else kept. Later on it goes
        up to what the rounds before say, or the first rate, and no further: so low a rate sees nothing, and
        one that noise had driven down would stay there for ever.
        """
        if chosen is None and rounds_away:
            note_limit(memory, 1, None)
            return previous * self._guard.growth
        if chosen is None:
            memory["flat"] = memory.get("flat", 0) + 1
            if memory["flat"] == FLAT_PROBES:
                reason = f"{FLAT_PROBES} probes saw no curvature at all: the rate stays where it started"
                self._note("flat", reason, {"rate": previous})
            return previous
        wanted = max(reading.scale * chosen, memory.get("first", 0.0))
        steps = paced(memory, previous, wanted, reading.steps)
        limited = self._guard.limit(previous, wanted, steps)
        note_limit(memory, int(limited < wanted), steps)
        return max(previous, limited)

    def _entries(
        self, optimizer: Optimizer, groups: Sequence[dict[str, Any]], changes: Sequence[Change], coming: bool
    ) -> Iterator[PairEntry]:
        group_of = {id(p): group for group in groups for p in group["params"]}
        for change in changes:
            group = group_of.get(id(change.parameter))
            if group is None or not group[MEMORY]["ratio"]:
                continue
            state = optimizer.state.get(change.parameter)
            if self._geometry.diagonal is not None and not has_stepped(state):
                continue  # no step yet, so no metric and no part in the step
            cut = pieces(change, state) if self._geometry.elementwise else [(change, state)]
            for piece, its_state in cut:
                yield self._entry(group, piece, its_state, coming)

    def _entry(self, group: dict[str, Any], change: Change, state: State | None, coming: bool) -> PairEntry:
        before, after, step = as_real(change.before), as_real(change.after), as_real(change.step)
        if group.get("maximize"):
            before, after = -before, -after
        decay = self._geometry.coupled_decay(group)
        if decay:
            x1 = as_real(change.parameter.detach())
            before, after = before + decay * (x1 - step), after + decay * x1
        metric = None
        if self._geometry.diagonal is not None and state is not None:
            if coming and self._geometry.taking_in is not None:
                state = self._geometry.taking_in(group, state, after)
            metric = self._geometry.diagonal(group, state)
        return PairEntry(before, after, step, metric, group[MEMORY]["ratio"])

    def _own_share(self, optimizer: Optimizer, groups: Sequence[dict[str, Any]]) -> float:
        """Of the last gradient in the last step; parameters that took fewer steps hardly count."""
        share = self._geometry.own_share
        assert share is not None
        states = [(group, optimizer.state.get(p)) for group in groups for p in group["params"]]
        return min((share(group, state) for group, state in states if has_stepped(state)), default=1.0)

    def _first_rate(self, optimizer: Optimizer, groups: Sequence[dict[str, Any]]) -> float:
        """The rate whose first step moves the parameters by 1e-5 of their norm; 0 while no gradient.

        A learner that has a rate before any round starts with it instead.
        """
        memory = groups[0][MEMORY]
        own = self._learner.rate(self._learner.init())
        if own is not None:
            self._note("start", "the first rate is the learner's own", {"rate": own})
            return own
        if self._geometry.first_direction is None:
            if not count(torch.count_nonzero, [p.grad for g in groups for p in g["params"]]):
                return 0.0
            memory["blind"] = True
            return BLIND_RATE
        length = GlobalSum()
        for group in groups:
            weight = group[MEMORY]["ratio"] * self._geometry.momentum_factor(group)
            for p in group["params"]:
                if p.grad is not None and weight:
                    length.add(p, weight**2 * squared(self._direction(optimizer, group, p)))
        total = sum(length.result())
        if not total or not math.isfinite(total):
            return 0.0
        rate = self._first_move(groups) / math.sqrt(total)
        reason = f"first step moves the parameters by {FIRST_MOVE:g} of their norm, whatever rate was given"
        self._note("start", reason, {"rate": rate})
        return rate

    def _direction(self, optimizer: Optimizer, group: dict[str, Any], p: Tensor) -> Tensor:
        """The direction of the first controlled step; a state from before control has its metric.

        A state that has seen zeros only has none yet: a second moment of 0 would say that the step is huge.
        """
        gradient = as_real(p.grad.detach())  # type: ignore[union-attr]
        scale = gradient_scale(optimizer)
        if scale is not None:
            gradient = gradient / float(scale)
        if group.get("maximize"):
            gradient = -gradient
        decay = self._geometry.coupled_decay(group)
        if decay:
            gradient = gradient + decay * as_real(p.detach())
        state = optimizer.state.get(p)
        if has_stepped(state) and self._geometry.diagonal is not None:
            if has_seen_gradient(state):
                return self._geometry.diagonal(group, state) * gradient
            if self._geometry.starts_plain is not None and not self._geometry.starts_plain(group, state):
                return adam_first_direction(group, gradient)
        assert self._geometry.first_direction is not None
        return self._geometry.first_direction(group, gradient)

    def _known_first_rate(
        self, groups: Sequence[dict[str, Any]], memory: dict[str, Any], products: InnerProducts
    ) -> float:
        """After one blind step: its length tells the rate that the first step should have had."""
        length = math.sqrt(products.step_step) / float(memory["rate"])
        return self._first_move(groups) / length

    @staticmethod
    def _first_move(groups: Sequence[dict[str, Any]]) -> float:
        moved = [p for g in groups if g[MEMORY]["ratio"] for p in g["params"] if p.grad is not None]
        entries = sum(p.numel() for p in moved)
        total = GlobalSum()
        for p in moved:
            total.add(p, squared(p.detach()))
        norm = math.sqrt(sum(total.result()))
        return float(FIRST_MOVE * max(norm, SMALLEST_WEIGHT * math.sqrt(entries)))
