from __future__ import annotations

import json

import pytest
from fake_studies import MACHINE, fake_study

import galatune
from galatune.errors import ReportError
from galatune.report.savings import savings

OLD = [5.0, 4.0, 3.0, 3.0, 1.0, 3.5]
HOUR = 3600.0


def test_savings_is_public() -> None:
    assert galatune.savings is savings


def test_saved_is_the_difference_of_what_both_needed() -> None:
    report = savings(
        fake_study(OLD, seconds=HOUR),
        fake_study([2.0, 1.0, 4.0], name="new", controlled=True, seconds=2 * HOUR),
        price=3.0,
        currency="EUR",
    )
    assert (report.to_match.baseline_trials, report.to_match.shrunk_trials) == (5, 2)
    assert (report.to_match.baseline_hours, report.to_match.shrunk_hours) == (5.0, 4.0)
    assert (report.saved.trials, report.saved.trials_percent) == (3, 60.0)
    assert (report.saved.hours, report.saved.hours_percent) == (1.0, 20.0)
    assert (report.saved.cost, report.saved.currency) == (3.0, "EUR")
    assert report.to_match.measured
    assert report.saved.measured
    assert report.saved.why is None


def test_totals_stand_apart_from_what_was_needed() -> None:
    report = savings(fake_study(OLD, seconds=HOUR), fake_study([1.0, 4.0], controlled=True, seconds=HOUR))
    assert (report.baseline.trials, report.shrunk.trials) == (6, 2)
    assert (report.baseline.hours, report.shrunk.hours) == (6.0, 2.0)
    assert report.to_match.shrunk_trials == 1


def test_nothing_is_saved_where_not_matched() -> None:
    report = savings(fake_study(OLD), fake_study([2.0, 3.0], controlled=True), price=1.0, currency="EUR")
    saved = report.saved
    assert not report.to_match.matched
    assert report.to_match.baseline_trials == 5
    assert (saved.trials, saved.trials_percent, saved.hours, saved.hours_percent, saved.cost) == (None,) * 5
    assert not saved.measured


def test_a_search_that_needed_more_saved_a_negative_number() -> None:
    report = savings(fake_study([1.0, 3.0, 5.0]), fake_study([4.0, 2.0, 1.0], controlled=True))
    assert report.saved.trials == -2
    assert report.saved.trials_percent == pytest.approx(-200.0)


def test_failed_pruned_and_polish_trials_are_paid_for() -> None:
    new = fake_study([2.0, "failed", "pruned", 1.0], stages={3: "polish"}, controlled=True)
    assert savings(fake_study(OLD), new).to_match.shrunk_trials == 4


def test_hours_without_durations_are_none_not_zero() -> None:
    report = savings(fake_study(OLD, seconds=None), fake_study([1.0], controlled=True))
    assert report.baseline.hours is None
    assert not report.baseline.measured
    assert report.to_match.baseline_hours is None
    assert report.saved.hours is None
    assert report.saved.trials == 4
    assert not report.saved.hours_measured
    assert report.saved.why is not None
    assert "recorded no duration" in report.saved.why


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [(None, MACHINE, "unknown"), (MACHINE, {**MACHINE, "device": "cuda"}, "differ (device)")],
)
def test_hours_on_other_machines_are_not_measured(old: dict | None, new: dict, word: str) -> None:
    report = savings(fake_study(OLD, machine=old), fake_study([1.0], controlled=True, machine=new))
    assert not report.to_match.hours_measured
    assert not report.saved.measured
    assert word in (report.saved.why or "")
    assert report.saved.trials == 4


def test_a_match_that_its_repeat_does_not_confirm_is_none() -> None:
    new = fake_study([1.0, 4.0], stages={1: "confirm"}, controlled=True)
    report = savings(fake_study(OLD), new)
    assert not report.to_match.matched
    assert "once more" in (report.to_match.why or "")


def test_an_empty_smaller_study_is_reported() -> None:
    report = savings(fake_study(OLD), fake_study([], controlled=True))
    assert not report.to_match.matched
    assert report.shrunk.best_value is None
    assert report.quality.difference is None
    assert report.quality.verdict == "undecided"


def test_an_old_study_without_a_complete_trial_sets_no_goal() -> None:
    report = savings(fake_study(["failed", "running"]), fake_study([1.0], controlled=True))
    assert report.to_match.baseline_trials is None
    assert "nothing to match" in (report.to_match.why or "")


def test_several_objectives_have_no_best_value() -> None:
    both = ("minimize", "maximize")
    old = fake_study([(3.0, 1.0), (1.0, 2.0), (2.0, 3.0)], directions=both)
    report = savings(old, fake_study([(1.0, 3.0)], directions=both, controlled=True))
    assert report.baseline.best_value is None
    assert report.baseline.best_values == (1.0, 3.0)
    assert report.to_match.reference_point is not None
    assert report.saved.trials == 2
    assert report.quality.interval is None
    assert report.quality.difference is not None
    assert report.quality.difference < 0


def test_json_has_the_keys_of_the_contract() -> None:
    body = savings(fake_study([*OLD, float("inf")]), fake_study([1.0], controlled=True)).to_json()
    json.dumps(body, allow_nan=False)
    for side in ("baseline", "shrunk"):
        assert {"trials", "hours", "best_value", "best_values", "by_state", "measured"} <= set(body[side])
    assert {
        "baseline_trials",
        "shrunk_trials",
        "baseline_hours",
        "shrunk_hours",
        "matched",
        "tolerance",
        "measured",
    } <= set(body["to_match"])
    assert {
        "trials",
        "trials_percent",
        "hours",
        "hours_percent",
        "cost",
        "currency",
        "measured",
    } <= set(body["saved"])
    assert {"difference", "interval", "verdict", "measured"} <= set(body["quality"])


@pytest.mark.parametrize(
    "options",
    [{"tolerance": -1.0}, {"tolerance": float("nan")}, {"price": -1.0, "currency": "EUR"}, {"price": 1.0}],
)
def test_options_that_make_no_sense_are_refused_in_one_line(options: dict) -> None:
    with pytest.raises(ReportError, match="however") as caught:
        savings(fake_study(OLD), fake_study([1.0]), **options)
    assert "\n" not in str(caught.value)


def test_studies_of_other_directions_are_refused() -> None:
    with pytest.raises(ReportError, match="same directions"):
        savings(fake_study(OLD), fake_study([1.0], directions=("maximize",)))
