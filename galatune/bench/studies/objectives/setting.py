"""What a second search meets that the old one did not: a wider net, other batches, another budget."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SETTINGS", "Setting"]


@dataclass(frozen=True)
class Setting:
    """Factors on the sizes of an objective.

    Attributes:
        name: As in the tables.
        width: On every hidden width.
        batch: On the searched batch sizes; the number of epochs stays.
        epochs: On the number of epochs.
        rows: On the number of training rows; the number of epochs stays.

    Example:
        >>> SETTINGS["batch / 4"].batch_size(64)
        16
    """

    name: str
    width: float = 1.0
    batch: float = 1.0
    epochs: float = 1.0
    rows: float = 1.0

    def hidden(self, width: int) -> int:
        """Hidden units instead of `width`."""
        return max(1, round(width * self.width))

    def batch_size(self, rows: int) -> int:
        """Rows per step instead of `rows`."""
        return max(1, round(rows * self.batch))

    def passes(self, epochs: int) -> int:
        """Epochs instead of `epochs`."""
        return max(1, round(epochs * self.epochs))

    def training_rows(self, rows: int) -> int:
        """Training rows instead of `rows`."""
        return max(1, round(rows * self.rows))


SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("again"),
        Setting("width x 8", width=8.0),
        Setting("batch x 8", batch=8.0),
        Setting("batch / 4", batch=0.25),
        Setting("epochs x 4", epochs=4.0),
        Setting("epochs / 4", epochs=0.25),
        Setting("quarter of the data", rows=0.25),
    )
}
