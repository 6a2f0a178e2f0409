"""The page as a real browser shows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_studies import fake_study

from galatune.report.page import page
from galatune.report.savings import savings
from galatune.study.ledger.rows import ledger

BROWSER = os.environ.get("GALATUNE_TEST_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = '<script>document.title="taken"</script>'
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browse(folder: Path, *words: str) -> str:
    """What the browser prints of the page in this folder."""
    if BROWSER is None:
        pytest.skip("no chromium; set GALATUNE_TEST_BROWSER")
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [BROWSER, *FLAGS, profile, *words, (folder / "report.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    old, new = fake_study([5.0, 4.0, 3.0, 1.0], name=HOSTILE), fake_study([2.0, 1.0], controlled=True)
    document = page(savings(old, new), ledger(old), ledger(new))
    (tmp_path / "report.html").write_text(document, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_browser_shows_the_verdict_and_both_pictures(folder: Path) -> None:
    shown = browse(folder, "--dump-dom")
    assert "Saved" in shown
    assert shown.count("<svg") >= 2
    assert "<title>taken" not in shown


@pytest.mark.slow
def test_browser_draws_something(folder: Path) -> None:
    picture = folder / "page.png"
    browse(folder, f"--screenshot={picture}", "--window-size=1000,2400")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


NARROW = """<!DOCTYPE html><iframe style="width: 400px; height: 3000px; border: 0"></iframe><script>
const frame = document.querySelector("iframe");
frame.onload = () => {
  const pieces = [...frame.contentDocument.querySelectorAll("html, main > .scroll")];
  const wide = pieces.filter(piece => piece.scrollWidth > piece.clientWidth);
  document.title = "too wide: " + wide.length + " of " + pieces.length;
};
frame.srcdoc = PAGE;
</script>"""


@pytest.mark.slow
def test_a_telephone_shows_every_column(folder: Path) -> None:
    path = folder / "report.html"
    document = json.dumps(path.read_text(encoding="utf-8")).replace("</", "<\\/")
    path.write_text(NARROW.replace("PAGE", document), encoding="utf-8")
    assert "<title>too wide: 0 of 5</title>" in browse(folder, "--dump-dom")
