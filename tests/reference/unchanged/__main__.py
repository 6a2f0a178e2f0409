"""Compare two checkouts to the last digit: losses, rates, events, histories, studies, estimators.

    python tests/reference/unchanged OLD_CHECKOUT [NEW_CHECKOUT] [--only WORD ...] [--save FILE]

The scenarios run once with each checkout, in a process of their own with one thread. One line is printed
per scenario: "equal", with how many values were compared, or the first difference. The exit status is 1 if
any scenario differs. ``--only`` takes the scenarios whose names contain all of the words given.
``--save`` writes down what the old checkout gives; in a later call that file may stand for it.

Floats are compared by `float.hex`. Words (reasons of events, notes of reports), times, machines and versions
are not compared. A key that only the new checkout has is no difference, one that is missing is. pytest does
not collect these files.

A rename goes into the tables at the top of spelling.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def measure(checkout: Path, words: list[str]) -> None:
    """Run the scenarios with the checkout on the path; print a line of JSON for each."""
    import torch
    from scenarios import exact, scenarios

    import galatune

    home = Path(galatune.__file__).resolve().parent.parent
    if home != checkout:
        raise SystemExit(f"galatune was imported from {home}, not from {checkout}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    out, sys.stdout = sys.stdout, sys.stderr
    for name, scenario in scenarios().items():
        if chosen(name, words):
            try:
                result = exact(scenario())
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                result = {"failed": f"{error!r} at {place.filename}:{place.lineno}"}
            print(json.dumps([name, result]), file=out, flush=True)


def chosen(name: str, words: list[str]) -> bool:
    """Whether a scenario is to run."""
    return all(word in name for word in words)


def results(checkout: Path, words: list[str]) -> dict[str, Any]:
    """What the scenarios give with a checkout."""
    checkout = checkout.resolve()
    path = os.pathsep.join([str(checkout), str(checkout / "integrations")])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(Path(__file__).parent), "--measure", str(checkout), "--only", *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(map(json.loads, done.stdout.splitlines()))


def difference(old: Any, new: Any, place: str = "") -> str | None:
    """The first one, with its place; None if there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        missing = [f"{place}.{key} is missing" for key in old if key not in new]
        found = (difference(item, new[key], f"{place}.{key}") for key, item in old.items() if key in new)
        return next(filter(None, [*missing, *found]), None)
    if isinstance(old, list) and isinstance(new, list):
        pairs = enumerate(zip(old, new, strict=False))
        found = (difference(*pair, f"{place}[{i}]") for i, pair in pairs)
        length = f"{place} has {len(new)} entries, not {len(old)}" if len(old) != len(new) else None
        return next(filter(None, found), length)
    same = type(old) is type(new) and old == new
    return None if same else f"{place} was {shown(old)}, is {shown(new)}"


def shown(value: Any) -> str:
    """A value, a float with its exact digits too."""
    try:
        return repr(float.fromhex(value)) + f" ({value})"
    except (TypeError, ValueError):
        return repr(value)


def size(value: Any) -> int:
    """How many values there are to compare."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 if items is None else sum(map(size, items))


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Print a line per scenario; whether all are equal."""
    equal = 0
    for name in old:
        both = (old[name], new.get(name))
        failed = [one["failed"] for one in both if isinstance(one, dict) and "failed" in one]
        found = f"failed: {failed[-1]}" if failed else difference(*both)
        equal += found is None
        print(f"{name}: {'equal, ' + str(size(old[name])) + ' values' if found is None else found}")
    print(f"{equal} of {len(old)} scenarios are equal")
    return 0 < equal == len(old)


def main() -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path, nargs="?")
    parser.add_argument("new", type=Path, nargs="?", default=Path())
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD")
    parser.add_argument("--save", type=Path, metavar="FILE")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        measure(given.measure, given.only)
        return 0
    if given.old is None:
        parser.error("name the old checkout")
    old = json.loads(given.old.read_text()) if given.old.is_file() else results(given.old, given.only)
    if given.save is not None:
        given.save.write_text(json.dumps(old))
    new = results(given.new, given.only)
    return 0 if compare({name: old[name] for name in old if chosen(name, given.only)}, new) else 1


if __name__ == "__main__":
    sys.exit(main())
