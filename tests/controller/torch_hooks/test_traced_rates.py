"""What is patched while numbers are traced, and that it is put back."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from galatune.controller.controlled import Choice, controlled
from galatune.controller.torch_hooks.traced_numbers import Origin, origins_of, plain, traced
from galatune.controller.torch_hooks.traced_rates import InitialRates, make_rates_plain, tracing


def patched() -> dict[str, Any]:
    return {
        "add_param_group": Optimizer.add_param_group,
        "state_dict": Optimizer.state_dict,
        "scheduler": LRScheduler.__init__,
        "scheduler's own": sorted(vars(LRScheduler)),
        "save": torch.serialization._save,
        "legacy save": torch.serialization._legacy_save,
    }


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(2))


def test_everything_is_put_back_by_the_last_block() -> None:
    before = patched()
    with tracing():
        during = patched()
        assert all(during[name] != value for name, value in before.items())
        with pytest.raises(ZeroDivisionError), tracing():
            1 / 0  # noqa: B018
        assert patched() == during
    assert patched() == before


def test_blocks_of_several_threads_share_the_patches() -> None:
    before, barrier = patched(), threading.Barrier(3)
    kinds: list[type] = []

    def trace() -> None:
        with tracing():
            barrier.wait()
            optimizer = SGD([parameter()], lr=traced(0.1, Origin("lr")))
            InitialRates.of(optimizer)
            barrier.wait()
            kinds.append(type(optimizer.param_groups[0]["lr"]))

    threads = [threading.Thread(target=trace) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [kind is float for kind in kinds] == [True] * 3
    assert patched() == before


def test_the_innermost_block_reads_the_origins() -> None:
    seen: list[set[str]] = []

    def select(initial: InitialRates, everyone: Any) -> Choice:
        seen.append({origin.name for origin in initial.origins})
        return Choice(False, "")

    with tracing(), controlled() as outer, controlled(select=select):
        for rate in (traced(0.1, Origin("lr")) * traced(2.0, Origin("factor")), 0.05):
            SGD([parameter()], lr=rate).step()
    assert seen == [{"lr", "factor"}, set()]
    assert not outer.controllers


def test_a_rate_is_noted_whenever_it_is_set() -> None:
    origin = Origin("lr")
    rate = traced(0.1, origin)
    with tracing():
        optimizer = SGD([parameter()], lr=1.0)
        initial = InitialRates.of(optimizer)
        assert initial.origins == set()
        optimizer.param_groups[0]["weight_decay"] = rate
        optimizer.state_dict()
        assert initial.origins == set(), "that is no rate"
        optimizer.param_groups[0]["lr"] = rate
        make_rates_plain(optimizer)
        assert initial.origins == {origin}
        numbers = [one for one in optimizer.param_groups[0].values() if isinstance(one, float)]
        assert all(type(one) is float for one in numbers)
    assert initial.present() == (0.1,)
    assert list(initial) == [1.0]


def test_a_schedulers_own_lists_stay_the_users() -> None:
    origin = Origin("lr")
    mine = [traced(0.1, origin)]
    with tracing():
        scheduler = LambdaLR(SGD([parameter()], lr=1.0), lambda step: 1.0)
        scheduler.extra = mine
        assert type(scheduler.extra[0]) is float
    assert origins_of(mine) == {origin}


def test_plain_copies_only_what_holds_a_traced_number() -> None:
    rate = traced(0.1, Origin("lr"))
    untouched = {"a": [1, (2.0, "x")], "b": None}
    assert plain(untouched) is untouched
    assert plain({"a": [rate], "b": untouched}) == {"a": [0.1], "b": untouched}
    assert plain({"b": untouched, "a": rate})["b"] is untouched
    assert [traced(one, Origin("lr")) for one in ("cosine", None, True)] == ["cosine", None, True]
    endless: list[Any] = []
    endless.append(endless)
    assert plain(endless) is endless


@pytest.mark.parametrize(
    ("make", "lost"), [(float, True), (int, True), (str, False), (lambda one: 3 * one, False)]
)
def test_a_plain_number_that_is_made_of_it_is_noted(make: Any, lost: bool) -> None:
    origin = Origin("lr")
    make(traced(5.0, origin))
    assert origin.lost is lost


def test_origins_are_joined() -> None:
    one, two = Origin("one"), Origin("two")
    assert origins_of(traced(1.0, one) / traced(3, two)) == {one, two}
    assert origins_of([traced(1.0, one), {"a": (traced(3, two),)}, 5]) == {one, two}
    assert origins_of(2 ** -traced(3, one)) == {one}
    assert origins_of(5.0) == frozenset()
