from __future__ import annotations

import pytest

from galatune.errors import ReportError
from galatune.report.sinks import available, find_sink


def test_sinks_are_found_by_entry_point() -> None:
    assert "mlflow" in available()
    assert callable(find_sink("mlflow").send)


def test_an_unknown_sink_lists_those_there_are() -> None:
    with pytest.raises(ReportError, match="available: mlflow") as caught:
        find_sink("x\ny")
    assert "\n" not in str(caught.value)
