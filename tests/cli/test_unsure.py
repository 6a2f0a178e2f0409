"""Parameters that may be learning rates: `galatune run` asks on a terminal, else keeps them and says so."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_search import OBJECTIVE, RATE, objective_file, old_study

from galatune.cli import main
from galatune.cli.unsure import settle_unsure
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan


class Terminal(io.StringIO):
    """Where a person answers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    old_study("old.log", rates={"lr": RATE, "swa lr": RATE, "inner_lr": RATE})


def look(rates: tuple[str, ...] = (), others: tuple[str, ...] = ()) -> ShrinkPlan:
    return scan("old.log", lr=rates, keep=others)


def answered(monkeypatch: pytest.MonkeyPatch, answers: str, ask: bool = True) -> tuple[ShrinkPlan, str]:
    said = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answers))
    monkeypatch.setattr(sys, "stderr", said)
    plan = settle_unsure(look(), lambda rates, others: look(tuple(rates), tuple(others)), ask=ask)
    return plan, said.getvalue()


def test_a_person_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, said = answered(monkeypatch, "y\n\n")  # return alone means no
    assert list(plan.placeholders) == ["lr", "swa lr"]
    assert "inner_lr" in plan.kept
    assert not any(d.role == "unsure" for d in plan.learning_rate)
    assert "Is it the learning rate of a torch optimizer? [y/N]" in said
    assert "--lr 'swa lr'" in said


@pytest.mark.parametrize("ask", [True, False])
def test_unasked_it_is_kept_and_that_is_said(monkeypatch: pytest.MonkeyPatch, ask: bool) -> None:
    if ask:
        monkeypatch.setattr(Terminal, "isatty", lambda self: False)
    plan, said = answered(monkeypatch, "y\ny\n", ask)
    assert plan == look()
    assert list(plan.placeholders) == ["lr"]
    assert said.count("\n") == 1
    assert "swa lr, inner_lr. If so, say --lr 'swa lr' --lr inner_lr." in said


def test_ctrl_c_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        answered(monkeypatch, "")


@pytest.mark.parametrize("yes", [(), ("--yes",)])
def test_a_run_keeps_what_may_be_a_rate(tmp_path: Path, yes: tuple[str, ...]) -> None:
    suggest = '    trial.suggest_float("swa lr", 1e-5, 1.0, log=True)\n    lr = '
    objective_file(tmp_path, OBJECTIVE.replace("    lr = ", suggest))
    arguments = ["run", "old.log", "tiny_objective.py:objective", "--into", "new.log", "--trials", "1"]
    result = CliRunner().invoke(main, [*arguments, "--json", "--keep", "inner_lr", *yes])
    assert result.exit_code == 0, result.output
    assert "swa lr" in json.loads(result.stdout)["best_params"]
    assert "say --lr 'swa lr'." in result.stderr
    assert "inner_lr" not in result.stderr.partition("Dropped")[0]
