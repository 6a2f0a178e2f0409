"""The plan that `galatune pilot --save` wrote: read and written as one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from galatune.errors import PlanError
from galatune.formatting import printable

if TYPE_CHECKING:
    from galatune.study.scan.plan import ShrinkPlan

__all__ = ["save_plan", "saved_plan"]

REST = "make it with galatune pilot --save"


def saved_plan(path: Path, study: str | None, *, said: bool) -> ShrinkPlan:
    """Read a plan.

    Args:
        path: Of the file.
        study: Name of the old study as given, which must be the plan's.
        said: Whether something was said of what is dropped, which a plan says already.

    Raises:
        PlanError: It cannot be read, is no plan, or contradicts what is given.
    """
    from galatune.study.scan.plan import ShrinkPlan

    place = repr(printable(str(path)))
    if said:
        raise PlanError("--plan says what is dropped; leave out --lr, --keep and --drop-schedule")
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read the plan {place}: {error.strerror}; {REST}") from None
    except (ValueError, RecursionError):
        raise PlanError(f"{place} is no plan: it holds no JSON; {REST}") from None
    if not isinstance(body, dict) or "studies" in body:
        raise PlanError(f"{place} is no plan of one study; {REST}")
    plan = ShrinkPlan.from_json(body)
    if study is not None and study != plan.study:
        raise PlanError(
            f"{place} is the plan of study {printable(plan.study)!r}, however: --study {printable(study)}; "
            "leave one of them out"
        )
    return plan


def save_plan(path: Path, plan: ShrinkPlan) -> None:
    """Write a plan with its pilot.

    Raises:
        ReportError: It cannot be written; an old file stays as it was.
    """
    from galatune.files import write_files

    write_files({path: json.dumps(plan.to_json(), indent=2) + "\n"})
