"""Several processes train one net: all set the same rate, that of one process on the global batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("ranked_training.py")


def start(rank: int, ranks: int, probe: str, meeting: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(rank), str(ranks), probe, str(meeting)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(processes):
    found = []
    for process in processes:
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        found.append(json.loads(out.splitlines()[-1]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["closure", "graph", "consecutive"])
def test_ranks_set_the_rate_of_one_process_on_the_global_batch(probe, tmp_path):
    ((alone, weights),) = results([start(0, 1, probe, tmp_path / "none")])
    first, second = results([start(rank, 2, probe, tmp_path / "meeting") for rank in (0, 1)])
    assert first == second
    assert len(set(alone)) > 30  # it did move
    assert first[0] == pytest.approx(alone, rel=1e-5)
    assert first[1] == pytest.approx(weights, rel=1e-5, abs=1e-7)
