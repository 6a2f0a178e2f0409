"""Which optimizers a dropped dimension drives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_studies import fake_study

from galatune.controller.controlled import Choice
from galatune.controller.torch_hooks.traced_numbers import Origin, traced
from galatune.controller.torch_hooks.traced_rates import InitialRates, tracing
from galatune.study.scan.dimensions import RateDimension
from galatune.study.scan.distributions import Scale
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import plan_study
from galatune.study.search.second_construction import Construction, StoppedAtFirstStep, moved_rates
from galatune.study.search.select_optimizers import OptimizerSelection, RateKnowledge, rate_names


def plan(*rates: tuple[str, Any, Scale]) -> ShrinkPlan:
    found = plan_study(fake_study([1.0]), "old.db")
    dimensions = [
        RateDimension(name, "rate", "float", placeholder, True, "its name", scale=scale)
        for name, placeholder, scale in rates
    ]
    return ShrinkPlan(**{**vars(found), "learning_rate": tuple(dimensions)})


PLACEHOLDER = 0.0073
LR = ("lr", PLACEHOLDER, "rate")


def made(*rates: Any) -> InitialRates:
    """An optimizer with a group for each rate."""
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate} for rate in rates]
    with tracing():
        return InitialRates.of(torch.optim.SGD(groups, lr=0.0))


def selection(*rates: Any, compares: bool = False, answered: Sequence[str] = (), **more: Any) -> Any:
    trial: Any = SimpleNamespace(answered=answered, origins=more.pop("origins", ()))
    return OptimizerSelection(plan(*rates), RateKnowledge(compares=compares, **more), trial)


def choice(initial: InitialRates, *others: InitialRates, rates: Sequence[Any] = (LR,), **more: Any) -> Choice:
    found: Choice = selection(*rates, **more)(initial, [initial, *others])
    return found


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-8])
def test_a_rate_that_equals_it_is_followed(factor: float) -> None:
    assert choice(made(PLACEHOLDER * factor), made(0.5)).reason == "its initial rate follows lr"


@pytest.mark.parametrize("factor", [2.0, 0.5, 10.0, 1e-3])
def test_a_simple_multiple_is_followed_only_if_it_comes_from_it(factor: float) -> None:
    alone = made(PLACEHOLDER)
    assert not choice(made(PLACEHOLDER * factor), alone).control
    computed = made(factor * traced(PLACEHOLDER, Origin("lr")))
    assert choice(computed, alone).reason == "its initial rate follows lr"


def test_one_that_is_equal_by_chance_is_left_alone_beside_one_that_comes_from_it() -> None:
    by_chance, computed = made(PLACEHOLDER), made(traced(PLACEHOLDER, Origin("lr")) / 3)
    assert choice(by_chance, computed).reason == "its initial rate 0.0073 does not follow lr"
    assert choice(computed, by_chance).control


def test_a_rate_in_single_precision_is_followed() -> None:
    rate = torch.tensor(PLACEHOLDER).item()
    assert rate != PLACEHOLDER
    assert "follows" in choice(made(rate), made(0.5)).reason


def test_the_others_are_left_alone_if_one_follows() -> None:
    left = choice(made(0.5), made(0.0073))
    assert not left.control
    assert left.reason == "its initial rate 0.5 does not follow lr"


def test_if_none_follows_all_are_assumed_to() -> None:
    assumed = choice(made(0.5, 0.1))
    assert assumed.control
    assert assumed.reason == "assumed: no optimizer's initial rate is seen to follow lr (here 0.5, 0.1)"


@pytest.mark.parametrize(
    ("placeholder", "scale", "rate"),
    [
        (-2.1, "log10", 10**-2.1),
        (2.1, "-log10", 10**-2.1),
        (-4.7, "ln", math.exp(-4.7)),
        (-9.3, "log2", 2**-9.3),
        ("0.0073", "rate", 0.0073),
        (-2.1, "unknown", 10**-2.1),
        (-4.7, "unknown", math.exp(-4.7)),
    ],
)
def test_exponents_and_text_are_understood(placeholder: Any, scale: Scale, rate: float) -> None:
    found = choice(made(rate), made(0.77), rates=[("lr", placeholder, scale)])
    assert found.reason == "its initial rate follows lr"


@pytest.mark.parametrize("placeholder", ["cosine", None, 0.0, -1.0, 1e300, [1e-3]])
def test_a_placeholder_that_says_nothing_does_no_harm(placeholder: Any) -> None:
    assert choice(made(0.1), rates=[("lr", placeholder, "unknown")]).control


def test_each_optimizer_follows_its_own_rate() -> None:
    rates = [("lr_G", 0.0073, "rate"), ("lr_D", 0.00091, "rate")]
    one, two = made(0.0073), made(0.00091)
    assert choice(two, one, rates=rates).reason == "its initial rate follows lr_D"
    assert choice(one, two, rates=rates).reason == "its initial rate follows lr_G"


def test_the_rate_of_a_schedule_is_no_rate() -> None:
    found = plan(LR)
    schedule = RateDimension("gamma", "schedule", "float", 0.5, True, "its name")
    both = ShrinkPlan(**{**vars(found), "learning_rate": (*found.learning_rate, schedule)})
    assert rate_names(both) == ("lr",)


@pytest.mark.parametrize(
    ("rates", "asked", "stops"),
    [
        ([0.5], True, True),  # nobody follows
        ([0.5], False, False),  # the dimension is not asked for
        ([PLACEHOLDER, 0.5], True, True),  # one is equal, but nothing is traced
        ([PLACEHOLDER], True, False),
        ([traced(0.3, Origin("lr")), 0.5], True, False),  # 0.5 is the code's
    ],
)
def test_it_stops_before_the_first_step_if_a_rate_may_have_lost_its_origin(
    rates: Sequence[float], asked: bool, stops: bool
) -> None:
    everyone = [made(rate) for rate in rates]
    decides = selection(LR, compares=True, answered=["lr"] if asked else [])
    if not stops:
        decides(everyone[0], everyone)
        assert decides.stopped is None
        return
    for _ in range(100):
        with pytest.raises(StoppedAtFirstStep):
            decides(everyone[0], everyone)
    assert not decides(everyone[0], everyone).control, "an objective that catches it comes to an end"
    assert [one.rates for one in decides.stopped] == [(rate,) for rate in rates]


def test_a_plain_copy_is_a_lost_origin() -> None:
    origin = Origin("lr")
    rate = traced(PLACEHOLDER, origin)
    everyone = [made(rate), made(0.5)]
    assert (
        selection(LR, compares=True, answered=["lr"], origins=[origin])(everyone[1], everyone).control
        is False
    )
    everyone[1] = made(3 * float(rate))
    with pytest.raises(StoppedAtFirstStep):
        selection(LR, compares=True, answered=["lr"], origins=[origin])(everyone[1], everyone)


def built(*rates: float, place: int = 1) -> list[Construction]:
    return [Construction("SGD", (("a.py", 1, place),), (rate,)) for rate in rates]


def test_what_moved_is_followed_by_order_or_by_place() -> None:
    moved = moved_rates([*built(0.5), *built(0.1, place=2)], [*built(0.6), *built(0.1, place=2)])
    assert moved is not None
    assert [moves for _, moves in moved] == [True, False]
    first, second = made(0.5), made(0.1)
    decides = selection(LR, moved=moved)
    assert decides(first, [first, second]).reason == "its initial rate moves with lr"
    assert decides(second, [first, second]).reason == "its initial rate 0.1 does not follow lr"
    later = made(0.25)
    later.place = moved[0][0].place
    assert decides(later, [first, second, later]).control


@pytest.mark.parametrize("second", [built(), built(0.5, 0.5), [Construction("Adam", (), (0.5,))]])
def test_two_trainings_of_other_optimizers_say_nothing(second: list[Construction]) -> None:
    assert moved_rates(built(0.5), second) is None
    assert moved_rates([], []) is None


def test_one_made_anew_at_the_same_place_of_the_same_parameters_follows() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    everyone = []
    with tracing():
        for epoch in range(2):
            optimizer = torch.optim.SGD([parameter], lr=PLACEHOLDER * 0.8**epoch)
            everyone.append(InitialRates.of(optimizer))
            everyone[-1].place = (("a.py", 1, 2),)
    assert "of the same parameters" in selection(LR)(everyone[1], everyone).reason
    elsewhere = made(0.5)
    elsewhere.place = (("a.py", 1, 2),)
    assert not selection(LR)(elsewhere, [*everyone, elsewhere]).control
