"""Short trainings of small nets, with control and without in turns."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from galatune.bench.cost import short
from galatune.bench.cost.short import Training, short_cost, short_table
from galatune.cli import main


@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("probe", ["graph", "closure", "echo"])
def test_both_sides_take_all_steps_and_only_one_of_them_probes(probe: str, prior: bool) -> None:
    cost = short_cost(Training(4, 40, probe, prior), repeats=2)
    assert len(cost.wholes) == 2
    assert 0 < cost.probes < 40
    assert cost.gradients == 1 if probe == "echo" else cost.gradients > 1
    assert min(cost.whole, cost.unprobed, cost.step) > 0


def test_fewer_steps_are_probed_if_good_rates_are_known() -> None:
    known, unknown = (short_cost(Training(4, 60, "closure", prior), 1).probes for prior in (True, False))
    assert known < unknown / 2


def test_command_prints_a_row_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        short,
        "short_cost",
        lambda training, repeats: short_cost(Training(4, 40, training.probe, training.prior), 1),
    )
    ran = CliRunner().invoke(main, ["bench", "cost", "--short"])
    assert ran.exit_code == 0, ran.output
    assert sum(line.split()[0] == "known" for line in ran.stdout.splitlines() if line.split()) == 12


@pytest.mark.parametrize("option", ["--short", "--gradients"])
def test_processor_time_is_measured_on_the_cpu(option: str) -> None:
    ran = CliRunner().invoke(main, ["bench", "cost", "--device", "cuda", option])
    assert ran.exit_code == 2
    assert f"{option} measures processor time; leave --device out" in ran.stderr


def test_two_measurements_at_once_are_refused() -> None:
    ran = CliRunner().invoke(main, ["bench", "cost", "--short", "--gradients"])
    assert ran.exit_code == 2
    assert "--gradients and --short measure different things; give one of them" in ran.stderr


def test_the_table_says_what_was_known() -> None:
    table = short_table([short_cost(Training(4, 40, "closure", prior), 1) for prior in (True, False)])
    assert list(table.columns[0].cells) == ["known", "not known"]
