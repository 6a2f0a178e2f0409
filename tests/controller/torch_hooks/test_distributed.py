"""Several processes train one net: all set the same rate, that of one process on the global batch."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from .distributed_minibatches import RANKS
from .distributed_training import CASES, DISAGREEING, RESUMED, train

ALIKE = [
    name
    for name, case in CASES.items()
    if case.probe != "auto" and not case.joined and case.loader in (None, "alike")
]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each rank found, by case. All cases in one pair of processes: starting one takes seconds."""
    folder = tmp_path_factory.mktemp("ranks")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.distributed_training", str(rank), str(folder), *CASES],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]


def largest(rate):
    return max(rate) if isinstance(rate, list) else rate


@pytest.mark.slow
@pytest.mark.parametrize("name", ALIKE)
def test_ranks_set_the_rate_of_one_process_on_the_global_batch(name, ranks):
    alone, (first, second) = train(CASES[name]), [rank[name] for rank in ranks]
    assert first == second
    moves = {round(now / before, 6) for before, now in itertools.pairwise(map(largest, alone["rates"]))}
    assert len(moves - {2.0, 1.0, 0.25}) > 4  # not only as far as the guard lets it
    assert first["probe"] == CASES[name].probe
    assert [event[:2] for event in first["events"]] == [list(event[:2]) for event in alone["events"]]
    spikes = {step - 1 for step, kind, _ in first["events"] if kind == "spike"}
    assert spikes == (set() if CASES[name].scaled else {CASES[name].spike})
    for rates, expected in zip(first["rates"], alone["rates"], strict=True):
        assert rates == pytest.approx(expected, rel=1e-5)
    assert first["weights"] == pytest.approx(alone["weights"], rel=1e-5, abs=1e-7)


@pytest.mark.slow
def test_loop_whose_parameters_are_sharded_falls_back_with_an_event(ranks):
    first, second = (rank["shards auto"] for rank in ranks)
    assert first == second
    assert first["probe"] == "consecutive"
    assert any("fully_shard keeps the parameters" in reason for _, _, reason in first["events"])


@pytest.mark.slow
def test_ranks_fall_back_together(ranks):
    first, second = (rank["copies once"] for rank in ranks)
    assert first["rates"] == second["rates"]
    assert first["probe"] == second["probe"] == "consecutive"
    assert any("(on another rank)" in reason for _, _, reason in first["events"])
    assert any("once_differentiable" in reason for _, _, reason in second["events"])


@pytest.mark.slow
@pytest.mark.parametrize("wrap", ["copies", "shards"])
@pytest.mark.parametrize("loop", DISAGREEING)
def test_loop_of_one_rank_that_echo_cannot_serve_has_all_fall_back(wrap, loop, ranks):
    first, second = (rank[f"{wrap} {loop}"] for rank in ranks)
    assert first["rates"] == second["rates"]
    assert first["probe"] == second["probe"] == "consecutive"
    assert [event[:2] for event in first["events"]] == [event[:2] for event in second["events"]]


@pytest.mark.slow
def test_rank_without_a_data_loader_is_an_error_on_all_of_them(ranks):
    first, second = (rank["copies echo unwatched"] for rank in ranks)
    assert len(first["rates"]) == len(second["rates"]) == 2
    assert "no torch DataLoader gives this loop its minibatches; use probe='auto'" in second["error"]
    assert "no torch DataLoader gives this loop its minibatches (on another rank);" in first["error"]


@pytest.mark.slow
@pytest.mark.parametrize("wrap", ["copies", "shards"])
@pytest.mark.parametrize(("loop", "probes"), [("early", 16), ("once unwatched", 15)])
def test_minibatch_that_one_rank_does_not_repeat_is_no_pair_on_any(wrap, loop, probes, ranks):
    first, second = (rank[f"{wrap} echo {loop}"] for rank in ranks)
    assert first == second
    assert first["probe"] == "echo"
    assert first["probes"] == probes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "used"), [("closure", "closure"), ("auto", "consecutive"), ("echo", "consecutive")]
)
def test_rank_that_runs_out_of_minibatches_leaves_the_others_in_control(asked, used, ranks):
    first, second = (rank[f"copies joined {asked}"] for rank in ranks)
    assert first["probe"] == second["probe"] == used
    assert len(first["rates"]) == len(second["rates"]) + 9
    assert first["rates"][: len(second["rates"])] == second["rates"]


@pytest.mark.slow
def test_flattened_parameters_are_refused_in_one_line(ranks):
    for rank in ranks:
        assert rank["flattened"].startswith("ControlError: AdamW cannot be controlled with parameters that")
        assert "fully_shard" in rank["flattened"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how", "cut", "lost"), RESUMED)
def test_training_on_several_ranks_continues(name, how, cut, lost, ranks):
    first, second = (rank[f"{name} {how} {cut}"] for rank in ranks)
    assert first == second
    whole = ranks[0][name]
    assert first["probes"] == whole["probes"] - lost
    if lost:
        return
    assert first["rates"] == whole["rates"][cut:]
    assert first["weights"] == whole["weights"]
