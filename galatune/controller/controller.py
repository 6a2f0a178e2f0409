"""`attach`: one torch optimizer under control."""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.controller.adaptation import Adaptation, Reading
from galatune.controller.checkpoint import SCHEMA, carry, in_plain_types, lay_down, packed, take_up, unpack
from galatune.controller.gradient_pair import Change
from galatune.controller.history import ProbeRecord
from galatune.controller.optimizers import geometry_of
from galatune.controller.options import Options
from galatune.controller.pace import still_growing, time_is_left
from galatune.controller.probes.base import Probe
from galatune.controller.probes.schedule import Begun
from galatune.controller.probes.select import PairSource
from galatune.controller.refusals import refuse_flattened, refuse_schema, refuse_sparse
from galatune.controller.registry import controllers, refuse_twice
from galatune.controller.rollback import Snapshot
from galatune.controller.rule.estimate import Observation
from galatune.controller.rule.guard import Event, Guard
from galatune.controller.rule.rate import Learner
from galatune.controller.torch_hooks.backward import listen, unlisten
from galatune.controller.torch_hooks.distributed import Ranks, count
from galatune.controller.torch_hooks.grad_scaler import gradient_scale, overflow, unscaled
from galatune.controller.torch_hooks.loss import LossWatch, loss_value
from galatune.controller.torch_hooks.lr_schedule import (
    MEMORY,
    SetRates,
    decaying_scheduler,
    fell,
    remember_groups,
    schedule_factor,
)
from galatune.controller.torch_hooks.optimizer_step import GuardedStep
from galatune.controller.trace import RateTrace
from galatune.errors import ControlError

__all__ = ["Controller", "attach"]


def attach(
    optimizer: Optimizer,
    *,
    probe: str | Probe = "auto",
    probe_every: int = 1,
    probe_first: int = 10,
    probe_thinning: float = 0.1,
    step_scale: float | None = None,
    min_lr: float = 0.0,
    max_lr: float = math.inf,
    per_group: bool = False,
    learner: Learner | None = None,
    guard: Guard | None = None,
    on_event: Callable[[Event], None] | None = None,
    alignment: str = "auto",
) -> Controller:
    """Put the learning rate of one torch optimizer under control.

    The rate the optimizer was built with no longer matters; ratios between groups and the shape of a
    schedule do. Nothing else of the training loop changes.

    Args:
        optimizer: Any torch optimizer but LBFGS, SparseAdam and Rprop.
        probe: Where gradient pairs come from: "closure" (`optimizer.step(closure)`), "graph"
            (`loss.backward()`), "echo" (the DataLoader repeats a minibatch), "consecutive" (of two
            minibatches), or "auto": the first of them that works.
        probe_every: Fewest steps between probes once the first ones are done.
        probe_first: Number of steps that are all probed, from the first one with a gradient; where probes
            thin out, of four times as many those where the rate is far below what it is to be.
        probe_thinning: The steps between probes grow to this share of the steps taken (56 probes in 1,000
            steps, 79 in 10,000); 0 keeps them at `probe_every`.
        step_scale: Multiplies the chosen rate; None for the recipe's 2 while a schedule decays (where the
            optimizer's metric is adaptive 2.5, from step 200 on 2.5 sqrt(200 / steps) and at least 0.5), else
            1 (the echo probe: 3 and 1.5, with Adam's metric 5 and 2.5).
        min_lr: Lower bound of the rate before the schedule.
        max_lr: Upper bound of the rate as applied, after schedule and group ratio.
        per_group: A rate of its own for each parameter group.
        learner: What chooses the rate; None for `DiscountedFTRL()`.
        guard: Limits on its movement, and what to do in an accident; None for `Guard()`.
        on_event: Called with each `Event`.
        alignment: "minibatch" compares the gradients of one minibatch before and after the step, as
            published; "travelled" compares its gradient with the direction travelled, which this minibatch
            did not choose: it falls when noise dominates, so the rate anneals by itself, to a quarter of what
            curvature allows. "auto": the second, but the first for a learner of your own and where the
            minibatch did choose (consecutive; echo, unless its share can be taken out, as from Adam's step).

    Returns:
        The controller, which lives as long as the optimizer.

    Raises:
        ControlError: The optimizer cannot be controlled, is controlled already, or an option is out of
            range.

    Example:
        >>> import torch, galatune
        >>> _ = torch.manual_seed(0)
        >>> net, x = torch.nn.Linear(3, 1), torch.randn(64, 3)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=123.0)  # any rate
        >>> controller = galatune.attach(optimizer)
        >>> for _ in range(60):
        ...     optimizer.zero_grad()
        ...     loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        ...     loss.backward()
        ...     optimizer.step()
        >>> loss.item() < 1e-3, 0.01 < controller.learning_rate < 10
        (True, True)
    """
    options = Options(
        probe=probe,
        probe_every=probe_every,
        probe_first=probe_first,
        probe_thinning=probe_thinning,
        step_scale=step_scale,
        min_lr=min_lr,
        max_lr=max_lr,
        per_group=per_group,
        learner=learner,
        guard=guard,
        on_event=on_event,
        alignment=alignment,
    )
    return Controller(optimizer, options)


class Controller:
    """Sets the learning rate of one optimizer; made by `attach`.

    What it must remember lies in ``optimizer.param_groups[...]["galatune"]``, as numbers.

    Attributes:
        history: One `ProbeRecord` a probe; not part of the state.
        events: What was decided and noticed, oldest first.
        trace: The applied rate by step, thinned.
    """

    def __init__(self, optimizer: Optimizer, options: Options) -> None:
        refuse_twice(optimizer)
        refuse_sparse(optimizer)
        refuse_flattened(optimizer)
        refuse_schema(optimizer)
        self.history: list[ProbeRecord] = []
        self.events: list[Event] = []
        self.trace = RateTrace()
        self._geometry = geometry_of(optimizer)
        for group in optimizer.param_groups:
            self._geometry.momentum_factor(group)  # refuses a dampening of 1
        self._options = options
        self._last_memory: dict[str, Any] = {}
        self._slot_memories: list[dict[str, Any]] = []  # outlive the optimizer, as the last memory does
        self._pairs = pairs = PairSource(options, self._note, self._begun)
        # Once the optimizer is gone, what the probe remembers of its parameters goes too.
        self._optimizer: Callable[[], Optimizer | None] = weakref.ref(optimizer, _closing(pairs))
        self._depth, self._idle = 0, False
        guard = options.chosen_guard
        self._watch = LossWatch()
        self._reads_losses, self._rolls_back = guard.reads_losses, guard.reaction == "roll back"
        if self._reads_losses:
            listen(self._watch)
        self._snapshot = Snapshot()
        self._adaptation = Adaptation(
            self._geometry,
            options.chosen_learner,
            guard,
            self._note,
            roll_back=self._snapshot.ask,
        )
        self._rates = SetRates()
        self._scaling: tuple[Tensor | None, Tensor | None] = (None, None)
        self._ranks = Ranks()
        self._applied: list[float] = []
        self._frozen, self._exact = False, True
        self._noted: set[str] = set()
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
            optimizer.register_load_state_dict_post_hook(self._after_load),
            optimizer.register_state_dict_post_hook(_by_value),
        ]
        self._guarded = GuardedStep(
            optimizer, started=self._enter, failed=self._forget_step, finished=self._rates.restore
        )
        controllers[optimizer] = self
        self._take_up()
        self._await_loss(self.steps)

    # -- what a user reads and does

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer under control.

        Raises:
            ControlError: It is gone.
        """
        optimizer = self._optimizer()
        if optimizer is None:
            raise ControlError("the optimizer of this controller is gone; keep a reference to it")
        return optimizer

    @property
    def learning_rate(self) -> float | list[float]:
        """Rate of the last step as applied (of the group with the largest); a list where per_group."""
        return list(self._applied) if self._options.per_group else max(self._applied, default=0.0)

    @property
    def steps(self) -> int:
        """Steps taken under control."""
        return int(self._memory.get("step", 0))

    @property
    def probes(self) -> int:
        """Gradient pairs measured."""
        return int(self._memory.get("probes", 0))

    @property
    def gradient_evaluations(self) -> int:
        """Gradients computed so far, the loop's own (one a step) and the probes' together."""
        return int(self._memory.get("gradient_evaluations", 0))

    @property
    def probe(self) -> str:
        """Where gradient pairs come from."""
        return self._pairs.name

    def freeze(self) -> None:
        """Keep the rate as it is from here on (the schedule still acts); no more probes."""
        self._frozen = True
        self._forget_step()
        self._pairs.close()

    def detach(self) -> None:
        """Let the optimizer go: hooks, memory and wrapper are gone, its rate is its schedule's again."""
        lay_down(self._memory)
        self._conclude()
        optimizer = self._optimizer()
        self._last_memory = dict(self._memory)
        self._pairs.close()
        unlisten(self._watch)
        if optimizer is None:
            return
        self._rates.restore()
        for hook in self._hooks:
            hook.remove()
        self._guarded.remove(optimizer)
        for group in optimizer.param_groups:
            group.pop(MEMORY, None)
        controllers.pop(optimizer, None)
        self._optimizer = _gone

    def state_dict(self) -> dict[str, Any]:
        """What the controller remembers; travels inside ``optimizer.state_dict()`` as well.

        Numbers, the probe's name and, while the next step is to be probed, the tensors that takes.
        """
        groups = self.optimizer.param_groups
        return {"schema": SCHEMA, "groups": [in_plain_types(group.get(MEMORY, {})) for group in groups]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`.

        Raises:
            ControlError: Written by another schema, or for another number of groups.
        """
        groups = self.optimizer.param_groups
        if state.get("schema") != SCHEMA or len(state["groups"]) != len(groups):
            raise ControlError(
                f"this state has schema {state.get('schema')!r} and {len(state.get('groups', ()))} groups; "
                f"schema {SCHEMA} and {len(groups)} groups are needed"
            )
        for group, memory in zip(groups, state["groups"], strict=True):
            group[MEMORY] = dict(memory)
        self._after_load(self.optimizer)

    # -- around a step

    def _enter(self) -> None:
        self._depth = 0  # also where the step before raised

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._depth += 1
        if self._depth > 1:
            return None  # a subclass whose step calls that of its base: torch runs the hooks of both
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        self._idle = closure is None and not self.steps and _only_makes_state(optimizer)
        if self._idle:
            return None
        remember_groups(optimizer.param_groups, per_group=self._options.per_group)
        self._spend(self._pairs.before(closure))
        if closure is None:
            self._decide()
            return None
        decided = False

        def deciding() -> Any:
            nonlocal decided
            loss = closure()
            if not decided:
                decided = True
                with torch.no_grad():
                    self._decide(loss)
            return loss

        if len(args) > 1:
            return (args[0], deciding, *args[2:]), kwargs
        return args, {**kwargs, "closure": deciding}

    def _decide(self, returned: Any = None) -> None:
        """With this step's gradients there: choose the rate, apply it, remember what the next probe needs."""
        groups = self.optimizer.param_groups
        factors = [schedule_factor(group, self._rates.read) for group in groups]
        slots = self._slots(groups)
        self._pairs.agree()
        if self._skips(groups, slots):
            self._idle = True
            return
        reading = self._reading(groups, max(factors))
        if self._pairs.ready or not self.steps:
            refuse_sparse(self.optimizer)
        lay_down(self._memory)
        changes, spent = self._take()
        self._spend(spent)
        probed = changes is not None
        loss = self._loss(returned) if probed and self._reads_losses else None
        played = [self._adaptation.played_rate([groups[i] for i in m]) for m in slots] if probed else []
        seen = [self._adaptation.adapt(self.optimizer, members, reading, changes, loss) for members in slots]
        changes = None  # its tensors make room for the next step's
        self._apply(groups, factors)
        if probed:
            self._memory["probes"] = self.probes + 1
            self._memory["probed"] = self.steps
            self._record(slots, seen, played)
        self._slot_memories = [groups[members[0]][MEMORY] for members in slots]
        for memory in self._slot_memories:
            self._begin(memory)
        if not self._frozen:
            self._pairs.remember(self.steps + 1, _moving(groups))
            self._scaling = gradient_scale(self.optimizer), overflow(self.optimizer)
        self._await_loss(self.steps + 1)
        if self._rolls_back and (probed or not self._snapshot.taken):
            self._snapshot.take(self.optimizer)

    def _begin(self, memory: dict[str, Any]) -> None:
        """A slot's first probes are counted from its first gradient: before that it has no rate."""
        if memory.get("rate"):
            memory.setdefault("began", self.steps)

    def _begun(self) -> list[Begun]:
        memories = [group.get(MEMORY, {}) for group in self.optimizer.param_groups]
        return [
            Begun(int(memory.get("began", 0)), bool(memory.get("far below")))
            for memory in memories
            if memory.get("rate")
        ]

    def _take(self) -> tuple[list[Change] | None, int]:
        """The pair of this step, if any, without the loss's scale; and what it cost."""
        before, skipped = self._scaling
        if self._pairs.ready and skipped is not None and bool(skipped):
            self._pairs.postpone()
        after, remembered = gradient_scale(self.optimizer), self._pairs.remembers_gradients
        changes, spent = self._pairs.take()
        if changes is not None:
            changes = unscaled(changes, before if remembered else after, after)
        return changes, spent

    def _skips(self, groups: Sequence[dict[str, Any]], slots: Sequence[list[int]]) -> bool:
        """Whether a step that would be learned from is going to be skipped, its gradients too large.

        Asked of such steps alone: the answer lies on the device.
        """
        found = overflow(self.optimizer)
        memories = [groups[members[0]][MEMORY] for members in slots]
        learns = self._pairs.ready or not all(memory.get("rate") for memory in memories)
        return found is not None and learns and bool(found)

    def _await_loss(self, step: int) -> None:
        """Hear the loss of the step with this number, from 0, where it is probed and the guard wants it."""
        if self._reads_losses and not self._frozen and self._pairs.awaits(step):
            self._watch.watch([p for group in self.optimizer.param_groups for p in group["params"]])

    def _loss(self, returned: Any) -> float | None:
        """Of the present step: what the closure returned, or what backward calls started from."""
        watched, returned = self._watch.take(), loss_value(returned)
        own = watched if returned is None else returned
        return self._ranks.mean_loss(own, self.optimizer.param_groups[0]["params"])

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._depth -= 1
        if self._depth > 0 or self._idle:
            return
        self._rates.restore()
        self._pairs.stepped(self.steps + 1)
        if self._snapshot.settle(optimizer):
            self._pairs.forget()
        carry(self._memory, self._pairs)
        self._memory["step"] = self.steps + 1
        self._spend(1)
        self.trace.add(self.steps, max(self._applied, default=0.0))

    def _after_load(self, optimizer: Optimizer) -> None:
        # The remembered step belongs to parameters that may just have been replaced.
        self._pairs.forget()
        self._snapshot.forget()
        self._scaling = None, None
        self._noted.clear()
        self._take_up()
        self._await_loss(self.steps)

    def _take_up(self) -> None:
        """Go on with the step that the memory, if it comes from elsewhere, carries."""
        refuse_schema(self.optimizer)
        groups = self.optimizer.param_groups
        for group in groups:
            unpack(group.get(MEMORY, {}))
        if all("ratio" in group.get(MEMORY, ()) for group in groups):
            take_up(self._memory, self._pairs, _moving(groups))
        self._pairs.expect(self.steps)

    def _forget_step(self) -> None:
        """The last step is not going to be probed."""
        self._pairs.forget()
        lay_down(self._memory)

    # -- rates

    def _apply(self, groups: Sequence[dict[str, Any]], factors: Sequence[float]) -> None:
        self._applied = [self._rate_of(group, f) for group, f in zip(groups, factors, strict=True)]
        self._rates.write(groups, self._applied)
        for group, rate in zip(groups, self._applied, strict=True):
            group[MEMORY]["applied"] = rate

    def _rate_of(self, group: dict[str, Any], factor: float) -> float:
        slot = group[MEMORY] if self._options.per_group else self._memory
        chosen = slot["rate"] * self._geometry.momentum_factor(group)
        base = max(chosen, self._options.min_lr)
        rate: float = base * group[MEMORY]["ratio"] * factor
        if base > chosen:
            self._note_once("bound", f"the rate is held at its lower bound {self._options.min_lr:g}")
        if rate > self._options.max_lr:
            self._note_once("bound", f"the rate is held at its upper bound {self._options.max_lr:g}")
        return min(rate, self._options.max_lr)

    def _reading(self, groups: Sequence[dict[str, Any]], factor: float) -> Reading:
        """How pairs are read, by whether the schedule decays; what is known of that is an event."""
        memory, why = self._memory, None
        if "decays" not in memory:
            scheduler = decaying_scheduler(self.optimizer)
            memory["decays"] = scheduler is not None
            why = "no decaying schedule seen yet" if scheduler is None else f"{scheduler} decays"
        if not memory["decays"] and fell(groups, self._rates.read):
            memory["decays"] = True
            why = "a group's rate fell below its peak"
        if self._pairs.ready or not self.steps:
            self._exact = all(map(_moves_exactly, _moving(groups)))
        echoed = self._pairs.echoes
        other = self._geometry.own_share is not None if echoed else not self._pairs.remembers_gradients
        travelled = self._exact and self._options.goes_by_the_way(fresh=other)
        adaptive = travelled and self._geometry.diagonal is not None
        scale = self._pairs.scales.of(decays=memory["decays"], adaptive=adaptive, steps=self.steps)
        reading = Reading(
            self._options.step_scale or scale,
            travelled,
            echoed,
            self._pairs.coming_metric,
            self.steps - int(memory.get("probed", 0)) if self._exact and time_is_left(factor) else None,
        )
        if why is not None:
            self._note("schedule", f"step scale {reading.scale:g}: {why}", {"step_scale": reading.scale})
        return reading

    # -- groups, memory, records

    def _slots(self, groups: Sequence[dict[str, Any]]) -> list[list[int]]:
        """Groups that share a rate: all of them, or each its own."""
        everyone = list(range(len(groups)))
        return [[i] for i in everyone] if self._options.per_group else [everyone]

    @property
    def _memory(self) -> dict[str, Any]:
        """The first group's memory, which is the whole optimizer's; what it was, once that is gone."""
        optimizer = self._optimizer()
        if optimizer is not None:
            self._last_memory = optimizer.param_groups[0].setdefault(MEMORY, {"schema": SCHEMA})
        return self._last_memory

    def _spend(self, evaluations: int) -> None:
        self._memory["gradient_evaluations"] = self.gradient_evaluations + evaluations

    def _record(
        self, slots: Sequence[list[int]], seen: Sequence[Observation | None], played: Sequence[float]
    ) -> None:
        for members, observation, rate in zip(slots, seen, played, strict=True):
            self.history.append(
                ProbeRecord(
                    step=self.steps + 1,
                    learning_rate=max(self._applied[i] for i in members),
                    alignment=None if observation is None else observation.alignment,
                    lipschitz=None if observation is None else observation.lipschitz,
                    curvature=None if observation is None else observation.curvature,
                    gradient_evaluations=self.gradient_evaluations,
                    gradient_norm_squared=None if observation is None else observation.gradient_norm_squared,
                    played_rate=rate,
                )
            )

    # -- events

    def _conclude(self) -> None:
        """Say so where a rate never came to where the learner wanted it: the training was over before."""
        memories, self._slot_memories = self._slot_memories, []
        if any(map(still_growing, memories)):
            reason = (
                f"after {self.steps} steps the rate was still growing: train longer, with a schedule that "
                "decays, or with guard=Guard(pace=2.0) (galatune run: --pace 2)"
            )
            self._note("short", reason, {"rate": max(self._applied, default=0.0)})

    def _note(self, kind: str, reason: str, values: Mapping[str, float]) -> None:
        event = Event(self.steps + 1, kind, reason, dict(values))
        self.events.append(event)
        if self._options.on_event is not None:
            self._options.on_event(event)

    def _note_once(self, kind: str, reason: str) -> None:
        if reason not in self._noted:
            self._noted.add(reason)
            self._note(kind, reason, {})


def _closing(pairs: PairSource) -> Callable[[Any], None]:
    """Closes the pairs of a collected optimizer; at exit, when modules are half gone, there is no need."""
    exiting = sys.is_finalizing

    def close(_: Any) -> None:
        if not exiting():
            pairs.close()

    return close


def _gone() -> None:
    return None


def _moving(groups: Sequence[dict[str, Any]]) -> list[Tensor]:
    """Parameters whose group is not held at rate 0."""
    return [p for g in groups if g[MEMORY]["ratio"] > 0 for p in g["params"] if p.requires_grad]


def _moves_exactly(parameter: Tensor) -> bool:
    """Whether a step is not rounded to so few digits that its direction is lost."""
    return torch.finfo(parameter.dtype).bits >= 32


def _only_makes_state(optimizer: Optimizer) -> bool:
    """Whether a step at rate 0 without any gradient is about to be taken.

    `torch.distributed.checkpoint` takes one before it loads or saves, so that the state is there.
    """
    groups = optimizer.param_groups
    if any(float(group["lr"]) for group in groups):
        return False
    refuse_sparse(optimizer)
    return not count(torch.count_nonzero, [p.grad for group in groups for p in group["params"]])


def _by_value(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """A state that was saved stays as it was, like the rates beside it."""
    for group in state["param_groups"]:
        group[MEMORY] = packed(group.get(MEMORY, {}))
