"""The card of a fitted model: what it was fitted to, how good it is, and what was noticed."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

from galatune.formatting import duration, finite, number, plain_text, plural, printable, rate
from galatune.pages import page_template
from galatune.tabular.files.pictures import Picture
from galatune.tabular.files.scores import Score
from galatune.tabular.files.task import Task, decision

__all__ = ["Card", "Column", "TrainingFacts", "card_page", "score_rows"]

SCHEMA = 1
TEMPLATE = "card.html.jinja"
WIDTH = 100
UNDEFINED = "not defined"
LARGE, HUGE = 1e4, 1e12
"""Between them a number has all of its digits before the decimal point."""


@dataclass(frozen=True)
class Column:
    """A column that the model reads.

    Attributes:
        name: Its name.
        kind: "numbers", "categories" or "true or false".
        missing: Rows without a value.
        different: Values that differ.
    """

    name: str
    kind: str
    missing: int
    different: int


@dataclass(frozen=True)
class TrainingFacts:
    """How the training went.

    Attributes:
        epochs: Epochs run.
        best_epoch: The one whose weights were kept, from 1.
        steps: Optimizer steps.
        seconds: Wall-clock time of fit.
        largest_rate: Largest learning rate as applied.
        last_rate: The last one.
    """

    epochs: int
    best_epoch: int
    steps: int
    seconds: float
    largest_rate: float
    last_rate: float

    def text(self) -> str:
        """Say it in a sentence."""
        return (
            f"{plural(self.epochs, 'epoch')} ({plural(self.steps, 'step')}) in "
            f"{duration(self.seconds / 3600)}; the weights of epoch {self.best_epoch} were kept. The "
            f"learning rate was set during training: at most {rate(self.largest_rate)}, at the end "
            f"{rate(self.last_rate)}."
        )


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in ("galatune", "torch")}}


@dataclass(frozen=True)
class Card:
    """All that is told of a model.

    Attributes:
        file: Name of the file, without its folder.
        target: Column that is predicted.
        task: "classification" or "regression".
        why: Why it is that.
        estimator: Name of the estimator's class.
        rows: Rows with a target.
        training_rows: Rows that the model was fitted to.
        test_rows: Rows held out, that it was scored on.
        columns: Columns that it reads.
        dropped: Columns left out by the user.
        weights: Column of the weights, None without.
        classes: Rows of each class; None if a number is predicted.
        scores: On the rows held out; empty without them.
        training: How the training went.
        seed: Of the split and of the training.
        notes: What was noticed, a sentence each.
        versions: Of Python, galatune and torch.
    """

    file: str
    target: str
    task: Literal["classification", "regression"]
    why: str
    estimator: str
    rows: int
    training_rows: int
    test_rows: int
    columns: tuple[Column, ...]
    dropped: tuple[str, ...]
    weights: str | None
    classes: Mapping[str, int] | None
    scores: tuple[Score, ...]
    training: TrainingFacts
    seed: int
    notes: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=_versions)

    def to_json(self) -> dict[str, Any]:
        """Return what `json.dumps` takes; what is not known is None."""
        content = {"schema": SCHEMA, **dataclasses.asdict(self)}
        for score, one in zip(self.scores, content["scores"], strict=True):
            one["better"] = score.better
        body: dict[str, Any] = finite(content)
        return body

    def decision(self) -> str:
        """Say what is predicted, why so, and how to say otherwise."""
        return decision(Task(self.task, self.why), self.target)

    def text(self) -> str:
        """Return the scores as a table for a terminal."""
        from rich.table import Table

        if not self.scores:
            return "No rows were held out: no scores."
        table = Table(title=f"Scores on {plural(self.test_rows, 'row')} held out", title_justify="left")
        for heading in ("score", "model", "constant", "better is", "what it says"):
            table.add_column(heading, justify="right" if heading in ("model", "constant") else "left")
        for name, model, constant, way, meaning in score_rows(self.scores):
            table.add_row(name, model, constant, way, meaning)
        return plain_text(lambda console: console.print(table), WIDTH).rstrip("\n")


def score_rows(scores: Sequence[Score]) -> list[tuple[str, str, str, str, str]]:
    """Return name, model, constant, which way is better and meaning of each score, as text."""
    return [
        (
            one.name,
            _figure(one.value, one.unit),
            _figure(one.constant, one.unit),
            "greater" if one.greater_is_better else "less",
            one.meaning,
        )
        for one in scores
    ]


def card_page(card: Card, pictures: Sequence[Picture]) -> str:
    """Return the card as one HTML page; nothing is fetched, and every name stays text.

    Args:
        card: The card.
        pictures: What is drawn on it.
    """
    from markupsafe import Markup

    drawn = [(one.title, one.description, Markup(one.svg)) for one in pictures]
    template = page_template("galatune.tabular.files", TEMPLATE, text=lambda value: printable(str(value)))
    return template.render(card=card, pictures=drawn, scores=score_rows(card.scores))


def _figure(value: float | None, unit: str) -> str:
    """Return a score as text, with four decimals if it has no unit, so that digits stand below digits."""
    if value is None:
        return UNDEFINED
    if not unit:
        return f"{round(value, 4) + 0.0:.4f}"  # without a minus before 0
    return f"{value:,.0f}" if LARGE <= abs(value) < HUGE else number(float(value))
