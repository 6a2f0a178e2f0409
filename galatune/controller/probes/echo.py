"""The pair that costs no gradient: the loop gets the same minibatch twice in a row."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from galatune.controller.gradient_pair import GradientPair
from galatune.controller.probes.base import LoopGradientsProbe, StepScales
from galatune.controller.torch_hooks import dataloader
from galatune.controller.torch_hooks.distributed import GlobalSum, Ranks, place, squared
from galatune.controller.torch_hooks.random_state import RandomState
from galatune.errors import ProbeError

__all__ = ["EchoProbe"]

PATIENCE = 3
"""Steps without a minibatch from a DataLoader after which there is none to be expected."""

UNREPEATED = 10
"""Remembered steps in a row that had no second one on the same minibatches, after which none is going to."""

MOST = 64
"""Minibatches a step that are kept; a validation without ``no_grad`` looks like many."""

SMALL_STEP, TURNED = 1e-3, 0.3
"""After a step this small relative to the parameters, gradients that turned more are of two minibatches."""


@dataclass(frozen=True)
class Drawn:
    """A minibatch as it was before the loop had it, and the random numbers it was used with.

    Attributes:
        source: What it was drawn from; None after a load: any source will do.
        batch: A copy.
        random: State of all generators when the loop got it.
        thread: Whose loop that was; None after a load.
    """

    source: Any
    batch: Any
    random: RandomState
    thread: int | None = None


class EchoProbe(LoopGradientsProbe):
    """Each pair is two steps of the loop on one minibatch, random numbers included: nothing extra.

    torch's DataLoader repeats the minibatch instead of drawing the next one, so an epoch keeps its number
    of steps and misses a few of its minibatches. Batches that come from elsewhere go through `over`. With
    accumulation, all minibatches of the step are repeated.

    The first pair, made by a very small step, tells whether the loop does train on the minibatch it was
    given: a loop that draws ahead does not, and is refused.

    Of several ranks each repeats its own minibatch. A pair counts if all of them did, and a loop of one
    rank that cannot be served is an error on all of them. All must take the same number of steps.
    """

    name = "echo"
    echoes_minibatch = True
    step_scales = StepScales(3.0, 1.5, adaptive=StepScales(5.0, 2.5))

    def __init__(self) -> None:
        super().__init__()
        self._recording = True
        self._seen: list[Drawn] = []
        self._queue: list[Drawn] = []
        self._repeated = False
        self._source: Any = None
        self._spoiled = False
        self._missing = self._unrepeated = 0
        self._ranks = Ranks()
        self._thread: int | None = None
        self._checked = False

    @property
    def ready(self) -> bool:
        """Whether the loop has been given the remembered step's minibatches again, and no other."""
        return self.holds and not self._queue and not self._spoiled

    def watch(self) -> None:
        """Look at the minibatches of every DataLoader."""
        dataloader.listen(self)

    def unwatch(self) -> None:
        """Look no more."""
        dataloader.unlisten(self)

    def over(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The same minibatches, some of them twice: for a loop without a DataLoader.

        Example:
            >>> import torch, galatune
            >>> from galatune.controller.probes.echo import EchoProbe
            >>> _ = torch.manual_seed(0)
            >>> net, batches = torch.nn.Linear(3, 1), torch.randn(60, 16, 3)
            >>> optimizer, echo = torch.optim.SGD(net.parameters(), lr=1.0), EchoProbe()
            >>> controller = galatune.attach(optimizer, probe=echo)
            >>> for x in echo.over(batches):
            ...     optimizer.zero_grad()
            ...     (net(x) - x.sum(1, keepdim=True)).square().mean().backward()
            ...     optimizer.step()
            >>> controller.steps, controller.probes, controller.gradient_evaluations
            (60, 21, 60)
        """
        self.unwatch()
        self._seen.clear()
        drawing = iter(batches)
        while True:
            try:
                batch = dataloader.serve([self], batches, drawing.__next__)
            except StopIteration:
                return
            yield batch

    # -- told of minibatches

    def repeats(self, source: Any) -> bool:
        """See `dataloader.Drawing.repeats`."""
        return bool(self._queue) and self._mine() and _may_be(self._queue[0].source, source)

    def again(self) -> Any:
        """See `dataloader.Drawing.again`."""
        drawn = self._queue.pop(0)
        self._repeated, self._source = True, drawn.source
        drawn.random.restore()
        return drawn.batch

    def saw(self, source: Any, batch: Any) -> None:
        """See `dataloader.Drawing.saw`; those of a validation before the step do not count."""
        if not self._mine() or not torch.is_grad_enabled():
            return
        if self.ready and _may_be(self._source, source):
            self._spoiled = True  # one more than there were, or the step was skipped (GradScaler)
        if self._recording:
            if self._seen and (self._seen[-1].source is not source or len(self._seen) == MOST):
                self._seen.clear()
            devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
            drawn = Drawn(source, copy.deepcopy(batch), RandomState.now(devices), threading.get_ident())
            self._seen.append(drawn)

    def _mine(self) -> bool:
        return self._thread in (None, threading.get_ident())

    # -- a probe

    def expect(self, wanted: bool) -> None:
        """Whether the coming step is one to remember, and so its minibatches."""
        self._seen.clear()
        self._repeated, self._recording = False, wanted

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """See `Probe.remember`; a step that is, on any rank, on a repeated minibatch is not remembered.

        Raises:
            ProbeError: On any rank no DataLoader gave a minibatch for several steps, or could repeat one.
        """
        self._thread = threading.get_ident()
        self._seen = [drawn for drawn in self._seen if drawn.thread == self._thread]
        self._missing = 0 if self._seen or self._repeated else self._missing + 1
        if self._all_can_repeat(parameters):
            super().remember(parameters)
            self._queue, self._seen = self._seen, []

    def agree(self) -> None:
        """With the gradients of a step there: it is ready on every rank, or the pair is forgotten on all.

        A step that is probed on some ranks only would set different rates, or wait for the others for ever.
        """
        if not self.holds:
            return
        joining = self._ranks.some_may_be_done(self.parameters)
        if joining or self._ranks.any(not self.ready, self.parameters):
            self.forget()
            self._unrepeated += 1

    def pair(self) -> list[GradientPair]:
        """See `Probe.pair`.

        Raises:
            ProbeError: The loop trains on other minibatches than those it was given.
        """
        changes = super().pair()
        self._unrepeated = 0
        if not self._checked:
            self._check(changes)
        return changes

    def forget(self) -> None:
        """See `Probe.forget`."""
        super().forget()
        self._queue, self._source, self._spoiled = [], None, False

    def state_dict(self) -> dict[str, Any]:
        """See `Probe.state_dict`; empty if a minibatch is not made of tensors, numbers and strings."""
        if not self.holds or not all(_is_plain(drawn.batch) for drawn in self._queue):
            return {}
        queue = [{"batch": drawn.batch, "random": drawn.random.in_plain_types()} for drawn in self._queue]
        echo = {"queue": queue, "checked": self._checked, "place": list(place())}
        return {**super().state_dict(), "echo": echo}

    def load_state_dict(self, state: Mapping[str, Any], parameters: Sequence[Tensor]) -> None:
        """See `Probe.load_state_dict`; minibatches of another rank, or number of ranks, are left out.

        The step is held all the same: `agree` is asked on each rank, or on none.
        """
        super().load_state_dict(state, parameters)
        if not self.holds:
            return
        self._checked = state["echo"]["checked"]
        self._spoiled = state["echo"].get("place") != list(place())
        queue = [] if self._spoiled else copy.deepcopy(state["echo"]["queue"])
        self._queue = [Drawn(None, one["batch"], RandomState.of(one["random"])) for one in queue]

    def _all_can_repeat(self, parameters: Sequence[Tensor]) -> bool:
        """Whether on each rank there is something to repeat; asked on all of them."""
        if self._ranks.some_may_be_done(parameters):
            raise ProbeError("within torch's Join, ranks cannot agree on when to repeat a minibatch")
        if self._unrepeated == UNREPEATED:
            raise ProbeError(
                f"{UNREPEATED} times in a row minibatches could not be repeated: the next step drew, on one "
                "rank at least, from another data set or more of them"
            )
        if not self._ranks.any(self._repeated or not self._seen, parameters):
            return True
        missing = self._missing == PATIENCE
        if self._ranks.any(missing, parameters):
            where = "" if missing else " (on another rank)"
            raise ProbeError(f"no torch DataLoader gives this loop its minibatches{where}")
        return False

    def _check(self, changes: Sequence[GradientPair]) -> None:
        total = GlobalSum()
        for change in changes:
            parts = (change.after - change.before, change.before, change.step, change.parameter.detach())
            total.add(change.parameter, torch.stack([squared(part) for part in parts]))
        turned, size, moved, whole = total.result() or [0.0] * 4
        self._checked = 0.0 < size < float("inf")
        if self._checked and moved <= SMALL_STEP**2 * whole and turned > TURNED**2 * size:
            raise ProbeError(
                "the loop does not train on the minibatch that its DataLoader gave it last (given twice, its "
                f"gradients differ by {(turned / size) ** 0.5:.2g} of their norm)"
            )


def _may_be(known: Any, source: Any) -> bool:
    """Whether this is the source, as far as that is known; data sets may have an ``==`` of their own."""
    return known is None or known is source


def _is_plain(batch: Any) -> bool:
    if type(batch) in (list, tuple):
        return all(map(_is_plain, batch))
    if type(batch) is dict:
        return all(_is_plain(part) for item in batch.items() for part in item)
    return batch is None or type(batch) in (Tensor, int, float, str, bool)
