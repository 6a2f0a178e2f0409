from __future__ import annotations

import re
from html.parser import HTMLParser

import optuna
import pytest
from fake_studies import fake_study, run_attribute
from optuna.trial import create_trial

from galatune.report.page import events, page
from galatune.report.plots import best_by_trial
from galatune.report.savings import account, savings
from galatune.study.ledger.match import goal_of
from galatune.study.ledger.rows import Ledger, TrialRow, ledger

HOSTILE = '<script>alert(1)</script>{{ 7 * 7 }}{% raw %} [bold]x[/bold]\n"><img src=x onerror=y>&amp; $\\frac'
VOID = {"meta", "link", "br", "img", "input", "hr", "path", "use"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def make(old: optuna.Study, new: optuna.Study, **options: object) -> str:
    report = savings(old, new, **options)  # type: ignore[arg-type]
    return page(report, ledger(old), ledger(new))


@pytest.fixture(scope="module")
def document() -> str:
    old = fake_study([5.0, "failed", 3.0, "running", 1.0, 2.0])
    new = fake_study([3.0, 1.0, "failed"], name="new", controlled=True, stages={1: "polish"})
    return make(old, new, price=2.0, currency="EUR")


def test_page_fetches_nothing_and_runs_nothing(document: str) -> None:
    reader = Reader(document)
    assert not reader.open
    assert not {"script", "link", "iframe", "object", "embed", "img", "base", "form"} & set(reader.tags)
    for tag, name, value in reader.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert value.startswith("#"), (tag, name, value)
    assert "http:" not in document
    assert "https:" not in document
    assert "@import" not in document
    assert "url(" not in document.replace("url(#", "")


def test_page_starts_with_the_four_sentences(document: str) -> None:
    text = " ".join(Reader(document[document.index("<main>") : document.index("</main>")]).words).split()
    assert text[0] == "Cost"
    assert (
        text.index("Cost")
        < text.index("Saved")
        < text.index("Risk")
        < text.index("Next")
        < text.index("Numbers")
    )


def test_page_is_readable_to_those_who_do_not_see_it(document: str) -> None:
    reader = Reader(document)
    assert ("html", "lang", "en") in reader.attributes
    assert reader.tags.count("svg") == 2
    assert reader.attributes.count(("svg", "role", "img")) == 2
    assert document.count("<title>") == 3


def test_page_holds_the_evidence(document: str) -> None:
    words = " ".join(Reader(document).words)
    for evidence in (
        "dropped, held at 0.002",
        "named lr, on a log scale",
        "the schedule of the training goes on",
        "RandomSampler",
        "10 trials were asked for",
        "5.0.0",
        "polish",
        "listed, not counted",
        "EUR",
        "measured",
    ):
        assert evidence in words


def test_page_never_shows_a_password(document: str) -> None:
    assert "secret" not in document
    assert "ada:***@db" in document


def test_text_from_a_study_stays_text() -> None:
    old = optuna.create_study(study_name=HOSTILE)
    new = optuna.create_study(study_name=HOSTILE + "-gala")
    attribute = run_attribute(HOSTILE)
    attribute["plan"]["learning_rate"][0].update(name=HOSTILE, placeholder=HOSTILE, evidence=[HOSTILE])
    attribute.update(sampler=HOSTILE, stopped_because=HOSTILE, options={HOSTILE: HOSTILE})
    new.set_user_attr("galatune", attribute)
    choice = optuna.distributions.CategoricalDistribution([HOSTILE])
    for study in (old, new):
        study.add_trial(create_trial(value=1.0, params={HOSTILE: HOSTILE}, distributions={HOSTILE: choice}))
    document = make(old, new)
    reader = Reader(document)
    assert not {"script", "img"} & set(reader.tags)
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]
    assert "{{ 7 * 7 }}" in document
    assert "[bold]x[/bold]\\n" in document


@pytest.mark.parametrize("new", [[], ["failed"], [float("inf")], ["running"]])
@pytest.mark.parametrize("old", [[], ["failed"], [1.0], [1.0, 2.0]])
def test_page_is_made_whatever_is_missing(old: list, new: list) -> None:
    reader = Reader(make(fake_study(old, machine=None), fake_study(new, name="new")))
    assert "None" not in " ".join(reader.words)


def test_page_of_several_objectives_states_its_reference_point() -> None:
    both = ("minimize", "maximize")
    old = fake_study([(3.0, 1.0), (1.0, 2.0)], directions=both)
    assert "reference point" in make(old, fake_study([(1.0, 2.0)], directions=both, controlled=True))


def test_the_same_studies_give_the_same_page() -> None:
    old, new = fake_study([2.0, 1.0]), fake_study([1.0], controlled=True)
    assert make(old, new) == make(old, new)


def test_events_are_counted_by_kind() -> None:
    (summary,) = events(ledger(fake_study([1.0, 2.0], controlled=True)))
    assert (summary.kind, summary.count, summary.trials) == ("schedule", 2, 2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([1e300, 9e299, 1e299, 2e299, 3e299, 4e299], [1e300, 8e299, 1e299, 2e299, 3e299, 5e299]),
        ([1.7e308, -1.7e308, 1.0, 2.0, 3.0, 4.0], [5.0, 3.0, 2.0, 1.0, 1.0, 1.0]),
        ([5.0, 4.0, 3.0, 2.0, 1.0, 0.5], [1e308, 3.0, 2.0, 1.0, 1.0, 1.0]),
        ([1e-320] * 6, [2e-320] * 6),
    ],
)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_values_at_the_end_of_floats_make_a_page(old: list[float], new: list[float], direction: str) -> None:
    one, two = (
        fake_study(old, directions=[direction]),
        fake_study(new, directions=[direction], controlled=True),
    )
    assert "<svg" in page(savings(one, two), ledger(one), ledger(two))


def test_settings_say_where_both_lie_and_what_was_not_set() -> None:
    old, new = fake_study([3.0, 1.0]), fake_study([2.0, 1.0], controlled=True)
    attribute = run_attribute()
    attribute["options"] = {"trials": None, "until_match": False}
    attribute["objective"] = {"reference": "train.py:objective", "sha256": "ab"}
    new.set_user_attr("galatune", attribute)
    document = page(savings(old, new), ledger(old, "runs/old.db"), ledger(new, "new.db"))
    assert '<th scope="row">storage</th><td>runs/old.db</td><td>new.db</td>' in document
    assert "<td>trials not set, until_match False</td>" in document
    assert "<td>train.py:objective</td>" in document


def large(name: str, trials: int, params: int, text: str = "x") -> Ledger:
    """A study with values from a fixed sequence."""
    rows = [
        TrialRow(
            n,
            "COMPLETE" if n % 3 else "FAIL",
            values=((n * 7919 % trials) / trials,) if n % 3 else None,
            seconds=1.0,
            params={f"p{i}": text if i == 0 else n / 7 for i in range(params)},
            reason=None if n % 3 else text,
        )
        for n in range(trials)
    ]
    return Ledger(name, ("minimize",), tuple(rows), storage=f"{name} a.db")


@pytest.mark.parametrize(("trials", "params", "text"), [(3_000, 8, "x"), (400, 300, "y" * 9_000)])
def test_page_of_a_large_study_is_small_and_says_where_the_rest_is(
    trials: int, params: int, text: str
) -> None:
    old, new = large("old", trials, params, text), large("old-gala", trials, params, text)
    document = page(account(old, new), old, new)
    assert len(document) < 2_000_000
    assert f"of {trials} trials, best first" in document
    command = (
        "galatune report &#39;old a.db&#39; --study old --into &#39;old-gala a.db&#39; --name old-gala --csv"
    )
    assert f"{command} trials.csv" in document
    shown = re.findall(r'<tr><td class="n">(\d+)</td><td>(\w+)</td>', document)
    best = min((row for row in old.complete), key=lambda row: row.values or ())
    assert shown[0] == (str(best.number), "COMPLETE")
    assert len(shown) <= 600


def test_a_long_search_is_drawn_with_few_points() -> None:
    improving = fake_study([1.0 / n for n in range(1, 1200)])
    document = make(improving, fake_study([1.0] * 20))
    assert len(document) < 500_000
    data = best_by_trial(ledger(improving), ledger(improving), goal_of(ledger(improving), 0.0), (3, 3))
    assert data is not None
    (line, *_) = data.draw().axes[0].get_lines()
    assert 300 < len(line.get_xdata()) < 600
    assert line.get_xdata()[-1] == 1199
