from __future__ import annotations

import re
import sys

import pytest
from fake_studies import fake_study

from galatune.report.plots import best_by_trial, rate_by_step, svg
from galatune.study.ledger.match import goal_of
from galatune.study.ledger.rows import ledger


def test_best_by_trial_is_data_first() -> None:
    old, new = ledger(fake_study([3.0, "failed", 1.0])), ledger(fake_study(["failed", 2.0], controlled=True))
    data = best_by_trial(old, new, goal_of(old, 0.01), (3, None))
    assert data is not None
    assert data.frame().to_dict("list") == {
        "study": ["old study"] * 3 + ["smaller study"],
        "trials": [1, 2, 3, 2],
        "best": [3.0, 3.0, 1.0, 2.0],
    }


def test_nothing_is_drawn_without_a_goal() -> None:
    book = ledger(fake_study(["failed"]))
    assert best_by_trial(book, book, None, (None, None)) is None


def test_rates_are_those_of_the_best_trials_best_first() -> None:
    data = rate_by_step(ledger(fake_study([3.0, 1.0, 2.0], controlled=True)), best=2)
    assert data is not None
    assert [curve.trial for curve in data.curves] == [1, 2]
    assert data.frame()["step"].iloc[1] == 11


def test_best_follows_the_direction() -> None:
    data = rate_by_step(ledger(fake_study([3.0, 1.0], directions=("maximize",), controlled=True)), best=1)
    assert data is not None
    assert data.curves[0].trial == 0


def test_no_rate_recorded_is_no_picture() -> None:
    assert rate_by_step(ledger(fake_study([3.0, 1.0]))) is None


@pytest.mark.parametrize("values", [[3.0, 1.0], [1000.0, 0.1], [0.0, -2.0], [1.0]])
def test_svg_points_nowhere_and_keeps_its_words(values: list[float]) -> None:
    book = ledger(fake_study(values))
    data = best_by_trial(book, book, goal_of(book, 0.01), (1, 1))
    assert data is not None
    text = svg(data.draw(), "A <title>", "what & why")
    assert text.startswith("<svg")
    assert "<title>A &lt;title&gt;</title>" in text
    assert "finished trials" in text
    assert not re.search(r"https?:|<metadata|<\?xml|<!DOCTYPE", text)
    assert text == svg(data.draw(), "A <title>", "what & why")


def test_drawing_leaves_no_pyplot_behind() -> None:
    book = ledger(fake_study([3.0, 1.0], controlled=True))
    before = "matplotlib.pyplot" in sys.modules
    data = rate_by_step(book)
    assert data is not None
    svg(data.draw(), "t", "d")
    assert ("matplotlib.pyplot" in sys.modules) == before


@pytest.mark.parametrize(("direction", "below"), [("minimize", True), ("maximize", False)])
def test_the_label_of_a_ring_stands_away_from_the_line_that_counts_as_reached(
    direction: str, below: bool
) -> None:
    values = [3.0, 2.0, 1.0] if below else [1.0, 2.0, 3.0]
    book = ledger(fake_study(values, directions=(direction,)))
    data = best_by_trial(book, book, goal_of(book, 0.01), (3, 3))
    assert data is not None
    (label, _) = data.draw().axes[0].texts
    assert (label.get_verticalalignment() == "top") is below
