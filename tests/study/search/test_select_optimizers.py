"""Which optimizers a dropped dimension drives."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from fake_studies import fake_study

from galatune.study.scan.dimensions import RateDimension
from galatune.study.scan.distributions import Scale
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import plan_study
from galatune.study.search.select_optimizers import select_optimizers


def plan(*rates: tuple[str, Any, Scale]) -> ShrinkPlan:
    found = plan_study(fake_study([1.0]), "old.db")
    dimensions = [
        RateDimension(name, "rate", "float", placeholder, True, "its name", scale=scale)
        for name, placeholder, scale in rates
    ]
    return ShrinkPlan(**{**vars(found), "learning_rate": tuple(dimensions)})


PLACEHOLDER = 0.0073


@pytest.mark.parametrize("factor", [1.0, 2.0, 0.5, 10.0, 0.1, 0.25, 1e-3, 1 + 1e-8])
def test_a_rate_or_a_simple_multiple_of_it_is_followed(factor: float) -> None:
    rate = PLACEHOLDER * factor
    choice = select_optimizers(plan(("lr", PLACEHOLDER, "rate")))([rate], [[rate]])
    assert choice.reason == "its initial rate follows lr"


def test_a_rate_in_single_precision_is_followed() -> None:
    rate = torch.tensor(PLACEHOLDER).item()
    assert rate != PLACEHOLDER
    assert "follows" in select_optimizers(plan(("lr", PLACEHOLDER, "rate")))([rate], [[rate]]).reason


def test_the_others_are_left_alone_where_one_follows() -> None:
    select = select_optimizers(plan(("lr", PLACEHOLDER, "rate")))
    choice = select([0.5], [[0.5], [0.0073]])
    assert not choice.control
    assert choice.reason == "its initial rate 0.5 does not follow lr"


def test_where_none_follows_all_are_assumed_to() -> None:
    choice = select_optimizers(plan(("lr", PLACEHOLDER, "rate")))([0.5, 0.1], [[0.5, 0.1]])
    assert choice.control
    assert choice.reason == "assumed: no optimizer's initial rate is seen to follow lr (here 0.5, 0.1)"


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
    choice = select_optimizers(plan(("lr", placeholder, scale)))([rate], [[rate], [0.77]])
    assert choice.reason == "its initial rate follows lr"


@pytest.mark.parametrize("placeholder", ["cosine", None, 0.0, -1.0, 1e300, [1e-3]])
def test_a_placeholder_that_says_nothing_does_no_harm(placeholder: Any) -> None:
    choice = select_optimizers(plan(("lr", placeholder, "unknown")))([0.1], [[0.1]])
    assert choice.control


def test_each_optimizer_follows_its_own_rate() -> None:
    select = select_optimizers(plan(("lr_G", 0.0073, "rate"), ("lr_D", 0.00091, "rate")))
    assert select([0.00091], [[0.0073], [0.00091]]).reason == "its initial rate follows lr_D"
    assert select([0.0073], [[0.0073], [0.00091]]).reason == "its initial rate follows lr_G"
