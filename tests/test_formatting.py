"""How values are said: one line, no control characters, units that read well."""

from __future__ import annotations

import subprocess
import sys

import pytest

from galatune.formatting import duration, first_line, in_shell, listed, number, plural, printable, time_left


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2Jb", "\u202e", "tab\t"])
def test_printable_text_has_no_control_character(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize("word", ["plain", "my study", "it's", "a\nb", "\x1b[31m", "100 %", "$HOME", "ä\x07"])
def test_a_word_survives_the_shell(word: str) -> None:
    done = subprocess.run(["bash", "-c", f"printf %s {in_shell(word)}"], capture_output=True, check=True)
    assert done.stdout.decode() == word
    assert in_shell(word).isprintable()


def test_an_error_is_said_in_one_line() -> None:
    assert first_line(OSError("disk full.\nTraceback: ...")) == "disk full"
    assert first_line(KeyError()) == "KeyError"


@pytest.mark.parametrize(("count", "said"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials")])
def test_a_count_has_the_number_of_its_noun(count: int, said: str) -> None:
    assert plural(count, "trial") == said


def test_a_long_list_ends_with_how_many_are_left_out() -> None:
    names = [f"x{i}" for i in range(25)]
    assert listed(names, 20).endswith("x19 and 5 more")
    assert listed(names[:20], 20).endswith("x19")
    assert listed(["a\x1b"]) == "a\\x1b"


@pytest.mark.parametrize(
    ("hours", "said"),
    [(None, ""), (0.0, "0 s"), (0.005, "18 s"), (0.43, "25.8 min"), (1.0, "1 h"), (-1.5, "-1.5 h")],
)
def test_a_duration_has_a_unit_that_reads_well(hours: float | None, said: str) -> None:
    assert duration(hours) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (3599.0, "59 min 59 s"), (3600.0, "1 h 00 min")]
)
def test_time_left_counts_down_in_whole_units(seconds: float, said: str) -> None:
    assert time_left(seconds) == said


def test_what_is_unknown_is_said_with_nothing() -> None:
    assert number(None, "h") == ""
    assert number(0, "trials") == "0 trials"


def test_formatting_loads_nothing_else_of_galatune() -> None:
    program = "import sys, galatune.formatting; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = [name for name in done.stdout.split() if name.startswith(("galatune", "optuna", "torch"))]
    assert loaded == ["galatune", "galatune.formatting"]
