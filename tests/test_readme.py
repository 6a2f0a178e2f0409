"""What README and handbook show is what the commands print: all of it if nothing was trained, else its lines.

The handbook shows the whole output, the README its beginning. Another processor rounds differently, and a
training amplifies that: how many trials match the goal, and what they reach, is not compared.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from galatune.cli import main
from galatune.study.ledger.attributes import MACHINE
from galatune.study.ledger.machine import this_machine

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
HANDBOOK = (REPOSITORY / "docs" / "handbook.md").read_text(encoding="utf-8")
NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
TIME = rf"[-+]?{NUMBER} (?:s|min|h)\b(?: {NUMBER} (?:s|min)\b)?(?: \([-+]?\d+ %\))?"
SPACE: dict[str, BaseDistribution] = {
    "width": CategoricalDistribution([4, 8, 16]),
    "dropout": FloatDistribution(0.0, 0.5),
    "batch_size": CategoricalDistribution([32, 64, 128]),
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
    "optimizer": CategoricalDistribution(["SGD", "AdamW"]),
    "lr": FloatDistribution(1e-5, 1.0, log=True),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def transcripts(text: str) -> dict[str, str]:
    """Command to what the text shows below it."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    pieces = [piece for block in blocks for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return {command: shown for command, _, shown in (piece.partition("\n") for piece in pieces) if shown}


def command(start: str) -> tuple[str, str]:
    """The handbook's command that begins so, and what it shows."""
    (found,) = [(typed, shown) for typed, shown in transcripts(HANDBOOK).items() if typed.startswith(start)]
    return found


def printed(typed: str) -> str:
    """What the command prints, without its hint for the next one."""
    result = CliRunner().invoke(main, typed.split()[1:])
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("What it saved")]
    return "\n".join([*lines, result.stdout])


def pieces(text: str) -> tuple[list[str], list[str]]:
    """Words and numbers; how long something took depends on the machine, and so does the width of a table.

    What is known of good rates depends on trials that the study of this test does not have.
    """
    text = re.sub(r"about \S+, within a factor of\s+\S+", "about RATE", text)
    text = re.sub(r"[─━┏┓┡┩└┘┳┻╇┴┬┃│╋]+", "|", re.sub(TIME, "TIME", text))
    text = re.sub(r"\s+", " ", text).replace(" |", "|").replace("| ", "|").strip()
    return re.split(NUMBER, text), re.findall(NUMBER, text)


def assert_same(shown: str, now: str) -> None:
    assert pieces(now) == pieces(shown)


def headings(text: str) -> list[str]:
    """First word of each line, without those of trials; how the trials went decides about the rest."""
    lines = [line for line in text.splitlines() if line[:1].isalpha() and not line.startswith("Trial ")]
    return list(dict.fromkeys(line.split()[0] for line in lines))


def assert_same_headings(shown: str, now: str) -> None:
    """A search that missed says what may help as well."""
    assert [heading for heading in headings(now) if heading != "what"] == headings(shown)


def digits() -> None:
    """The demo's old study as far as the handbook's commands look at it, without the half minute it takes."""
    best, median, away, matched, trials = 0.0328498, 0.0723759, 0.02, 23, 40
    values = [median - away] * (trials // 2 - 1) + [median + away] * (trials // 2)
    values.insert(matched - 1, best)
    Path("galatune-demo").mkdir()
    study = optuna.create_study(study_name="digits", storage="sqlite:///galatune-demo/digits.db")
    study.set_user_attr(MACHINE, {**this_machine(), "device": "cpu"})
    start = datetime(2025, 3, 1)
    for number, value in enumerate(values):
        params = {"width": 4, "dropout": number / 100, "batch_size": 32, "weight_decay": 1e-4}
        study.add_trial(
            FrozenTrial(
                number=number,
                trial_id=number,
                state=TrialState.COMPLETE,
                value=value,
                datetime_start=start,
                datetime_complete=start,
                params={**params, "optimizer": "SGD", "lr": 0.0566112466 if value == best else 0.001},
                distributions=SPACE,
                user_attrs={},
                system_attrs={},
                intermediate_values={},
            )
        )


def as_if_each_took(seconds: float, name: str) -> None:
    """A report has words for a trial that took much longer than before, and this machine may be busy."""
    with closing(sqlite3.connect(f"galatune-demo/{name}.db")) as connection:
        end = f"strftime('%Y-%m-%d %H:%M:%f', datetime_start, '{seconds} seconds') || '000'"
        connection.execute(f"UPDATE trials SET datetime_complete = {end}")
        connection.commit()


def test_commands_print_what_the_handbook_shows(folder: Path) -> None:
    digits()
    as_if_each_took(0.725, "digits")
    typed, shown = command("galatune scan")
    assert_same(shown, printed(typed).partition("Projected")[0])
    typed, shown = command("galatune run")
    now = printed(typed)
    assert re.search(
        r"^Trial 0: the old best again, complete [\d.]+, [\d.]+ s, lr up to [-+.e\d]+", now, re.MULTILINE
    )
    assert re.search(r"^Trial 3: complete [\d.]+, [\d.]+ s, .*, best [\d.]+", now, re.MULTILINE)
    assert_same_headings(shown, now)
    assert_same(*(text.partition("Trial 0")[0] for text in (shown, now)))
    as_if_each_took(1.09, "digits-gala")
    typed, shown = command("galatune report")
    assert_same_headings(shown, printed(typed))


@pytest.mark.slow
def test_the_demo_types_what_the_handbook_shows(folder: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--seed", "0"])
    assert result.exit_code == 0
    for start in ("galatune scan", "galatune run", "galatune report"):
        typed, _ = command(start)
        assert f"\n$ {typed}" in result.stdout
    _, shown = command("galatune scan")
    after = result.stdout.partition("digits.db\n")[2].partition("digits.db\n")[2]
    assert pieces(after.partition("Projected")[0])[0] == pieces(shown)[0]


def test_readme_shows_the_beginning_of_what_the_handbook_shows() -> None:
    beginnings = transcripts(README)
    assert [typed.split()[1] for typed in beginnings] == ["scan", "run", "report"]
    for typed, beginning in beginnings.items():
        assert transcripts(HANDBOOK)[typed].startswith(beginning)
    _, report = command("galatune report")
    assert beginnings.popitem()[1].splitlines() == report.splitlines()[:3]


def test_readme_is_a_page_that_begins_with_output_and_the_one_line_to_add() -> None:
    lines = README.splitlines()
    assert len(lines) <= 130
    assert lines.index("```console") < 25
    python = [i for i, line in enumerate(lines) if line == "```python"]
    codes = [lines[i + 1 : lines.index("```", i)] for i in python]
    attach, estimator = ([line for line in code if line] for code in codes)
    assert len(attach) == 8
    assert len(estimator) == 4
    assert next(i for i, line in enumerate(lines) if "galatune.attach(" in line) < 60


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(f"docs/{p.name}" for p in (REPOSITORY / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    source = REPOSITORY / page
    for target in re.findall(r"\]\(([^)\s]+)\)", source.read_text(encoding="utf-8")):
        name, _, section = target.partition("#")
        if name.startswith("https://"):
            continue
        file = source if not name else source.parent / name
        assert file.exists(), target
        assert not section or section in sections(file), target


def sections(file: Path) -> set[str]:
    """The names by which a link reaches the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_a_changed_word_or_number_would_be_noticed() -> None:
    _, run = command("galatune run")
    _, scan = command("galatune scan")
    assert_same(scan, re.sub(TIME, "3 min", scan))
    assert_same_headings(run, re.sub(r"best value +[\d.]+", "best value 0.5", run))
    for before, after in (("stopped", "ended"), ("Budget", "Limit")):
        with pytest.raises(AssertionError):
            assert_same_headings(run, run.replace(before, after))
    with pytest.raises(AssertionError):
        assert_same(scan, scan.replace("40", "41"))
