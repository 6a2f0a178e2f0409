"""Passwords are hidden however an address was typed."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from galatune.study.storage.secrets import LONGEST, hide_secrets, redact

PASSWORDS = (
    "s3cret",
    "s3@cret",
    "s3:cret",
    "s3/cret",
    "s3%cret",
    "s3#cret",
    "s3?cret",
    "s3 cret",
    "@s3cret:",
    "ü3cret",
)
SPELLINGS = (
    "postgresql://u:{}@h/db",
    "postgresql:/u:{}@h/db",
    "postgresql:u:{}@h/db",
    "postgresql//u:{}@h/db",
    "postgresql;//u:{}@h/db",
    "postgresql ://u:{}@h/db",
    " postgresql://u:{}@h/db",
    "postgresql://u:{}@h/db ",
    "'postgresql://u:{}@h/db'",
    '"postgresql://u:{}@h/db"',
    "\u201cpostgresql://u:{}@h\u201d",
    "postgresql://:{}@h/db",
    "//u:{}@h",
    "u:{}@h",
    "POSTGRESQL+PSYCOPG2://U:{}@[::1]:5432/db",
    "--into=postgresql://u:{}@h/db",
    "http://u:{}@h:5000/path",
    "postgresql://u:{0}@h postgresql://u:{0}@h",
    "runs/postgresql:/u:{}@h/db",
    "/home/me/postgresql:/u:{}@h/db",
    "postgresql%3A//u%3A{}%40h/db",
)
SETTINGS = (
    "host=h password={} dbname=x",
    "host=h password = '{}' dbname=x",
    "PGPASSWORD={}",
    "{{'user': 'u', 'password': '{}'}}",
    "mysql://h/x?user=a&password={}&b=c",
    "postgresql://h/x?sslpassword={}",
    "postgresql://u:{}",
    "postgresql://u:{}/db",
)


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_password_is_hidden_in_every_spelling(spelling: str, password: str) -> None:
    typed = spelling.format(password)
    for shown in (redact(typed), hide_secrets(f"no such file: {typed!r}", typed)):
        assert "cret" not in shown
        assert "***" in shown


def test_a_slash_in_place_of_the_colon_hides_the_password_in_errors() -> None:
    assert hide_secrets("no such file: 'u/s3cret@h:5432/db'") == "no such file: 'u/***@h:5432/db'"
    assert hide_secrets("no such file: 'runs/me@home/study.db'") == "no such file: 'runs/me@home/study.db'"


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_password_is_hidden_among_settings(setting: str) -> None:
    typed = setting.format("s3cret")
    assert "s3cret" not in redact(typed)
    assert "s3cret" not in hide_secrets(f"refused: {typed}")


@pytest.mark.parametrize("password", PASSWORDS)
def test_what_a_driver_repeats_is_hidden_raw_and_encoded(password: str) -> None:
    for typed in (password, quote(password), quote(password, safe="")):
        for repeated in (password, quote(password), quote(password, safe=""), repr(password)):
            said = hide_secrets(f"FATAL: no {repeated} here", f"postgresql://u:{typed}@h/db")
            assert "cret" not in said
            assert said.startswith("FATAL: no ")


def test_a_piece_of_a_password_is_hidden() -> None:
    url = "http://ada:se/cret@h"
    assert hide_secrets("port 'se' of path /cret", url) == "port '***' of path /***"


def test_in_an_error_the_users_place_may_hold_the_password() -> None:
    url = "postgresql://s3cret@h/db"
    assert redact(url) == url
    assert (
        hide_secrets(f'{url}: role "s3cret" is unknown', url)
        == 'postgresql://***@h/db: role "***" is unknown'
    )


@pytest.mark.parametrize(
    "text",
    [
        "runs/study.db",
        "runs/a:b@c.db",
        "train.py:objective",
        "http://127.0.0.1:5000: no answer",
        "http://[::1]:5000/x",
        "sqlite:////tmp/a.db",
        "2024-01-01 10:00",
        "No study 'a' in b.db; it holds: c, d",
    ],
)
def test_what_is_no_password_stays(text: str) -> None:
    assert redact(text) == hide_secrets(text) == text


@pytest.mark.parametrize("piece", ["'", "a,", "(a:", "//", ":", "password", "password=", "x", "=@", "@,a:"])
def test_long_text_takes_no_time_and_shows_nothing(piece: str) -> None:
    long = piece * (100_000 // len(piece))
    for end in ("", "postgresql://u:s3cret@h"):
        assert "s3cret" not in redact(long + end)
        assert len(hide_secrets(long + end, long + end)) <= 2 * LONGEST
