"""A journal whose last line is torn stays readable, and so does one that a disk was too small for."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from galatune.errors import StorageError
from galatune.study.storage.journal import whole_length
from galatune.study.storage.reading import open_source
from galatune.study.storage.writing import open_target

pytestmark = pytest.mark.usefixtures("folder")

ENTRY = b'{"op_code":8,"worker_id":"a-1","trial_id":0,"user_attr":{"a":1}}\n'

TORN = [
    b'{"op_code":8,"work',
    ENTRY[:-1],
    b"{",
    b"\0" * 5000,
    b"\0" * 50 + b"\n",
    b"\n",
    b"\r\n\r\n",
    b'{"op_code":8,"wor\n{"op_code":8\n{"op',
    b'{"op_code":8,"wor' + ENTRY,
    b"\xff\xfe\xff\n",
    b"{" * 200_000,
]


def written(file: str = "a.log", trials: int = 2) -> bytes:
    """A journal of Optuna's own."""
    storage = JournalStorage(JournalFileBackend(file))
    study = optuna.create_study(study_name="a", storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials)
    return Path(file).read_bytes()


def append(file: str, text: bytes) -> None:
    with Path(file).open("ab") as journal:
        journal.write(text)


def ordinary(file: str = "a.log") -> optuna.Study:
    """The study as any other program reads it."""
    return optuna.load_study(study_name="a", storage=JournalStorage(JournalFileBackend(file)))


@pytest.mark.parametrize("torn", TORN, ids=range(len(TORN)))
def test_what_is_torn_is_cut_off_before_anything_is_written(torn: bytes) -> None:
    before = written()
    append("a.log", torn)
    storage = open_target("a.log", "old", source="old.log")
    assert Path("a.log").read_bytes() == before + torn, "opening changes nothing"
    study = optuna.load_study(study_name="a", storage=storage)
    study.set_user_attr("note", 1)
    assert Path("a.log").read_bytes().startswith(before + b'{"op_code":2')
    assert Path("a.log.torn").read_bytes() == torn
    assert [trial.state.name for trial in ordinary().trials] == ["COMPLETE"] * 2
    assert ordinary().user_attrs == {"note": 1}


@pytest.mark.parametrize("torn", TORN, ids=range(len(TORN)))
def test_what_others_tear_meanwhile_is_cut_off_too(torn: bytes) -> None:
    written()
    study = optuna.load_study(study_name="a", storage=open_target("a.log", "old", source="old.log"))
    append("a.log", torn)
    assert len(study.trials) == 2
    study.set_user_attr("note", 1)
    append("a.log", torn)
    study.set_user_attr("note", 2)
    assert ordinary().user_attrs == {"note": 2}


@pytest.mark.parametrize("torn", TORN, ids=range(len(TORN)))
def test_a_torn_source_is_read_up_to_there_and_left_as_it_is(torn: bytes) -> None:
    written()
    append("a.log", torn)
    before = Path("a.log").read_bytes()
    with open_source("a.log") as source:
        assert len(source.study().trials) == 2
        assert source.note is not None
        assert "is no whole entry and is left out; the file is unchanged" in source.note
    assert Path("a.log").read_bytes() == before
    assert not Path("a.log.torn").exists()


def test_a_whole_journal_has_no_note_and_windows_line_ends_are_no_damage() -> None:
    text = written().replace(b"\n", b"\r\n")
    Path("b.log").write_bytes(text)
    assert whole_length(Path("b.log")) == len(text)
    with open_source("b.log") as source:
        assert source.note is None
        assert len(source.study().trials) == 2
    optuna.load_study(study_name="a", storage=open_target("b.log", "old", source="x")).set_user_attr("a", 1)
    assert ordinary("b.log").user_attrs == {"a": 1}


MIDDLE = [torn for torn in TORN if torn.endswith(b"\n")]


@pytest.mark.parametrize("torn", MIDDLE, ids=range(len(MIDDLE)))
@pytest.mark.parametrize("end", [b"", b'{"op'])
def test_damage_that_others_wrote_behind_is_one_line_and_nothing_is_changed(torn: bytes, end: bytes) -> None:
    before = written() + torn + ENTRY + end
    Path("a.log").write_bytes(before)
    ways: list[Callable[[], Any]] = [
        lambda: open_target("a.log", "old", source="x"),
        lambda: open_source("a.log").__enter__(),
    ]
    for opened in ways:
        with pytest.raises(StorageError, match=r"damaged") as caught:
            opened()
        assert "\n" not in str(caught.value)
    assert Path("a.log").read_bytes() == before
    assert {path.name for path in Path().iterdir()} == {"a.log"}


@contextmanager
def full(file: str, room: int) -> Iterator[None]:
    """A file may grow by so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(file).stat().st_size + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_full_disk_leaves_the_journal_whole(room: int) -> None:
    before = written()
    study = optuna.load_study(study_name="a", storage=open_target("a.log", "old", source="old.log"))
    with full("a.log", room), pytest.raises(optuna.exceptions.StorageInternalError, match="too large"):
        study.set_user_attr("note", "x" * 100)
    assert Path("a.log").read_bytes() == before
    study.set_user_attr("note", 1)
    assert ordinary().user_attrs == {"note": 1}


def test_a_full_disk_keeps_an_entry_that_is_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    written()
    study = optuna.load_study(study_name="a", storage=open_target("a.log", "old", source="old.log"))

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(optuna.exceptions.StorageInternalError):
            study.set_user_attr("note", 1)
    assert ordinary().user_attrs == {"note": 1}, "somebody may have read it"


def test_the_lock_of_a_writer_that_was_killed_is_removed() -> None:
    written()
    storage: Any = open_target("a.log", "old", source="old.log")
    assert storage._backend._lock.grace_period < 10


def test_all_names_of_a_journal_share_one_lock(folder: Path) -> None:
    written()
    Path("link.log").symlink_to("a.log")
    storage: Any = open_target("link.log", "old", source="old.log")
    assert storage._backend._lock._lock_file == str(folder / "a.log.lock")


def test_whole_length_of_what_has_no_whole_line() -> None:
    for text in (b"", b"\n", b"x" * 200_000, b"{}"):
        Path("b").write_bytes(text)
        assert whole_length(Path("b")) == 0
    line = json.dumps({"long": "x" * 200_000}).encode() + b"\n"
    Path("b").write_bytes(line * 2 + b"y" * 70_000)
    assert whole_length(Path("b")) == 2 * len(line)
