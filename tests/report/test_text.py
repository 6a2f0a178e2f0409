from __future__ import annotations

import io

import pytest
from fake_studies import fake_study

from galatune.report.savings import savings
from galatune.report.table_rows import rows
from galatune.report.text import Verdict

OLD = [5.0, 4.0, 3.0, 3.0, 1.0, 3.5]


def say(new: list, **options: object) -> Verdict:
    study = fake_study(new, name="new", controlled=True)
    return savings(fake_study(OLD), study, **options).verdict  # type: ignore[arg-type]


def test_a_saving_is_said_in_trials_time_and_money() -> None:
    sentence = say([2.0, 1.0], price=60.0, currency="EUR").saved
    assert (
        "3 of 5 trials (60 %) to come within 1 % of the old best; 3 min of 5 min (60 %), 3.00 EUR."
        in sentence
    )


def test_not_reached_is_said_as_plainly_as_reached() -> None:
    said = say([2.0, 3.0])
    assert said.saved.startswith("nothing: after 2 trials the smaller study is not within 1 %")
    assert "more trials" in said.next


def test_a_search_that_took_longer_saved_nothing() -> None:
    study = fake_study([4.0, 2.0, 1.0], controlled=True)
    said = savings(fake_study([1.0, 3.0, 5.0]), study).verdict
    assert said.saved.startswith("nothing: 3 trials instead of 1")
    assert "did not pay" in said.next


def test_a_best_that_nobody_ran_again_may_be_luck() -> None:
    assert "lucky" in say([3.0, 2.0, 2.0, 2.0, 1.0]).risk


@pytest.mark.parametrize(("seconds", "asked"), [(20.0, True), (40.0, False), (100.0, False), (300.0, True)])
def test_a_machine_that_was_busier_once_is_asked_about(seconds: float, asked: bool) -> None:
    study = fake_study([2.0, 1.0], controlled=True, seconds=seconds)
    risk = savings(fake_study(OLD), study).verdict.risk
    assert ("as busy" in risk) == asked


def test_no_difference_has_no_sign() -> None:
    study = fake_study(OLD, name="new", controlled=True)
    report = savings(fake_study(OLD), study, price=60.0, currency="EUR")
    shown = {row[0]: row[3] for row in rows(report)}
    assert shown["trials to the old best, within 1 %"] == "0 (0 %)"
    assert shown["time to it"] == "0 s (0 %)"
    assert shown["cost of it"] == "0.00 EUR"
    slower = savings(fake_study(OLD, seconds=1000.0), fake_study(OLD, controlled=True, seconds=1001.0))
    assert {row[0]: row[3] for row in rows(slower)}["time to it"] == "+5 s (0 %)"


def test_hypervolumes_differ_and_nobody_can_say_by_luck_or_not() -> None:
    both = ("minimize", "minimize")
    old = fake_study([(2.0, 1.0), (1.0, 2.0), (3.0, 3.0)], directions=both)
    new = fake_study([(2.0, 1.0)], directions=both, controlled=True)
    shown = {row[0]: row[1:3] for row in rows(savings(old, new))}
    assert shown["hypervolume"] == ("3.84", "2.64")
    assert shown["best of each objective"] == ("1, 1", "2, 1")
    assert savings(old, new).verdict.risk.endswith(
        "worse; undecided (no interval: several objectives make one hypervolume a study, with nothing to "
        "draw again)."
    )


def test_an_interrupted_run_is_continued_first() -> None:
    study = fake_study([1.0], controlled=True)
    study.set_user_attr("galatune", {**study.user_attrs["galatune"], "stopped_because": "interrupted"})
    assert "not finished" in savings(fake_study(OLD), study).verdict.next


def test_an_unfinished_run_is_continued_first() -> None:
    study = fake_study([1.0], controlled=True)
    attribute = {k: v for k, v in study.user_attrs["galatune"].items() if k != "stopped_because"}
    study.set_user_attr("galatune", attribute)
    said = savings(fake_study(OLD), study).verdict
    assert "not finished" in said.next


@pytest.mark.parametrize("new", [[], ["failed"], [2.0], [1.0], ["running"]])
def test_every_sentence_is_there_whatever_happened(new: list) -> None:
    for _, sentence in say(new).lines:
        assert sentence.endswith((".", "?"))
        assert "None" not in sentence


def test_report_says_itself_in_sentences_and_a_table() -> None:
    text = savings(fake_study(OLD), fake_study([2.0, 1.0], name="new", controlled=True)).text(width=100)
    assert [line.split()[0] for line in text.splitlines()[:4]] == ["Cost:", "Saved:", "Risk:", "Next:"]
    assert "best value" in text
    assert not text.endswith("\n")
    assert max(map(len, text.splitlines()[4:])) <= 100


def test_text_shows_names_as_text_not_as_markup() -> None:
    study = fake_study([1.0], name="[bold red]x[/]\x1b[31m", controlled=True)
    text = savings(fake_study(OLD), study).text(width=200)
    assert "[bold red]x[/]\\x1b[31m" in text
    assert "\x1b" not in text


def test_text_is_drawn_with_what_stdout_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    report = savings(fake_study(OLD), fake_study([1.0], name="new", controlled=True))
    assert not report.text().isascii()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert report.text().isascii()


@pytest.mark.parametrize("values", [[2.0, 1.0], [4.0, 4.5]], ids=["matched", "not reached"])
def test_hours_of_an_unknown_machine_are_not_marked_measured(values: list[float]) -> None:
    old, new = fake_study(OLD, machine=None), fake_study(values, name="new", controlled=True)
    marks = {cells[0]: cells[-1] for cells in rows(savings(old, new, price=1.0, currency="EUR"))}
    for label in ("time to it", "time in all", *(["cost of it"] if "cost of it" in marks else [])):
        assert marks[label] == "not measured", label
    assert marks["finished trials"] == "measured"
