"""The same spaces with other names, and beside a network: what is no rate stays none."""

from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from spaces import SETS, answers

NETWORK = {
    "lr": FloatDistribution(1e-5, 0.1, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "batch_size": CategoricalDistribution([16, 32]),
    "hidden_dim": IntDistribution(16, 256),
}


@pytest.mark.parametrize(
    ("before", "after"),
    [("hp_", ""), ("params.", ""), ("cfg/train/", ""), ("--", ""), ("", "_1"), ("a-", "-b")],
)
@pytest.mark.parametrize("spaces", SETS)
def test_what_all_names_share_changes_nothing(spaces: str, before: str, after: str) -> None:
    assert list(answers(spaces, before, after)) == list(answers(spaces))


@pytest.mark.parametrize(("network", "before"), [("nn_", "t_"), ("", "t_"), ("m1_", "m2_"), ("nn_", "")])
@pytest.mark.parametrize("spaces", SETS)
def test_a_network_beside_it_makes_nothing_a_rate(spaces: str, network: str, before: str) -> None:
    beside = {f"{network}{name}": distribution for name, distribution in NETWORK.items()}
    found = list(answers(spaces, before, beside=beside))
    assert [answer for answer in found if answer.verdict == "falsely dropped"] == []
    rates = [answer for answer in found if answer.truth == "rate"]
    assert sum(answer.said == "rate" for answer in rates) >= 0.9 * len(rates)
