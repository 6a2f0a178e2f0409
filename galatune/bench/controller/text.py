"""Results as tables and lines."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from rich.table import Table

from galatune.bench.controller.comparison import Invariance
from galatune.bench.controller.differences import differences
from galatune.bench.controller.methods import METHODS
from galatune.bench.controller.runs import Result
from galatune.bench.controller.score import Cell, Score, Tuned, cells, scores, tuned
from galatune.bench.cost.measure import Cost
from galatune.bench.cost.ratios import Ratio
from galatune.bench.sensitivity.curves import Curve
from galatune.controller.options import Options
from galatune.controller.probes.schedule import Begun
from galatune.statistics import Side, side

__all__ = [
    "cost_table",
    "difference_tables",
    "invariance_lines",
    "score_tables",
    "sensitivity_table",
    "task_tables",
]


def task_tables(results: Sequence[Result]) -> Iterable[Table]:
    """One a task, base and schedule: every fixed rate, then the methods, beside the best of those rates."""
    found = cells(results)
    for key in dict.fromkeys(_key(cell) for cell in found):
        best = tuned(results, *key)
        assert best is not None
        yield _task(*key, best, [cell for cell in found if _key(cell) == key])


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.task, METHODS[cell.method].base, cell.schedule.removeprefix("warmup-")


def _task(task: str, base: str, schedule: str, best: Tuned, found: Sequence[Cell]) -> Table:
    table = _table(
        f"{task}, {base}, {schedule}, {len(best.losses)} seeds",
        ("method", "validation loss", "ratio", "gradients", "diverged"),
    )
    reference = statistics.fmean(best.losses)
    for rate, loss in best.grid:
        mark = " (edge)" if rate == best.rate and best.at_the_edge else ""
        table.add_row(f"fixed {rate:g}{mark}", f"{loss:.4f}", f"{loss / reference:.3f}")
    for cell in found:
        table.add_row(
            _name(cell.method, cell.equal_gradients),
            f"{statistics.fmean(cell.losses):.4f}",
            f"{cell.ratio:.3f}",
            f"{cell.gradient_evaluations:.0f}",
            str(cell.diverged or ""),
        )
    return table


def score_tables(results: Sequence[Result]) -> Iterable[Table]:
    """One a schedule, best first."""
    found = scores(results)
    for schedule in dict.fromkeys(score.schedule for score in found):
        table = _table(
            f"Score, {schedule}: mean ln(ratio); 0 is as good as tuning (time: a training's beside a fixed "
            "rate's; bytes: of state a parameter)",
            ("method", "score", "95 % interval", "worst", "on", "diverged", "tasks", "time", "bytes"),
            left=("method", "on"),
        )
        for score in found:
            if score.schedule == schedule:
                table.add_row(*_score(score))
        yield table


def _score(score: Score) -> tuple[str, ...]:
    return (
        _name(score.method, score.equal_gradients),
        f"{score.score:+.3f}",
        _interval(score.interval),
        f"{score.worst[0]:.2f}",
        score.worst[1],
        str(score.diverged),
        str(score.tasks),
        f"{score.time_ratio:.2f}",
        f"{score.state_bytes:.1f}",
    )


def difference_tables(results: Sequence[Result]) -> Iterable[Table]:
    """One a schedule: ours against each peer, on the tasks and seeds that both were run on."""
    found = differences(results)
    for schedule in dict.fromkeys(difference.schedule for difference in found):
        table = _table(
            f"Ours against each peer, {schedule}: mean ln(our loss / its loss); below 0 ours is lower",
            ("ours", "peer", "difference", "95 % interval", "verdict", "tasks"),
            left=("ours", "peer", "verdict"),
        )
        for one in found:
            if one.schedule == schedule:
                table.add_row(
                    _name(one.method, one.equal_gradients),
                    one.peer,
                    f"{one.difference:+.3f}",
                    _interval(one.interval),
                    VERDICTS[side(one.interval)],
                    str(one.tasks),
                )
        yield table


VERDICTS: dict[Side, str] = {
    "below": "lower",
    "above": "higher",
    "within": "undecided",
    "across": "undecided",
}
"""What it means for our loss that the interval of the difference lies there."""


def sensitivity_table(curves: Sequence[Curve]) -> Table:
    """One row a task and method."""
    rates = curves[0].rates
    table = _table(
        f"Sensitivity to the initial rate, every decade from {rates[0]:g} to {rates[-1]:g}, cosine, "
        f"{len(curves[0].losses[0])} seeds: mean of min(loss, loss at the start) - best",
        ("task", "method", "sensitivity", "best loss", "at", "largest loss", "losses"),
        left=("task", "method", "losses"),
    )
    for curve in curves:
        rate, loss = curve.best
        same = curve.same_to_the_last_digit
        table.add_row(
            curve.task,
            curve.method,
            f"{curve.sensitivity:.3g}",
            f"{loss:.4f}",
            "any" if same else f"{rate:g}",
            f"{max(curve.means):.4f}",
            "equal to the last digit" if same else f"{len(set(curve.means))} different",
        )
    return table


def invariance_lines(one: Invariance) -> Iterable[str]:
    """A heading, then what was found."""
    rates = ", ".join(f"{rate:g}: {loss!r}" for rate, loss in one.initial_rates.items())
    same = "to the last digit" if one.same_to_the_last_digit else "NOT equal"
    yield f"{one.task}, {one.method}, first seed"
    yield f"  loss by the rate the optimizer was built with ({same}): {rates}"
    for dtype, (plain, scaled) in one.scaled.items():
        what = f"training loss, epsilon and coupled decay times 1 and 1e-6, {dtype}"
        yield f"  {what} (equal to {one.digits(dtype)} digits): {plain:.9g}, {scaled:.9g}"


A_LONG_RUN = 1000


def cost_table(cost: Cost) -> Table:
    """What one probe costs; each line says what it was computed from."""
    times, memory = cost.times, cost.memory
    steps, rhythm = len(times.controlled), Options().rhythm
    table = _table(
        f"{cost.probe} probe, {memory.parameters:,} parameters, {_many(cost.threads, 'thread')}; with "
        "control beside without",
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
    table.add_row(run, f"{times.run:.3f}", "", "", "measured: the sum of all steps beside the other's")
    for count in sorted({steps, max(steps, A_LONG_RUN)}):
        composed = times.composed(count, lambda step: rhythm.due(step, [Begun()]))
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
        table.add_row(f"  {what}", f"{size:+.2f}", "", "", "bytes a parameter")
    if cost.synchronizations is not None:
        table.add_row("host waits of a step", f"{cost.synchronizations:+d}", "", "", "not probed; counted")
    return table


def _ratio(ratio: Ratio | None) -> tuple[str, ...]:
    if ratio is None:
        return ("", "", "", "none was taken")
    numbers = (ratio.median, ratio.smallest, ratio.largest)
    return (*(f"{number:.3f}" for number in numbers), f"median over {_many(ratio.blocks, 'block')} in turns")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _table(title: str, headings: Sequence[str], left: Sequence[str] = ("method",)) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right")
    return table


def _name(method: str, equal_gradients: bool) -> str:
    return method + (", equal gradients" if equal_gradients else "")


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:+.3f} to {interval[1]:+.3f}"
