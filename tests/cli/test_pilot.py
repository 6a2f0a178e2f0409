"""`galatune pilot` and `galatune run --plan` as people type them."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny_search import HEADER, load, objective_file, old_study

from galatune.cli import main
from galatune.study.ledger.attributes import STAGE

WORTH = f"""{HEADER}
import sys

def objective(trial):
    net = make(trial)
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    loss = train(torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=decay), net, 4)
    place = trial.user_attrs.get("galatune_pilot", {{}})
    loss = 2.8 + 0.001 * torch.rand(2)[int(place.get("arm") == "controlled")].item()
    return loss + WORTH.get(place.get("arm"), 0.0)

WORTH = {{"controlled": 1.0}}
"""

PILOT = ("pilot", "old.log", "tiny_objective.py:objective", "--into", "new.log")
RUN = ("run", "old.log", "tiny_objective.py:objective", "--trials", "1", "--no-confirm")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an old study of 20 trials and an objective in which control is worse."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name == "tiny_objective"]:
        monkeypatch.delitem(sys.modules, name)
    old_study("old.log", values=[3.0 - 0.01 * i for i in range(20)])
    objective_file(tmp_path, WORTH)
    return tmp_path


def typed(*words: str, status: int = 0) -> Result:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == status, result.output
    return result


def complaint(*words: str, status: int = 1) -> str:
    """The one line that an error is."""
    lines = [
        line for line in typed(*words, status=status).stderr.splitlines() if line.startswith("galatune: ")
    ]
    assert len(lines) == 1
    return lines[0]


def test_a_pilot_says_what_it_does_what_it_found_and_what_to_type_next() -> None:
    before = hashlib.sha256(Path("old.log").read_bytes()).hexdigest()
    result = typed(*PILOT)
    assert "at most 2 pairs of trainings" in result.stderr
    assert "(4 trainings are 20 % of the old study's); before them 3 repeats" in result.stderr
    assert "Trial 3: pilot, old trial 19 controlled, complete 3.8" in result.stderr
    assert "Fix the learning rate at the old best's (--control off)" in result.stdout
    words = next(line for line in result.stderr.splitlines() if line.startswith("To go on: ")).split()[4:]
    assert words == ["run", "old.log", "tiny_objective.py:objective", "--into", "new.log"]
    said = typed(*words, "--trials", "1", "--no-confirm").stderr
    assert "Pilot: fix the learning rate" in said
    assert "Control off: rate fixed at the old best" in said
    stages = [trial.user_attrs.get(STAGE) for trial in load().trials]
    assert stages == ["repeat"] * 3 + ["pilot"] * 4 + [None]
    assert hashlib.sha256(Path("old.log").read_bytes()).hexdigest() == before


def test_json_has_the_keys_of_the_contract() -> None:
    body = json.loads(typed(*PILOT, "--json").stdout)
    assert {"pairs", "difference", "interval", "verdict", "why", "cost", "way", "margin"} <= set(body)
    assert (body["pairs"], body["verdict"], body["way"]) == (2, "no-go", "fixed")
    assert body["difference"] == pytest.approx(1.0, abs=0.01)
    assert json.loads(typed(*PILOT, "--json").stdout) == body, "it is over: nothing is run again"
    assert len(load().trials) == 7


def test_undecided_exits_with_0() -> None:
    objective_file(Path.cwd(), WORTH.replace('"controlled": 1.0', "").replace("0.001", "1.0"))
    body = json.loads(typed(*PILOT, "--margin", "0", "--json").stdout)
    assert (body["verdict"], body["way"]) == ("undecided", "fixed")


def test_a_saved_plan_carries_the_choice() -> None:
    said = typed(*PILOT, "--save", "my plan.json").stderr
    assert (
        "To go on: galatune run old.log tiny_objective.py:objective --plan 'my plan.json' --into new.log"
        in said
    )
    plan = json.loads(Path("my plan.json").read_text())
    assert (plan["study"], plan["pilot"]["way"], plan["pilot"]["cost"]["trainings"]) == ("old", "fixed", 4)
    result = typed(*RUN, "--plan", "my plan.json")
    assert "Control off" in result.stderr
    assert "--into new.log --name old-gala" in result.stderr, "the report is found where the pilot is"
    assert len(load().trials) == 8
    said = typed("report", "old.log", "--into", "new.log").stdout
    assert "8 trials (3 repeating the old best, 4 of the pilot)" in " ".join(said.split())


def test_a_plan_brings_its_pilot_to_another_place_and_says_so() -> None:
    typed(*PILOT, "--save", "plan.json")
    said = typed(*RUN, "--plan", "plan.json", "--into", "other.log").stderr
    assert "Control off" in said
    assert "are copied into this study and counted here" in said
    assert len(load("other.log").trials) == 8


def test_the_user_may_say_otherwise() -> None:
    typed(*PILOT)
    said = typed(*RUN, "--into", "new.log", "--control", "on").stderr
    assert "--control on was asked for all the same" in said
    assert "Control off" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it holds no JSON"),
        ("[1, 2]", "no plan of one study"),
        ('{"studies": []}', "no plan of one study"),
        ('{"study": "old"}', "Not a plan of galatune's"),
        ("\x00\xff", "it holds no JSON"),
        ("[" * 100_000, "it holds no JSON"),
    ],
)
def test_a_file_that_is_no_plan_is_one_line(text: str, words: str) -> None:
    Path("plan.json").write_bytes(text.encode("latin-1"))
    assert words in complaint(*RUN, "--plan", "plan.json")
    assert not Path("old-gala.db").exists()


def test_a_plan_that_contradicts_the_command_is_one_line() -> None:
    typed(*PILOT, "--save", "plan.json")
    assert "cannot read the plan 'none.json'" in complaint(*RUN, "--plan", "none.json")
    assert "cannot read the plan '.'" in complaint(*RUN, "--plan", ".")
    assert "leave out --lr, --keep" in complaint(*RUN, "--plan", "plan.json", "--lr", "lr")
    assert "the plan of study 'old', however: --study new" in complaint(
        *RUN, "--plan", "plan.json", "--study", "new"
    )
    assert "--max-lr has no meaning" in complaint(*RUN, "--plan", "plan.json", "--max-lr", "1")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--pairs", "1"), "--pairs must be a whole number from 2 to 1000"),
        (("--margin", "-1"), "--margin must be a number of at least 0"),
        (("--margin", "wide"), "--margin must be a number"),
        (("--save", "."), "--save"),
    ],
)
def test_wrong_usage_is_one_line(given: tuple[str, str], words: str) -> None:
    assert words in complaint(*PILOT, *given, status=2)
    assert not Path("new.log").exists()


def test_a_plan_that_cannot_be_saved_is_one_line_and_loses_nothing() -> None:
    assert "cannot write" in complaint(*PILOT, "--save", "nowhere/plan.json")
    assert len(load().trials) == 7
    typed(*PILOT, "--save", "plan.json")
    assert len(load().trials) == 7, "the same command with another file runs nothing again"
