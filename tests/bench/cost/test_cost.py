"""What control costs: ratios of steps in turns, and bytes that the allocator saw."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch
from click.testing import CliRunner

from galatune.bench.cost import measure
from galatune.bench.cost.ratios import Memory, Times
from galatune.bench.cost.side import Side, Step, _scales_cpu, running
from galatune.bench.cost.workload import Workload
from galatune.cli import main
from galatune.errors import GalatuneError

TINY = Workload("tiny", "cpu", width=16, heads=2, layers=1, length=8, batch=2)


def times(probed: list[int], count: int = 30) -> Times:
    """Plain steps take 2 s; probed ones 6 s, those before them 3 s, all others 2.2 s."""
    seconds = {(True, True): 7.0, (True, False): 6.0, (False, True): 3.0, (False, False): 2.2}
    follows = [i + 1 in probed for i in range(count)]
    own = tuple(Step(i in probed, seconds[i in probed, follows[i]]) for i in range(count))
    return Times(tuple(Step(False, 2.0) for _ in range(count)), own)


def tenth(step: int) -> bool:
    return step > 0 and step % 10 == 0


def test_ratios_are_those_of_each_kind_of_step() -> None:
    found = times([10, 20])
    assert found.not_probing is not None
    assert found.not_probing.median == pytest.approx(1.1)
    assert found.remembering is not None
    assert found.remembering.median == pytest.approx(1.5)
    assert found.probing is not None
    assert (found.probing.median, found.probing.blocks) == (pytest.approx(3.0), 2)
    assert found.run == pytest.approx((2 * 6 + 2 * 3 + 26 * 2.2) / 60)
    assert found.composed(30, tenth) == pytest.approx(found.run)
    assert found.composed(100, tenth) == pytest.approx((9 * 6 + 9 * 3 + 82 * 2.2) / 200)
    assert found.probes == 2


def test_a_slow_moment_of_the_machine_moves_the_sum_and_not_what_is_composed() -> None:
    calm = times([10, 20])
    slow = tuple(dataclasses.replace(step, seconds=50 * step.seconds) for step in calm.controlled[2:4])
    disturbed = Times(calm.plain, (*calm.controlled[:2], *slow, *calm.controlled[4:]))
    assert disturbed.run > 2 * calm.run
    assert disturbed.composed(30, tenth) == pytest.approx(calm.composed(30, tenth))


def test_probes_that_never_were_neighbours_are_composed_apart() -> None:
    apart = times([2, 4, 6, 20])
    neighbours = apart.composed(30, lambda step: step in (2, 3, 20))
    assert neighbours == apart.composed(30, lambda step: step in (2, 4, 20))
    assert times([2, 3, 20]).composed(30, lambda step: step in (2, 3, 20)) != neighbours


def test_a_kind_that_was_not_taken_has_no_ratio() -> None:
    assert times(list(range(1, 30))).composed(40, lambda step: step in (1, 2)) is None
    assert times([]).probing is None
    assert times(list(range(30))).not_probing is None


def test_memory_is_told_from_the_plain_steps_beside() -> None:
    plain = (Step(False, kept=80, peak=200), *(Step(False, kept=0, peak=120) for _ in range(3)))
    own = (
        Step(False, kept=120, peak=200),  # keeps 40 for the probe of the next one
        Step(True, kept=-40, peak=160),  # on top of these 40
        Step(False, kept=0, peak=120),
        Step(False, kept=0, peak=120),
    )
    memory = Memory(plain, own, parameters=10, parameter_bytes=40)
    assert memory.at_a_probe == pytest.approx(8.0)
    assert memory.before_a_probe == pytest.approx(4.0)
    assert memory.between_probes == 0
    assert memory.ratio == pytest.approx((160 + 160) / 240)
    leaking = (*own[:2], Step(False, kept=20, peak=120), own[3])
    assert dataclasses.replace(memory, controlled=leaking).between_probes == pytest.approx(2.0)


def test_every_allocation_is_seen() -> None:
    kept: list[torch.Tensor] = []

    def step() -> None:
        passing = torch.empty(5000)
        kept.append(torch.empty(1000))
        del passing

    found = _scales_cpu(step)
    assert found["kept"] == 4000
    assert found["peak"] == 24000
    assert _scales_cpu(kept.clear)["kept"] == -4000


@pytest.mark.parametrize("probe", measure.probes())
def test_nothing_is_kept_between_probes(probe: str) -> None:
    plain = tuple(Side(TINY, probe, False, {}).weighed(12))
    own = Side(TINY, probe, True, dict(measure.SOON))
    memory = Memory(plain, tuple(own.weighed(12)), own.about.parameters, own.about.parameter_bytes)
    assert sum(step.probed for step in memory.controlled) >= 3
    assert memory.between_probes == 0
    assert memory.before_a_probe >= 4  # the parameters as they were
    assert memory.at_a_probe >= memory.before_a_probe


@pytest.mark.parametrize("probe", ["closure", "graph"])
def test_bfloat16_is_probed(probe: str) -> None:
    side = Side(dataclasses.replace(TINY, bfloat16=True), probe, True, dict(measure.SOON))
    steps = side.timed(8)
    assert [step.probed for step in steps] == [False, True, True, False, False, True, False, False]
    assert all(step.seconds > 0 for step in steps)


def test_both_sides_train_on_the_same_minibatches() -> None:
    one, other = (Side(TINY, "closure", False, {}) for _ in range(2))
    one.timed(3)
    other.timed(3)
    for p, q in zip(one._net.parameters(), other._net.parameters(), strict=True):
        assert torch.equal(p, q)


def test_characters_of_a_row_predict_the_next() -> None:
    codes, targets = next(TINY.batches())
    assert codes.shape == targets.shape == (2, 8)
    assert torch.equal(codes[:, 1:], targets[:, :-1])
    assert all(not torch.equal(a, b) for a, b in pairwise(codes))


@pytest.mark.slow
def test_a_side_that_cannot_be_made_says_why() -> None:
    with (
        pytest.raises(GalatuneError, match="cost of the closure probe cannot be measured: embed_dim"),
        running(dataclasses.replace(TINY, heads=3), "closure", controlled=False),
    ):
        pass


@pytest.mark.slow
def test_command_measures_each_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "CPU", TINY)
    monkeypatch.setattr(measure, "PROBES", {"closure": measure.PROBES["closure"]})
    ran = CliRunner().invoke(main, ["bench", "cost", "--steps", "52"])
    assert ran.exit_code == 0, ran.output
    lines = [line.strip() for line in ran.stdout.splitlines()]
    assert lines[0].startswith("closure probe, ")
    assert any(line.startswith("run of 52 steps, 27 of them probed") for line in lines)
    (between,) = [line for line in lines if line.startswith("between probes")]
    assert between.split()[2] == "+0.00"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_needs_a_gpu() -> None:
    ran = CliRunner().invoke(main, ["bench", "cost", "--device", "cuda"])
    assert ran.exit_code == 1
    assert "--device cuda needs an NVIDIA GPU" in ran.stderr
