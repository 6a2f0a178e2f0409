"""What a trial leaves behind fits, and is JSON."""

from __future__ import annotations

import json
import math

from galatune.study.ledger.record import OptimizerRecord, RateEvent, RatePoint, TrialRecord


def record(
    optimizers: int = 1, points: int = 0, events: int = 0, text: str = "why", rate: float = 0.1
) -> TrialRecord:
    return TrialRecord(
        optimizers=tuple(OptimizerRecord("AdamW", True, "graph", text) for _ in range(optimizers)),
        steps=points,
        probes=3,
        gradient_evaluations=2 * points,
        learning_rate=tuple(
            RatePoint(i, step, rate / step) for i in range(optimizers) for step in range(1, points + 1)
        ),
        events=tuple(RateEvent(i % max(optimizers, 1), i, "kind", text) for i in range(events)),
        machine={"platform": "Linux", "device": "cpu"},
        versions={"torch": "2.9"},
    )


def stored(given: TrialRecord) -> TrialRecord:
    text = json.dumps(given.to_attribute(), allow_nan=False)
    assert len(text) <= 32_000
    found = TrialRecord.from_attribute(json.loads(text))
    assert found is not None
    return found


def test_a_record_comes_back_as_it_was() -> None:
    given = record(optimizers=2, points=20, events=5)
    assert stored(given) == given


def test_nothing_at_all_fits() -> None:
    given = record(optimizers=0)
    assert stored(given) == given
    assert not given.controlled


def test_thousands_of_everything_fit() -> None:
    found = stored(record(optimizers=300, points=500, events=9000, text="because " * 500))
    assert len(found.optimizers) == 20
    assert len(found.learning_rate) <= 200
    assert len(found.events) <= 100
    assert found.steps == 500
    assert {point.optimizer for point in found.learning_rate} == set(range(20))
    assert all(event.optimizer < 20 for event in found.events)


def test_words_of_any_alphabet_fit() -> None:
    found = stored(record(optimizers=20, points=400, events=100, text="🙂größer" * 200))
    assert len(found.events) == 100


def test_a_thinned_curve_keeps_its_peak_and_its_end() -> None:
    points = [RatePoint(0, step, 9.0 if step == 778 else 1.0) for step in range(1, 1001)]
    found = stored(TrialRecord((OptimizerRecord("SGD", True, "graph", ""),), 1000, 1, 1, tuple(points)))
    assert len(found.learning_rate) <= 200
    assert RatePoint(0, 778, 9.0) in found.learning_rate
    assert found.learning_rate[0].step == 1
    assert found.learning_rate[-1].step == 1000
    steps = [point.step for point in found.learning_rate]
    assert steps == sorted(set(steps))


def test_a_rate_that_is_not_finite_is_left_out() -> None:
    rates = [0.1, math.nan, math.inf, -math.inf, 0.2]
    points = tuple(RatePoint(0, step, rate) for step, rate in enumerate(rates, 1))
    found = stored(TrialRecord((OptimizerRecord("SGD", True, "graph", ""),), 5, 1, 1, points))
    assert [point.rate for point in found.learning_rate] == [0.1, 0.2]


def test_what_another_program_wrote_is_not_guessed() -> None:
    for body in (None, "text", [], {}, {"schema": 99}, {"schema": "1"}):
        assert TrialRecord.from_attribute(body) is None
