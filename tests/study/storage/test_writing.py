"""The smaller study goes somewhere else, and only when asked to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from galatune.errors import PlanError, StorageError
from galatune.study.storage.reading import open_source
from galatune.study.storage.writing import default_target, find_target, open_target

pytestmark = pytest.mark.usefixtures("folder")


def names(place: str) -> list[str]:
    with open_source(place) as source:
        return source.names()


@pytest.mark.parametrize(
    ("study", "file"),
    [
        ("mnist", "mnist-gala.db"),
        ("../../etc/passwd", "etc-passwd-gala.db"),
        ("-rf *", "rf--gala.db"),
        ("C:\\x\0y", "C-x-y-gala.db"),
        ("", "study-gala.db"),
        ("...", "study-gala.db"),
        ("größe", "größe-gala.db"),
    ],
)
def test_default_target_stays_in_the_working_directory(study: str, file: str) -> None:
    into, name = default_target(study)
    assert into == file
    assert name == f"{study}-gala"
    assert Path(into).name == into


def test_default_target_of_a_long_name_is_a_possible_file_name(folder: Path) -> None:
    into, _ = default_target("ü" * 400)
    (folder / into).touch()


def test_asking_where_makes_nothing(folder: Path) -> None:
    default_target("mnist")
    with pytest.raises(StorageError, match="galatune run"):
        find_target("mnist")
    assert list(folder.iterdir()) == []


def test_default_target_is_made_and_found_again() -> None:
    optuna.create_study(storage=open_target(None, "mnist", source="old.db"), study_name="mnist-gala")
    into, name = find_target("mnist")
    assert name == "mnist-gala"
    assert names(into) == ["mnist-gala"]


def test_find_target_takes_what_the_user_named() -> None:
    assert find_target("mnist", "postgresql://db/x", "mine") == ("postgresql://db/x", "mine")


@pytest.mark.parametrize(
    ("into", "head"),
    [("new.log", b'{"op_code"'), ("new.journal", b'{"op_code"'), ("new.x", b"SQLite format 3")],
)
def test_new_file_is_what_its_name_says(into: str, head: bytes) -> None:
    optuna.create_study(storage=open_target(into, "mnist", source="old.db"), study_name="a")
    assert Path(into).read_bytes().startswith(head)


def test_existing_journal_is_continued_whatever_its_name() -> None:
    optuna.create_study(storage=open_target("a.log", "mnist", source="old.db"), study_name="a")
    Path("a.log").rename("a.db")
    optuna.create_study(storage=open_target("a.db", "mnist", source="old.db"), study_name="b")
    assert names("a.db") == ["a", "b"]


def test_target_is_where_it_was_named_after_a_change_of_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_target("a.log", "mnist", source="old.db")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    optuna.create_study(storage=storage, study_name="a")
    assert names(str(folder / "a.log")) == ["a"]


@pytest.mark.parametrize(
    ("into", "source"),
    [
        ("old.db", "old.db"),
        ("sqlite:///old.db", "./old.db"),
        ("link.db", "old.db"),
        ("hard.db", "sqlite:///old.db"),
        ("absent.db", "sqlite:///absent.db"),
    ],
)
def test_target_is_never_the_old_file(folder: Path, into: str, source: str) -> None:
    optuna.storages.RDBStorage("sqlite:///old.db")
    (folder / "link.db").symlink_to("old.db")
    (folder / "hard.db").hardlink_to("old.db")
    with pytest.raises(PlanError, match="--into"):
        open_target(into, "mnist", source=source)


@pytest.mark.parametrize("name", ["mnist", "MNIST", "mnist "])
def test_target_never_has_the_old_name_in_the_old_database(name: str) -> None:
    one, same = "postgresql://a:s3cret@db/x", "postgresql+psycopg2://b:s3cret@DB:5432/x"
    with pytest.raises(PlanError, match="--name") as caught:
        open_target(one, "mnist", source=same, name=name)
    assert "s3cret" not in str(caught.value)


def test_what_is_something_else_is_left_alone(folder: Path) -> None:
    (folder / "table.csv").write_text("a,b\n")
    with closing(sqlite3.connect("songs.db")) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for into in (
        "table.csv",
        "songs.db",
        ".",
        "absent/new.db",
        "postgresql+psycopg2://a:s3cret@127.0.0.1:1/x",
    ):
        with pytest.raises(StorageError) as caught:
            open_target(into, "mnist", source="old.db")
        assert "\n" not in str(caught.value)
        assert "s3cret" not in str(caught.value)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_postgresql_target_is_made(postgresql_url: str) -> None:
    optuna.create_study(storage=open_target(postgresql_url, "mnist", source="old.db"), study_name="a")
    assert names(postgresql_url) == ["a"]
