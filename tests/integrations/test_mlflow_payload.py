from __future__ import annotations

from datetime import datetime, timezone

import pytest
from fake_studies import fake_study

from galatune.report.savings import savings
from galatune.report.sinks import Delivery
from galatune.study.ledger.rows import TrialRow, ledger
from galatune_mlflow.payload import (
    chunks,
    description,
    identity,
    key,
    milliseconds,
    params_of,
    rate_curves,
    report_metrics,
    split_finite,
    trial_metrics,
)


@pytest.mark.parametrize(
    "name",
    [
        "lr",
        "model.lr",
        "a/b",
        "../../etc",
        "/root",
        "a//b",
        "a/./b",
        ".",
        "..",
        "",
        "  ",
        "é<script>",
        "x" * 900,
    ],
)
def test_any_name_becomes_one_that_mlflow_takes(name: str) -> None:
    from mlflow.utils.validation import _validate_metric, _validate_param

    _validate_param(key(name), "1")
    _validate_metric(key(name), 1.0, 0, 0)


def test_names_that_become_one_are_kept_apart() -> None:
    params = params_of(TrialRow(0, "COMPLETE", params={"a<": 1, "a>": 2, "a_": "x" * 9000}))
    assert len(params) == 3
    assert max(map(len, params.values())) <= 6000


def test_identity_stays_while_the_smaller_study_grows() -> None:
    old = ledger(fake_study([2.0]))
    small, grown = (ledger(fake_study(values, name="new")) for values in ([1.0], [1.0, 2.0]))
    assert identity(old, small) == identity(old, grown)
    assert identity(old, small) != identity(old, ledger(fake_study([1.0], name="other")))


def test_unknown_and_infinite_numbers_are_left_out_by_name() -> None:
    known, missing = split_finite({"a": 1, "b": None, "c": float("inf"), "d": float("nan")})
    assert known == {"a": 1.0}
    assert missing == ["b", "c", "d"]


def test_hours_that_were_not_measured_are_no_metric() -> None:
    report = savings(fake_study([2.0, 1.0], machine=None), fake_study([1.0], controlled=True))
    metrics = report_metrics(report)
    assert metrics["galatune/saved_trials"] == 1
    assert metrics["galatune/saved_hours"] is None


def test_several_objectives_have_a_metric_each() -> None:
    row = TrialRow(0, "COMPLETE", values=(1.0, 2.0))
    assert trial_metrics(row)["value_1"] == 2.0


def test_rate_curves_keep_their_steps() -> None:
    (curve,) = rate_curves(ledger(fake_study([1.0], controlled=True)).rows[0])
    assert curve.name == "learning_rate"
    assert curve.steps[:2] == (1, 11)


def test_times_without_a_zone_are_local() -> None:
    aware = datetime(2025, 3, 1, tzinfo=timezone.utc)
    assert milliseconds(aware) == 1740787200000
    assert milliseconds(aware.astimezone().replace(tzinfo=None)) == 1740787200000
    assert milliseconds(None) is None


def test_description_obeys_no_markdown_of_a_name() -> None:
    old = fake_study([1.0], machine=None, name="[x](http://evil) <b>")
    new = fake_study([1.0], controlled=True)
    text = description(Delivery(savings(old, new), ledger(old), ledger(new), ""))
    assert "[x](" not in text.replace("\\[", "")
    assert "<b>" not in text.replace("\\<", "")
    assert text.startswith("**Cost:**")


def test_chunks_lose_nothing() -> None:
    assert [len(piece) for piece in chunks(list(range(2500)), 1000)] == [1000, 1000, 500]
