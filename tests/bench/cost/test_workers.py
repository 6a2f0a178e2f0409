"""What several workers cost: the comparison and its table."""

from __future__ import annotations

import pytest

from galatune.bench.cost.workers import Compared, Run, compare_workers
from galatune.bench.cost.workers_text import workers_table
from galatune.errors import GalatuneError
from galatune.formatting import plain_text


def test_medians_are_compared_with_the_database_and_without() -> None:
    plain = (Run(10.0, 2.0, 1.0), Run(10.2, 2.0, 1.0), Run(30.0, 9.0, 9.0))
    controlled = (Run(10.4, 3.0, 1.1), Run(10.5, 3.0, 1.3), Run(11.0, 3.0, 1.4))
    found = Compared(2, 20, plain, controlled)
    assert found.more == pytest.approx(10.5 / 10.2 - 1)
    assert found.more_without_database == pytest.approx(9.3 / 9.2 - 1)
    text = plain_text(lambda console: console.print(workers_table([found], 0.5)), 140)
    assert "20 trials of one step and 0.5 s of sleep; medians of 3 searches in turns" in text
    row = text.splitlines()[-1].split("  ")
    words = [word.strip() for word in row if word.strip()]
    assert words == [
        *("2", "10.2 (10.0 to 30.0)", "10.5 (10.4 to 11.0)", "+2.9 %"),
        *("100 and 130", "+1.1 %", "2.0 and 3.0"),
    ]


def test_trials_that_cannot_be_shared_evenly_are_refused() -> None:
    with pytest.raises(GalatuneError, match="--trials must be a multiple of --workers, however: 10 by 4"):
        compare_workers([1, 4], 10, 0.0, 1, lambda done, of: None)


@pytest.mark.slow
def test_both_kinds_run_all_trials() -> None:
    (found,) = compare_workers([2], 4, 0.01, 1, lambda done, of: None)
    assert found.workers == 2
    for run in (*found.plain, *found.controlled):
        assert run.seconds > 0.02
        assert run.outside > 0
        assert run.database > 0
