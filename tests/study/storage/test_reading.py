"""Any storage opens read-only, and what is none says so in one line."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from galatune.errors import StorageError
from galatune.formatting import printable
from galatune.study.storage.address import redact, sqlite_file, sqlite_url
from galatune.study.storage.reading import open_source

ARCANUM = "Zeos-ctrl__ARCANUM__optuna_study.db"
LYHUE = "lyhue1991__eat_pytorch_in_20_days__optuna.db"
JOURNAL = "MPI-Dortmund__tomotwin-cryoet__optuna_study.db.journal.log"

# What Optuna 2.0.0 writes for a study with one trial.
OPTUNA_2_0 = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES('v1.3.0.a');
CREATE TABLE studies (study_id INTEGER NOT NULL, study_name VARCHAR(512) NOT NULL,
    direction VARCHAR(8) NOT NULL, PRIMARY KEY (study_id),
    CONSTRAINT studydirection CHECK (direction IN ('NOT_SET', 'MINIMIZE', 'MAXIMIZE')));
INSERT INTO studies VALUES(1,'old','MINIMIZE');
CREATE TABLE study_system_attributes (study_system_attribute_id INTEGER NOT NULL, study_id INTEGER,
    "key" VARCHAR(512), value_json VARCHAR(2048), PRIMARY KEY (study_system_attribute_id));
CREATE TABLE study_user_attributes (study_user_attribute_id INTEGER NOT NULL, study_id INTEGER,
    "key" VARCHAR(512), value_json VARCHAR(2048), PRIMARY KEY (study_user_attribute_id));
CREATE TABLE trial_params (param_id INTEGER NOT NULL, trial_id INTEGER, param_name VARCHAR(512),
    param_value FLOAT, distribution_json VARCHAR(2048), PRIMARY KEY (param_id));
INSERT INTO trial_params VALUES(1,1,'lr',0.027,
    '{"name": "LogUniformDistribution", "attributes": {"low": 1e-05, "high": 0.1}}');
CREATE TABLE trial_system_attributes (trial_system_attribute_id INTEGER NOT NULL, trial_id INTEGER,
    "key" VARCHAR(512), value_json VARCHAR(2048), PRIMARY KEY (trial_system_attribute_id));
CREATE TABLE trial_user_attributes (trial_user_attribute_id INTEGER NOT NULL, trial_id INTEGER,
    "key" VARCHAR(512), value_json VARCHAR(2048), PRIMARY KEY (trial_user_attribute_id));
CREATE TABLE trial_values (trial_value_id INTEGER NOT NULL, trial_id INTEGER, step INTEGER, value FLOAT,
    PRIMARY KEY (trial_value_id));
CREATE TABLE trials (trial_id INTEGER NOT NULL, number INTEGER, study_id INTEGER, state VARCHAR(8) NOT NULL,
    value FLOAT, datetime_start DATETIME, datetime_complete DATETIME, PRIMARY KEY (trial_id));
INSERT INTO trials VALUES(1,0,1,'COMPLETE',0.027,'2020-07-01 08:47:06.656737','2020-07-01 08:47:06.669087');
CREATE TABLE version_info (version_info_id INTEGER NOT NULL, schema_version INTEGER,
    library_version VARCHAR(256), PRIMARY KEY (version_info_id));
INSERT INTO version_info VALUES(1,12,'2.0.0');
"""


def traces(folder: Path) -> dict[str, tuple[str, int]]:
    """Everything in a folder: content and time of change."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.iterdir())
    }


def make(storage: optuna.storages.BaseStorage | str, name: str = "one", trials: int = 2) -> optuna.Study:
    study = optuna.create_study(
        storage=storage, study_name=name, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(lambda trial: trial.suggest_float("lr", 1e-5, 0.1, log=True), n_trials=trials)
    return study


def read(storage: str | Path) -> list[str]:
    with open_source(str(storage)) as source:
        assert all(source.study(name).trials is not None for name in source.names())
        return source.names()


def refusal(storage: str | Path, study: str | None = None) -> str:
    with pytest.raises(StorageError) as caught, open_source(str(storage)) as source:
        source.study(study)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_published_studies_are_read_and_left_as_they_are(studies: Path) -> None:
    before = traces(studies)
    assert read(studies / ARCANUM) == ["amp_tune", "phase_tune"]
    for path in studies.iterdir():
        assert read(path)
    assert traces(studies) == before


def test_journal_named_db_is_read_by_its_content(studies: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(studies / JOURNAL, tmp_path / "optuna_study.db"))
    before = traces(tmp_path)
    assert read(copy) == ["3D_UNet_Optimization"]
    assert traces(tmp_path) == before


def test_schema_of_optuna_2_10_is_read_from_an_upgraded_copy(studies: Path) -> None:
    before = traces(studies)
    with open_source(str(studies / LYHUE)) as source:
        assert len(source.study("optuna_ensemble").trials) == 2000
        assert "2.10.0" in (source.note or "")
    assert traces(studies) == before


def test_upgrade_leaves_logging_as_it_was(studies: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import logging

    handlers = list(logging.getLogger().handlers)
    read(studies / LYHUE)
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")


def test_schema_of_optuna_2_0_is_refused_with_its_version(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.executescript(OPTUNA_2_0)
    message = refusal(tmp_path / "old.db")
    assert "2.0.0" in message
    assert "cannot upgrade" in message


def test_schema_of_a_newer_optuna_is_refused(tmp_path: Path) -> None:
    make(f"sqlite:///{tmp_path}/new.db")
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        connection.execute("UPDATE version_info SET library_version = '99.0.0'")
        connection.commit()
    assert "newer Optuna (99.0.0)" in refusal(tmp_path / "new.db")


@pytest.mark.parametrize("prefix", ["", "sqlite:///", "sqlite+pysqlite:///"])
def test_file_and_url_are_the_same_thing(tmp_path: Path, prefix: str) -> None:
    make(f"sqlite:///{tmp_path}/study.db")
    before = traces(tmp_path)
    assert read(f"{prefix}{tmp_path}/study.db") == ["one"]
    assert traces(tmp_path) == before


def test_writing_to_a_source_never_reaches_the_file(tmp_path: Path) -> None:
    make(f"sqlite:///{tmp_path}/study.db")
    before = traces(tmp_path)
    with open_source(str(tmp_path / "study.db")) as source:
        source.study().set_user_attr("a", 1)
    assert traces(tmp_path) == before


def test_writing_to_a_journal_source_is_refused(tmp_path: Path) -> None:
    make(optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(f"{tmp_path}/a.log")))
    before = traces(tmp_path)
    with open_source(str(tmp_path / "a.log")) as source, pytest.raises(StorageError, match="reading only"):
        source.study().set_user_attr("a", 1)
    assert traces(tmp_path) == before


def test_write_ahead_database_is_read_while_it_is_written(tmp_path: Path) -> None:
    make(f"sqlite:///{tmp_path}/study.db")
    with closing(sqlite3.connect(tmp_path / "study.db")) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("INSERT INTO studies(study_name) VALUES('committed')")
        writer.commit()
        writer.execute("INSERT INTO studies(study_name) VALUES('open')")
        before = traces(tmp_path)
        assert read(tmp_path / "study.db") == ["one", "committed"]
        assert traces(tmp_path) == before
        writer.rollback()


def test_idle_write_ahead_database_gets_no_files_beside_it(tmp_path: Path) -> None:
    make(f"sqlite:///{tmp_path}/study.db")
    with closing(sqlite3.connect(tmp_path / "study.db")) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]
    assert read(tmp_path / "study.db") == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


def test_locked_database_is_read_as_last_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galatune.study.storage.sqlite_copy.BUSY_SECONDS", 0.05)
    make(f"sqlite:///{tmp_path}/study.db")
    with closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("INSERT INTO studies(study_name) VALUES('open')")
        before = traces(tmp_path)
        assert read(tmp_path / "study.db") == ["one"]
        assert traces(tmp_path) == before
        writer.execute("ROLLBACK")


def test_journal_of_a_dead_writer_is_rolled_back_on_the_copy_only(tmp_path: Path) -> None:
    living, dead = tmp_path / "living", tmp_path / "dead"
    living.mkdir()
    dead.mkdir()
    make(f"sqlite:///{living}/study.db")
    with closing(sqlite3.connect(living / "study.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size=1")  # spills into the file before it commits
        writer.execute("BEGIN")
        writer.executemany(
            "INSERT INTO studies(study_name) VALUES(?)", [(f"s{i}" * 100,) for i in range(500)]
        )
        for path in living.iterdir():
            shutil.copy(path, dead)
        writer.execute("ROLLBACK")
    assert (dead / "study.db-journal").exists()
    before = traces(dead)
    assert read(dead / "study.db") == ["one"]
    assert traces(dead) == before


def test_journal_cut_off_in_its_last_entry_is_read_up_to_there(tmp_path: Path) -> None:
    make(optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(f"{tmp_path}/a.log")))
    content = (tmp_path / "a.log").read_bytes()
    (tmp_path / "cut.log").write_bytes(content[:-20])
    assert read(tmp_path / "cut.log") == ["one"]
    (tmp_path / "first.log").write_bytes(content[:30])
    assert "holds no study" in refusal(tmp_path / "first.log")


def test_damaged_journal_is_one_line(tmp_path: Path) -> None:
    make(optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(f"{tmp_path}/a.log")))
    lines = (tmp_path / "a.log").read_text().splitlines(keepends=True)
    lines[2] = '{"op_code":\n'
    (tmp_path / "a.log").write_text("".join(lines))
    assert "damaged" in refusal(tmp_path / "a.log")


def test_damaged_database_is_one_line(tmp_path: Path) -> None:
    make(f"sqlite:///{tmp_path}/a.db")
    content = (tmp_path / "a.db").read_bytes()
    (tmp_path / "a.db").write_bytes(content[:5000])
    assert "damaged" in refusal(tmp_path / "a.db")
    (tmp_path / "head.db").write_bytes(content[:17])
    assert "damaged" in refusal(tmp_path / "head.db")


def test_what_is_no_study_says_what_was_given(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.db").touch()
    with closing(sqlite3.connect(tmp_path / "songs.db")) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/nothing.db")
    for name, words in {
        "table.csv": "Neither an SQLite file nor an Optuna journal",
        "empty.db": "empty",
        "songs.db": "not an Optuna study",
        "nothing.db": "holds no study",
        "absent.db": "No such file",
        ".": "directory",
        "table.csv/x": "Cannot read",
        "nul\0": "Cannot read",
    }.items():
        message = refusal(f"{tmp_path}/{name}")
        assert words in message
        assert printable(f"{tmp_path}/{name}") in message


def test_unknown_study_lists_the_names(studies: Path) -> None:
    message = refusal(studies / ARCANUM, "mnist")
    assert "'mnist'" in message
    assert "amp_tune, phase_tune" in message


def test_several_studies_and_none_named_lists_the_names(studies: Path) -> None:
    assert "holds 2 studies; name one with --study: amp_tune, phase_tune" in refusal(studies / ARCANUM)


def test_untrusted_study_names_stay_in_one_line(tmp_path: Path) -> None:
    make(f"sqlite:///{tmp_path}/a.db", name="red\x1b[31m\nline")
    message = refusal(tmp_path / "a.db", "x")
    assert "red\\x1b[31m\\nline" in message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:s3cret@db:5432/x", "postgresql://ada:***@db:5432/x"),
        ("postgresql+psycopg2://ada:s3/c@ret@db/x", "postgresql+psycopg2://ada:***@db/x"),
        ("mysql://db/x?user=ada&password=s3cret&a=b", "mysql://db/x?user=ada&password=***&a=b"),
        ("mysql://ada@db/x", "mysql://ada@db/x"),
        ("runs/a:b@c.db", "runs/a:b@c.db"),
    ],
)
def test_redact_hides_every_password(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://ada:s3cret@127.0.0.1:1/x",
        "postgresql+psycopg2://ada:a@s3cret@127.0.0.1:1/x",
        "nonsense://ada:s3cret@db/x",
        "mysql+absent://ada:s3cret@db/x",
        "redis://ada:s3cret@db/0",
        "postgresql+psycopg2://ada:s3cret@db:port/x",
        "sqlite://",
    ],
)
def test_url_that_cannot_be_opened_is_one_line_without_password(url: str) -> None:
    assert "s3cret" not in refusal(url)


@pytest.mark.parametrize("name", ["a b.db", "ü?.db", "{x}.db", "50%25#.db"])
def test_sqlite_url_survives_any_file_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    make(sqlite_url(path))
    assert path.exists()
    assert read(path) == ["one"]


def test_sqlite_file_of_a_uri(tmp_path: Path) -> None:
    assert sqlite_file(f"sqlite:///file:{tmp_path}/a.db?mode=ro&uri=true") == tmp_path / "a.db"


def test_postgresql_is_read(postgresql_url: str) -> None:
    make(postgresql_url)
    assert read(postgresql_url) == ["one"]


def test_postgresql_is_not_written_to(postgresql_url: str) -> None:
    make(postgresql_url)
    with open_source(postgresql_url) as source:
        study = source.study()
        with pytest.raises(optuna.exceptions.StorageInternalError):
            study.set_user_attr("a", 1)
    with open_source(postgresql_url) as source:
        assert source.study().user_attrs == {}


def test_postgresql_without_optuna_gets_no_tables(postgresql_url: str) -> None:
    import sqlalchemy

    assert "not an Optuna storage" in refusal(postgresql_url)
    engine = sqlalchemy.create_engine(postgresql_url)
    assert sqlalchemy.inspect(engine).get_table_names() == []
    engine.dispose()
