"""Search spaces whose truth was written down from the names alone, and a table of what scan makes of them.

`python tests/study/scan/spaces.py` prints the table. `spaces_119.json` was written before the rules were
changed to fit `spaces_70.json`; `spaces_105.json` and `spaces_150.json` after that.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial

from galatune.study.scan.dimensions import find_dimensions
from galatune.study.scan.distributions import middle

SETS = ("spaces_70", "spaces_119", "spaces_105", "spaces_150")
VERDICTS = ("rates", "missed", "unsure rates", "falsely dropped", "unsure though not ours", "other role")


@dataclass(frozen=True)
class Answer:
    """What scan says of one parameter, and what it is."""

    case: str
    name: str
    truth: str
    said: str
    dropped: bool

    @property
    def verdict(self) -> str | None:
        """Which of `VERDICTS` it is; None if it is right."""
        if self.dropped and self.truth != "rate":
            return "falsely dropped"
        if self.truth == "rate" and self.said != "rate":
            return "unsure rates" if self.said == "unsure" else "missed"
        if self.said == "unsure" and self.truth != "unsure":
            return "unsure though not ours"
        # An unsure one that is left alone is kept, as it should be.
        return None if self.truth in (self.said, "unsure") else "other role"


def answers(
    name: str, before: str = "", after: str = "", beside: Mapping[str, BaseDistribution] | None = None
) -> Iterator[Answer]:
    """What scan says of every parameter of a set.

    Args:
        name: Of the set.
        before: What every name begins with besides.
        after: What every name ends with besides.
        beside: Parameters that every space has besides.
    """
    for case in json.loads((Path(__file__).parent / f"{name}.json").read_text()):
        space = {
            f"{before}{parameter}{after}": _distribution(said) for parameter, said in case["space"].items()
        }
        space = {**(beside or {}), **space}
        params = {parameter: middle(distribution) for parameter, distribution in space.items()}
        found = find_dimensions([create_trial(params=params, distributions=space, value=1.0)])
        roles = {d.name: (d.role, d.dropped) for d in found.learning_rate}
        for parameter, truth in case["expected"].items():
            said, dropped = roles.get(f"{before}{parameter}{after}", ("not ours", False))
            yield Answer(case["case"], parameter, truth, said, dropped)


def _distribution(said: Mapping[str, Any]) -> BaseDistribution:
    if "choice" in said:
        with warnings.catch_warnings():  # Optuna warns of choices that are lists, and stores them
            warnings.simplefilter("ignore", UserWarning)
            return CategoricalDistribution(said["choice"])
    kind = FloatDistribution if "float" in said else IntDistribution
    low, high = said["float"] if "float" in said else said["int"]
    return kind(low, high, log=said["log"])


def counts(name: str) -> Counter[str]:
    """How many answers there are of each of `VERDICTS`."""
    found = Counter(answer.verdict for answer in answers(name))
    rates = sum(answer.truth == "rate" for answer in answers(name))
    return Counter({"rates": rates} | {verdict: n for verdict, n in found.items() if verdict})


if __name__ == "__main__":
    for spaces in SETS:
        total = counts(spaces)
        print(spaces, ", ".join(f"{verdict} {total[verdict]}" for verdict in VERDICTS))
        for answer in answers(spaces):
            if answer.verdict:
                print(
                    f"  {answer.verdict}: {answer.name} ({answer.case}): {answer.said}, truth {answer.truth}"
                )
