"""How a training shows where it is: text that is written over in a terminal, else a line per epoch."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from galatune.formatting import time_left

__all__ = ["Progress", "epoch_line"]

UPDATES_PER_SECOND = 8
"""Of the line in a terminal."""


def epoch_line(epoch: int, loss: float, rate: float, score: float | None, of_loss: bool = True) -> str:
    """Say where a training is.

    Args:
        epoch: From 1.
        loss: Training loss.
        rate: Learning rate as applied.
        score: Validation score, None without validation rows.
        of_loss: Whether the score is minus the loss.

    Example:
        >>> epoch_line(3, 0.25, 1e-3, -0.3)
        'Epoch 3: loss 0.25000, validation loss 0.30000, learning rate 0.001'
        >>> epoch_line(3, 0.25, 1e-3, 0.9, of_loss=False)
        'Epoch 3: loss 0.25000, validation score 0.90000, learning rate 0.001'
    """
    validation = f"loss {-score:.5f}" if of_loss and score is not None else f"score {score or 0.0:.5f}"
    shown = "" if score is None else f", validation {validation}"
    return f"Epoch {epoch}: loss {loss:.5f}{shown}, learning rate {rate:.3g}"


class Progress:
    """Shows a training on stdout, if that is wanted.

    Args:
        wanted: Whether to show anything.
        most_epochs: Largest number of epochs.
        deadline: End of the time for training, on the clock of `time.monotonic`.
        console: Where to show it.
    """

    def __init__(
        self, wanted: bool, most_epochs: int, deadline: float, console: Console | None = None
    ) -> None:
        self._console = (console or Console()) if wanted else None
        self._most_epochs, self._deadline, self._started = most_epochs, deadline, time.monotonic()
        self._line = ""
        self._live: Live | None = None
        if self._console is not None and (self._console.is_terminal or self._console.is_jupyter):
            self._live = Live(console=self._console, refresh_per_second=UPDATES_PER_SECOND)

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(Text(self._line))
            self._live.stop()

    def step(self, epochs: float) -> None:
        """Show how much is done and how much time is left at most, if there is a line to write over.

        Args:
            epochs: Epochs done, with the part of the one that is going on.
        """
        if self._live is not None:
            line = self._line or f"Epoch {int(epochs) + 1}"
            self._live.update(Text(f"{line}, {self._left(epochs)}"))  # two lines if the terminal is narrow

    def epoch(self, line: str) -> None:
        """Show an epoch that is done."""
        self._line = line
        if self._console is not None and self._live is None:
            self._console.print(line, highlight=False, soft_wrap=True)

    def _left(self, epochs: float) -> str:
        now = time.monotonic()
        seconds = (now - self._started) * (self._most_epochs / max(epochs, 1e-9) - 1)
        left = max(0.0, min(seconds, self._deadline - now))
        return f"at most {time_left(left)} left"
