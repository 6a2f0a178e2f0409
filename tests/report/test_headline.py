"""The first line says what the whole search cost; a saving is claimed only if there is one."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from fake_studies import MACHINE, record

from galatune.report.page import page
from galatune.report.random_order import CHANCE, median_first, probability_within
from galatune.report.savings import SavingsReport, account
from galatune.report.table_rows import rows
from galatune.study.ledger.goal import goal_body, with_repeats
from galatune.study.ledger.match import goal_of
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.rows import Ledger, TrialRow
from galatune_mlflow.payload import description, report_metrics

OLD = [5.0 - 0.05 * i for i in range(39)] + [1.0]
"""The best of 40 trials is the last one."""

Trial = tuple[float, str]


def old_study(values: list[float] = OLD, machine: dict[str, str] = MACHINE) -> Ledger:
    found = tuple(_row(i, value) for i, value in enumerate(values))
    return Ledger("old", ("minimize",), found, Provenance(machine=machine))


def smaller(trials: list[Trial], repeats: list[float] | None = None, old: Ledger | None = None) -> Ledger:
    """A smaller study: repeats of the old best, then trials of a stage; "confirm" repeats the one before."""
    goal = goal_of(old or old_study(), 0.01)
    assert goal is not None
    body = goal_body(with_repeats(goal, asked=len(repeats), values=tuple(repeats))) if repeats else {}
    found = [replace(_row(i, value), stage="repeat") for i, value in enumerate(repeats or [])]
    matched = None
    for value, stage in trials:
        row = replace(_row(len(found), value), stage=stage, steps=400, probes=70, gradient_evaluations=610)
        if stage == "confirm":
            row = replace(row, repeat_of=matched, repeats=sum(s == "confirm" for _, s in trials))
        else:
            matched = row.number
        found.append(replace(row, record=record()))
    provenance = Provenance(made_by_galatune=True, goal=body, stopped_because="done", machine=MACHINE)
    return Ledger("new", ("minimize",), tuple(found), provenance)


def _row(number: int, value: float) -> TrialRow:
    return TrialRow(number, "COMPLETE", (value,), seconds=360.0, params={"width": float(number)})


CONFIRMED: list[Trial] = [(3.0, "search"), (0.9, "search"), *[(v, "confirm") for v in (1.0, 1.1, 1.05)]]
REPEATS = [1.2, 1.0, 1.4]


def whole() -> SavingsReport:
    return account(old_study(), smaller(CONFIRMED, REPEATS))


def test_the_first_line_says_what_everything_cost_and_what_it_reached() -> None:
    assert whole().text().splitlines()[0] == (
        "Cost:  the whole smaller search took 8 trials (3 repeating the old best, 3 of confirmation), the "
        "old one 40; at least 3050 gradient evaluations, the old one recorded none; 48 min, the old one 4 h "
        "(20 %). It reached 1.05, confirmed by 3 repeats with other seeds; the old best is 1.2, the mean of "
        "3 repeats."
    )


def test_every_form_of_the_report_begins_with_the_same_sentence() -> None:
    from galatune.report.sinks import Delivery

    report, old, new = whole(), old_study(), smaller(CONFIRMED, REPEATS)
    sentence = report.verdict.cost
    html = page(report, old, new)
    assert f"<div><dt>Cost</dt><dd>{sentence}</dd></div>" in html
    assert description(Delivery(report, old, new, html)).startswith(f"**Cost:** {sentence}")
    assert report.to_json()["verdict"]["cost"] == sentence


def test_the_total_holds_every_stage() -> None:
    total = whole().to_json()["total"]
    assert (total["trials"], total["trials_percent"]) == (8, 20.0)
    assert total["hours"] == pytest.approx(0.8)
    assert total["hours_percent"] == pytest.approx(20.0)
    assert {name: stage["trials"] for name, stage in total["stages"].items()} == {
        "repeat": 3,
        "search": 2,
        "confirm": 3,
    }
    assert total["stages"]["repeat"]["gradient_evaluations"] is None
    assert total["gradient_evaluations"] == 5 * 610
    assert total["gradient_evaluations_percent"] is None
    assert not total["measured"]


def test_gradient_evaluations_are_rows_and_unknown_ones_are_no_zero() -> None:
    cells = {row[0]: row[1:] for row in rows(whole())}
    assert cells["gradient evaluations in all"] == ("not recorded", "at least 3050", "", "not measured")
    assert whole().to_json()["baseline"]["gradient_evaluations"] is None
    recorded = old_study()
    recorded = replace(recorded, rows=tuple(replace(r, gradient_evaluations=400) for r in recorded.rows))
    both = account(recorded, smaller(CONFIRMED))
    cells = {row[0]: row[1:] for row in rows(both)}
    assert cells["gradient evaluations in all"] == ("16000", "3050", "", "measured")
    assert both.total.gradient_evaluations_percent == pytest.approx(100 * 3050 / 16000)


def test_hours_on_two_machines_are_not_put_beside_each_other() -> None:
    report = account(old_study(machine={**MACHINE, "device": "cuda"}), smaller(CONFIRMED, REPEATS))
    assert "hours cannot be compared (the machines differ (device))" in report.verdict.cost
    assert report.total.hours_percent is None
    assert not report.total.hours_measured


def test_a_saving_is_claimed_if_it_is_confirmed_and_earlier_than_chance() -> None:
    report = whole()
    assert report.to_match.confirmed
    assert report.random_order.trials == 2  # repeats and confirmation are no draws
    assert report.random_order.probability == pytest.approx(0.05)
    assert report.saved.claimed
    assert report.verdict.saved.startswith(
        "32 of 40 trials (80 %) to come within 0.115 of 1.2, the mean of 3 "
    )
    assert (
        "A random order of the old trials reaches this within 2 trials with probability 0.05 (median 20 "
        "trials)." in report.verdict.saved
    )


@pytest.mark.parametrize(
    ("old", "trials", "why"),
    [
        (OLD, [(0.9, "search")], "the match was not confirmed"),
        ([*OLD[:30], *[1.0] * 10], CONFIRMED, "a random order of the old trials does as well"),
        ([1.0, *OLD[:39]], CONFIRMED, "as many trials or more"),
        (OLD, [(3.0, "search")], "did not reach"),
    ],
)
def test_no_saving_is_claimed_otherwise(old: list[float], trials: list[Trial], why: str) -> None:
    study = old_study(old)
    report = account(study, smaller(trials, REPEATS, study))
    assert not report.saved.claimed
    assert why in (report.saved.not_claimed or "")
    assert report.verdict.saved.startswith(("nothing", "no saving is claimed"))


def test_without_repeats_the_old_best_is_one_value() -> None:
    report = account(old_study(), smaller(CONFIRMED))
    assert report.to_match.goal_repeats == 0
    assert report.verdict.cost.endswith("the old best is 1, one value.")
    assert (
        "the old best is one value and may be a lucky one"
        in account(
            old_study(), smaller([*[(3.0, "search")] * 4, (0.9, "search"), (1.0, "confirm")])
        ).verdict.risk
    )


def test_the_old_search_never_pays_beyond_the_trial_that_sets_the_goal() -> None:
    """The repeats may be better than every old value: no old trial is within the margin of their mean."""
    old = old_study([5.0, 3.0, 1.0, 4.0])
    report = account(old, smaller([(0.5, "search")], [0.5, 0.6, 0.55], old))
    assert report.to_match.baseline_trials == 3
    assert report.random_order.within_margin == 1
    assert report.to_match.matched


def test_quality_compares_means_of_repeats_and_not_bests() -> None:
    quality = whole().quality
    assert (quality.reached, quality.repeats) == (pytest.approx(1.05), 3)
    assert quality.difference == pytest.approx(-0.15)
    spread = ((0.04 + 0.04 + 0.0 + 0.0025 + 0.0025) / 4) ** 0.5
    reach = 2.7764451 * spread * (2 / 3) ** 0.5
    assert quality.interval == pytest.approx((-0.15 - reach, -0.15 + reach))
    assert quality.verdict == "undecided"


def test_better_is_negative_where_more_is_better_too() -> None:
    def flipped(study: Ledger) -> Ledger:
        turned = tuple(replace(row, values=(-(row.value or 0.0),)) for row in study.rows)
        return replace(study, directions=("maximize",), rows=turned)

    old = flipped(old_study())
    goal = goal_of(old, 0.01)
    assert goal is not None
    body = goal_body(with_repeats(goal, asked=3, values=tuple(-v for v in REPEATS)))
    new = flipped(smaller(CONFIRMED, REPEATS))
    new = replace(new, provenance=replace(new.provenance, goal=body))
    report = account(old, new)
    assert report.quality.difference == pytest.approx(-0.15)
    assert report.quality.reached == pytest.approx(-1.05)
    assert report.quality.interval == pytest.approx(whole().quality.interval)
    assert report.saved == whole().saved


def test_a_random_order_is_counted_as_permutations_are() -> None:
    for good in range(1, 5):
        orders = [
            order.index(min(order)) for order in ([x >= good for x in p] for p in permutations(range(5)))
        ]
        for first in range(6):
            share = sum(place < first for place in orders) / len(orders)
            assert probability_within(5, good, first) == pytest.approx(share)
    assert probability_within(100_000, 1, 10_000) == pytest.approx(CHANCE)
    assert median_first(100_000, 2) == 29290


def test_hosts_are_told_whether_a_saving_is_claimed() -> None:
    metrics = report_metrics(whole())
    assert metrics["galatune/saving_claimed"] == 1.0
    assert metrics["galatune/random_order_probability"] == pytest.approx(0.05)
    assert metrics["galatune/total_trials"] == 8
    assert metrics["galatune/total_gradient_evaluations"] is None  # a lower bound is no number
