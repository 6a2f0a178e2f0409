"""Files are written whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from galatune.errors import ReportError
from galatune.files import write_files


def alone(folder: Path, *names: str) -> bool:
    """Whether a folder holds these files and no other."""
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_text_and_bytes_are_written(tmp_path: Path) -> None:
    write_files({tmp_path / "a": "ä\udc80\n", tmp_path / "b": b"\x00"})
    assert (tmp_path / "a").read_bytes() == "ä\\udc80\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\x00"
    assert alone(tmp_path, "a", "b")


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_rights_of_the_old_file_are_kept(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(mode)
    write_files({tmp_path / "a": "new"})
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_a_new_file_has_the_usual_rights(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_files({tmp_path / "a": "new"})
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_replaced_and_not_followed(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_files({tmp_path / "link": "new"})
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "new"
    assert (tmp_path / "target").exists() == exists
    assert not exists or (tmp_path / "target").read_text() == "old"


def test_a_pipe_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReportError, match="cannot write"):
        write_files({tmp_path / "a": "new", tmp_path / "pipe": "new"})
    assert alone(tmp_path, "pipe")


def test_a_pipe_that_is_read_gets_everything() -> None:
    text = "x" * 300_000
    reading, writing = os.pipe()
    writer = threading.Thread(target=write_files, args=({Path(f"/dev/fd/{writing}"): text},))
    writer.start()
    with os.fdopen(reading) as pipe:
        assert pipe.read(len(text)) == text
    writer.join()
    os.close(writing)


def test_devices_are_written_to_and_stay() -> None:
    write_files({Path("/dev/null"): "x"})
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(ReportError, match="No space left on device"):
        write_files({Path("/dev/full"): "x"})


def test_a_name_of_the_system_for_a_file_is_refused(tmp_path: Path) -> None:
    program = "from pathlib import Path; from galatune.files import write_files\n"
    program += "write_files({Path('/dev/stdout'): 'x'})"
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )
    assert "which is to be named itself" in done.stderr
    assert Path("/dev/stdout").is_symlink()
    assert (tmp_path / "out").read_text() == ""
    piped = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert piped.stdout == "x"


@pytest.mark.parametrize("name", ["", ".", "folder", "no/where", "loop", "a" * 300, "a\0b", "file/below"])
def test_what_cannot_be_written_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ReportError) as caught:
        write_files({tmp_path / "first": "new", tmp_path / name: "new"})
    assert "\n" not in str(caught.value)
    assert alone(tmp_path, "folder", "file", "loop")


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_files({tmp_path / "a": "new"})
    assert (tmp_path / "a").read_text() == "old"
    assert alone(tmp_path, "a")


def test_a_file_protected_from_writing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ReportError, match="Permission denied"):
        write_files({tmp_path / "a": "new"})
    assert (tmp_path / "a").read_text() == "old"
