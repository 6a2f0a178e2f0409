from __future__ import annotations

from collections.abc import Sequence

import pytest

from galatune.bench.tables.comparisons import Comparison
from galatune.bench.tables.datasets import DataSet, find_sets
from galatune.bench.tables.fit import Cell, Fit
from galatune.bench.tables.fixed_rates import RATES, rate_name
from galatune.bench.tables.scores import Scores
from galatune.bench.tables.text import absent_words, comparison_tables, comparison_words
from galatune.formatting import plain_text


def fits(method: str, values: Sequence[float], dataset: str = "wine") -> list[Fit]:
    return [
        Fit(Cell(dataset, method, seed), Scores(log_loss=value), 2.0, 100.0 + seed)
        for seed, value in enumerate(values)
    ]


def sets(names: str = "wine") -> list[DataSet]:
    return find_sets(names)[0]


def shown(found: Comparison) -> str:
    def show(console: object) -> None:
        for table in comparison_tables(found):
            console.print(table)  # type: ignore[attr-defined]

    return plain_text(show, 140)


def test_a_difference_is_over_the_splits_that_both_have() -> None:
    found = Comparison(
        sets(), [*fits("ours", [0.5, 0.6, 0.7]), *fits("xgboost", [0.2, 0.31]), *fits("sklearn-mlp", [0.9])]
    )
    xgboost, mlp = found.differences("log_loss")
    if xgboost.peer != "xgboost":
        xgboost, mlp = mlp, xgboost
    assert (xgboost.splits, xgboost.mean) == (2, pytest.approx(0.295))
    assert xgboost.verdict == "peer better"
    assert (mlp.splits, mlp.interval, mlp.verdict) == (1, None, "not tested")
    assert found.mean("wine", "ours", "log_loss") == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [((0.9, 0.91, 0.9), "ours better"), ((0.4, 0.7, 0.5), "undecided"), ((0.5, 0.5, 0.5), "undecided")],
)
def test_the_interval_decides(theirs: Sequence[float], verdict: str) -> None:
    found = Comparison(sets(), [*fits("ours", [0.5, 0.5, 0.5]), *fits("xgboost", theirs)])
    (difference,) = found.differences("log_loss")
    assert difference.verdict == verdict


def test_the_rate_is_chosen_by_validation_and_the_oracle_by_the_test_rows() -> None:
    rates = [
        Fit(Cell("wine", rate_name(rate), 0), Scores(log_loss=loss, error=error), 2.0, 50.0, validation)
        for rate, loss, error, validation in zip(
            RATES,
            (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
            (0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1),
            (-0.9, -0.1, -0.5, float("nan"), -0.5, -0.5, -0.5),
            strict=True,
        )
    ]
    found = Comparison(sets(), [*fits("ours", [0.5]), *rates])
    assert found.values("wine", "fixed-by-validation", "log_loss") == {0: 0.2}
    assert found.values("wine", "fixed-by-validation", "error") == {0: 0.6}
    assert found.values("wine", "fixed-oracle", "log_loss") == {0: 0.1}
    assert found.values("wine", "fixed-oracle", "error") == {0: 0.1}
    assert found.cost("wine", "fixed-by-validation", "seconds") == pytest.approx(14.0)
    assert found.methods("log_loss") == ["ours", "fixed-by-validation", "fixed-oracle"]
    assert "fixed-oracle" not in {one.peer for one in found.differences("log_loss")}
    assert "fixed-oracle" not in found.mean_ranks("log_loss", sets())[0]
    fewer = Comparison(sets(), [*fits("ours", [0.5]), *rates[1:]])
    assert fewer.methods() == ["ours"]
    diverged = Fit(rates[0].cell, failure="diverged")
    assert Comparison(sets(), [diverged, *rates[1:]]).values("wine", "fixed-oracle", "log_loss") == {0: 0.2}


def test_ranks_are_means_over_sets_of_common_splits() -> None:
    found = Comparison(
        sets("wine,iris"),
        [
            *fits("ours", [0.5, 9.0]),
            *fits("xgboost", [0.6]),
            *fits("sklearn-mlp", [0.5]),
            *fits("ours", [0.3], "iris"),
            *fits("xgboost", [0.2], "iris"),
            *fits("sklearn-mlp", [0.1], "iris"),
        ],
    )
    ranks, count = found.mean_ranks("log_loss", found.sets)
    assert count == 2
    assert ranks == {"ours": 2.25, "xgboost": 2.5, "sklearn-mlp": 1.25}
    assert Comparison(sets(), []).mean_ranks("log_loss", sets()) == ({}, 0)


def test_methods_are_judged_by_what_they_aim_at() -> None:
    both = [
        Fit(Cell("wine", method, seed), Scores(log_loss=0.1, error=0.1), 1.0, 1.0)
        for method in ("ours", "realmlp", "realmlp-log-loss", "tabm")
        for seed in (0, 1)
    ]
    found = Comparison(sets(), both)
    assert found.methods("log_loss") == ["ours", "realmlp-log-loss"]
    assert found.methods("error") == ["ours", "realmlp", "tabm"]
    assert set(found.mean_ranks("error", found.sets)[0]) == {"ours", "realmlp"}


def test_tables_show_means_costs_and_who_is_better() -> None:
    found = Comparison(
        sets("wine,diabetes"),
        [
            *fits("ours", [0.5, 0.6]),
            *fits("xgboost", [0.2, 0.31]),
            *fits("hist-gradient-boosting", [0.4]),
            Fit(Cell("wine", "sklearn-mlp", 0), failure="MemoryError"),
        ],
    )
    text, words = shown(found), "\n".join(comparison_words(found))
    assert "log loss" in text
    assert "RMSE" not in text
    row = next(line for line in text.splitlines() if line.startswith(" wine *"))
    assert row.split() == ["wine", "*", "2", "0.550", "0.400", "0.255"]
    assert "peer better" in text
    assert "not tested, peer ahead" in text
    assert "101" in text  # the larger memory
    assert "diabetes" not in text
    assert "XGBoost is better than ours on wine (log loss, by 0.295)." in words
    assert "Failed: sklearn-mlp on wine, split 0: MemoryError" in words


def test_nothing_is_shown_without_a_result_and_what_is_left_out_is_said() -> None:
    assert comparison_tables(Comparison(sets(), [])) == []
    assert absent_words(["adult"], {"tabm": ["pytabkit"]}) == [
        "left out, not in the folder of GALATUNE_DATA: adult",
        "left out: tabm needs pytabkit; install it with pip install 'galatune[bench-tables]'",
    ]
