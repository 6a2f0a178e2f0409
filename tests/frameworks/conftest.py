"""Frameworks are loaded when a test needs them, not when tests are collected; their warnings are theirs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

HERE = Path(__file__).parent

OWN_WARNINGS = "error:.*controlled optimizer.*:UserWarning"
"""Of all that a framework may warn of, what galatune says stays an error."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            item.add_marker(pytest.mark.filterwarnings(OWN_WARNINGS))


@pytest.fixture(autouse=True)
def _quiet_frameworks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, no progress bars, no files outside the test's own folder."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "PL_DISABLE_FORK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("POSSIBLE_USER_WARNINGS", "off")
    monkeypatch.chdir(tmp_path)
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.rank_zero",
        "lightning",
        "lightning.pytorch",
        "lightning.fabric",
        "pytorch_lightning",
        "transformers",
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)
