"""The folder of a model: the model itself, and its card for people and for programs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from galatune.errors import TableError
from galatune.files import write_files
from galatune.formatting import first_line, printable
from galatune.tabular.classifier import GalaClassifier
from galatune.tabular.estimator import GalaEstimator
from galatune.tabular.files.card import card_page
from galatune.tabular.files.fitting import FittedFile
from galatune.tabular.regressor import GalaRegressor
from galatune.tabular.saving import estimator_name

__all__ = ["CARD", "MODEL", "check_folder", "load_model", "write_folder"]

MODEL, PAGE, CARD = "model.safetensors", "card.html", "card.json"
ESTIMATORS: dict[str, type[GalaEstimator[Any]]] = {
    kind.__name__: kind for kind in (GalaClassifier, GalaRegressor)
}


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Look whether a model can be written there, before anything is fitted.

    Args:
        folder: The folder to be made.
        overwrite: Whether files of an earlier model in it may be replaced.

    Raises:
        TableError: It is there already, is a file, or cannot be made.
    """
    if folder.is_dir() and not overwrite:
        raise TableError(f"{printable(str(folder))!r} exists already; name another --out, or say --overwrite")
    above = next((one for one in (folder, *folder.absolute().parents) if os.path.lexists(one)), folder)
    place = repr(printable(str(above)))
    if not above.is_dir():
        raise TableError(f"{place} is a file, and the model needs a folder; name another --out")
    if not os.access(above, os.W_OK):
        raise TableError(f"Cannot write to {place}: Permission denied; name another --out")


def write_folder(folder: Path, fitted: FittedFile) -> None:
    """Write model and card, all files or none; other files in the folder stay.

    Args:
        folder: From `check_folder`.
        fitted: What `fit_file` returned.

    Raises:
        ReportError: A file cannot be written.
        TableError: The folder cannot be made.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        shown = printable(str(folder))
        raise TableError(f"Cannot make {shown!r}: {error.strerror}; name another --out") from None
    try:
        card = json.dumps(fitted.card.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        page = card_page(fitted.card, fitted.pictures)
        files: dict[Path, str | bytes] = {folder / PAGE: page, folder / CARD: card + "\n"}
        write_files({folder / MODEL: _bytes_of(fitted.model), **files})
    except BaseException:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def load_model(path: Path) -> GalaEstimator[Any]:
    """Load the model of a folder, or of a file that `save` wrote. No code from it is run.

    Args:
        path: The folder or the file.

    Raises:
        TableError: There is no model.
    """
    file = path / MODEL if path.is_dir() else path
    shown = repr(printable(str(path)))
    if not file.is_file():
        raise TableError(f"There is no model in {shown}; name the folder that galatune fit --out wrote")
    try:
        return ESTIMATORS[estimator_name(file)].load(file)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RuntimeError) as error:
        raise TableError(
            f"Cannot load the model in {shown}: {first_line(error)}. Fit it again, or load it with the "
            "version of galatune that wrote it"
        ) from None


def _bytes_of(model: GalaEstimator[Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, MODEL)
        model.save(file)
        return file.read_bytes()
