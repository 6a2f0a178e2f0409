"""What a probe costs, as a table."""

from __future__ import annotations

from rich.table import Table

from galatune.bench.cost.measure import Cost
from galatune.bench.cost.ratios import Ratio
from galatune.bench.text import plain_table
from galatune.controller.options import Options
from galatune.controller.probes.schedule import RateStart
from galatune.formatting import plural

__all__ = ["cost_table"]

A_LONG_RUN = 1000


def cost_table(cost: Cost) -> Table:
    """One table per probe; each line says what it was computed from."""
    times, memory = cost.times, cost.memory
    steps, probing = len(times.controlled), Options().schedule
    table = plain_table(
        f"{cost.probe} probe, {memory.parameters:,} parameters, {plural(cost.threads, 'thread')}; with "
        "control over without",
        ("", "ratio", "smallest", "largest", "from"),
        left=("", "from"),
    )
    for what, ratio in (
        ("step that does not probe", times.not_probing),
        ("step before a probed one", times.remembering),
        ("probed step", times.probing),
    ):
        table.add_row(what, *_ratio(ratio))
    run = f"run of {steps} steps, {times.probes} of them probed"
    table.add_row(run, f"{times.run:.3f}", "", "", "measured: the sum of all steps over that without control")
    for count in sorted({steps, max(steps, A_LONG_RUN)}):
        composed = times.composed(count, lambda step: probing.due(step, [RateStart()]))
        why = f"composed for {count:,} steps: each kind's median ratio and number"
        if composed is None:
            why = f"not composed for {count:,} steps: one kind of them was not taken; use more --steps"
        table.add_row("", "" if composed is None else f"{composed:.3f}", "", "", why)
    table.add_row("peak memory", f"{memory.ratio:.3f}", "", "", "measured, activations included")
    for what, size in (
        ("at the peak of a probe", memory.at_a_probe),
        ("before a probed step", memory.before_a_probe),
        ("between probes", memory.between_probes),
    ):
        table.add_row(f"  {what}", f"{size:+.2f}", "", "", "bytes per parameter")
    if cost.synchronizations is not None:
        table.add_row("host waits per step", f"{cost.synchronizations:+d}", "", "", "not probed; counted")
    return table


def _ratio(ratio: Ratio | None) -> tuple[str, ...]:
    if ratio is None:
        return ("", "", "", "none was taken")
    numbers = (ratio.median, ratio.smallest, ratio.largest)
    return (*(f"{number:.3f}" for number in numbers), f"median over {plural(ratio.blocks, 'block')} in turns")
