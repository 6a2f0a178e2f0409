from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from galatune.errors import TableError
from galatune.tabular.files.card import card_page, score_rows
from galatune.tabular.files.fitting import FitOptions, FittedFile, fit_file
from galatune.tabular.files.folder import load_model, write_folder
from galatune.tabular.files.predicting import predict_file
from galatune.tabular.files.scores import Score

CLASSES = FitOptions("plan", drop=("spent",), weights="weight", max_iter=12)


@pytest.fixture(scope="module")
def of_classes(customers_csv: Path) -> FittedFile:
    return fit_file(customers_csv, CLASSES)


def test_rows_held_out_are_of_all_classes_and_not_trained_on(
    of_classes: FittedFile, customers: pd.DataFrame
) -> None:
    card = of_classes.card
    assert card.training_rows + card.test_rows == card.rows == 90
    assert 15 <= card.test_rows <= 18
    assert card.classes == customers["plan"].value_counts().to_dict()
    assert [column.name for column in card.columns] == ["age", "city", "member"]


def test_scores_stand_beside_those_of_a_constant(of_classes: FittedFile) -> None:
    scores = {score.name: score for score in of_classes.card.scores}
    assert list(scores) == ["accuracy", "balanced accuracy", "log loss", "ROC AUC"]
    assert scores["ROC AUC"].constant == 0.5
    assert scores["balanced accuracy"].constant == 0.5
    assert scores["ROC AUC"].better
    assert scores["accuracy"].value is not None
    assert scores["accuracy"].value > 0.7


def test_a_number_is_scored_in_its_units(customers_csv: Path, customers: pd.DataFrame) -> None:
    card = fit_file(customers_csv, FitOptions("spent", drop=("weight",), max_iter=3)).card
    scores = {score.name: score for score in card.scores}
    spread = float(customers["spent"].std())
    assert 0.5 * spread < (scores["RMSE"].constant or 0) < 2 * spread
    assert (scores["R2"].constant or 0) <= 0
    assert card.classes is None


def test_the_same_seed_gives_the_same_model(of_classes: FittedFile, customers_csv: Path) -> None:
    again = fit_file(customers_csv, CLASSES).card
    assert again.scores == of_classes.card.scores
    other = fit_file(customers_csv, replace(CLASSES, seed=1)).card
    assert other.scores != of_classes.card.scores


def test_a_terminal_shows_the_rate_and_the_time_left(
    customers_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    fitted = fit_file(customers_csv, replace(CLASSES, max_iter=3), show=terminal)
    assert re.search(r"Epoch 3: loss [\d.]+, validation loss [\d.]+, learning rate ", terminal.getvalue())
    assert "left" in terminal.getvalue()
    assert "".join(capsys.readouterr()) == ""
    assert not fitted.model.verbose


def test_without_rows_held_out_nothing_is_scored(customers_csv: Path) -> None:
    fitted = fit_file(customers_csv, replace(CLASSES, test=0.0, max_iter=2))
    assert (fitted.card.test_rows, fitted.card.scores) == (0, ())
    assert "not measured" in " ".join(fitted.card.notes)
    assert "Not measured" in card_page(fitted.card, fitted.pictures)


def test_rows_without_a_target_are_left_out_and_said(tmp_path: Path, customers: pd.DataFrame) -> None:
    customers.assign(y=np.where(np.arange(90) % 9 == 0, np.nan, np.arange(90) % 2)).to_csv(tmp_path / "t.csv")
    card = fit_file(tmp_path / "t.csv", FitOptions("y", max_iter=2)).card
    assert card.rows == 80
    assert card.classes is not None
    assert set(card.classes) == {"0", "1"}
    assert any("10 rows without a target" in note for note in card.notes)


@pytest.mark.parametrize("rows", [1, 60])
def test_a_table_of_one_class_is_fitted_and_drawn_without_a_warning(
    rows: int, tmp_path: Path, customers: pd.DataFrame
) -> None:
    customers[:rows].assign(plan="only").to_csv(tmp_path / "t.csv")
    fitted = fit_file(tmp_path / "t.csv", replace(CLASSES, max_iter=2, test=0.2 if rows > 1 else 0.0))
    assert fitted.card.classes == {"only": rows}
    assert len(fitted.pictures) == (2 if rows > 1 else 1)


def test_a_class_of_one_row_is_trained_on(tmp_path: Path, customers: pd.DataFrame) -> None:
    frame = customers.assign(plan=["rare", *customers["plan"][1:]])
    frame.to_csv(tmp_path / "t.csv")
    fitted = fit_file(tmp_path / "t.csv", replace(CLASSES, max_iter=2))
    assert "rare" in fitted.model.classes_
    assert {score.name: score.value for score in fitted.card.scores}["ROC AUC"] is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (FitOptions("nope"), "no column 'nope'; the table has: age, city"),
        (FitOptions("plan", drop=("nope",)), "no column 'nope'"),
        (FitOptions("plan", weights="nope"), "no column 'nope'"),
        (FitOptions("plan", drop=("plan",)), "cannot be dropped"),
        (FitOptions("plan", weights="city"), "Weights must be numbers"),
        (FitOptions("plan", drop=("age", "city", "member", "spent", "weight")), "no column left"),
        (FitOptions("plan", test=0.001), "No row can be held out of 90 rows"),
        (FitOptions("plan", task="regression"), "must hold numbers"),
        (FitOptions("spent", task="classification"), "numbers with decimals"),
        (FitOptions("plan", device="toaster"), "device must be"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    customers_csv: Path, options: FitOptions, why: str
) -> None:
    with pytest.raises(TableError, match=why) as caught:
        fit_file(customers_csv, options)
    assert "\n" not in str(caught.value)


def test_dates_are_refused_with_the_name_of_their_column(tmp_path: Path, customers: pd.DataFrame) -> None:
    customers.assign(since="2024-01-31").to_csv(tmp_path / "t.csv")
    with pytest.raises(TableError, match="'since'"):
        fit_file(tmp_path / "t.csv", CLASSES)


def test_the_folder_holds_model_and_card(
    of_classes: FittedFile, tmp_path: Path, customers: pd.DataFrame
) -> None:
    write_folder(tmp_path / "model", of_classes)
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert (card["task"], card["target"], card["weights"]) == ("classification", "plan", "weight")
    assert {"name", "value", "constant", "better", "meaning"} <= set(card["scores"][0])
    again = load_model(tmp_path / "model")
    X = customers[["age", "city", "member"]]
    assert (again.predict_proba(X) == of_classes.model.predict_proba(X)).all()  # type: ignore[attr-defined]


def test_the_page_keeps_names_as_text_and_fetches_nothing(of_classes: FittedFile) -> None:
    page = card_page(of_classes.card, of_classes.pictures)
    assert page.count("<svg") == 2
    assert "<b>" not in page
    assert page.count("&lt;b&gt;$x$&lt;/b&gt;") >= 3  # the table of classes, and both axes
    assert "<script" not in page
    assert "src=" not in page


def test_scores_are_written_as_people_write_them(of_classes: FittedFile) -> None:
    scores = (
        Score("R2", 0.76921, -5.9e-08, True, ""),
        Score("RMSE", 56477.4, 1234567.8, False, "", "target"),
        Score("MAE", 0.0123456, 2e15, False, "", "target"),
        Score("ROC AUC", None, 0.5, True, ""),
    )
    rows = score_rows(scores)
    assert [row[1:3] for row in rows] == [
        ("0.7692", "0.0000"),
        ("56,477", "1,234,568"),
        ("0.01235", "2e+15"),
        ("not defined", "0.5000"),
    ]
    page = card_page(replace(of_classes.card, scores=scores), of_classes.pictures)
    assert all(figure in page for row in rows for figure in row[1:3])


def test_predictions_keep_the_order_and_ignore_other_columns(
    of_classes: FittedFile, tmp_path: Path, customers: pd.DataFrame
) -> None:
    write_folder(tmp_path / "model", of_classes)
    mixed = customers[::-1][["spent", "member", "city", "age"]]
    mixed.to_csv(tmp_path / "new.csv", index=False, sep=";", decimal=",")
    predicted = predict_file(tmp_path / "model", tmp_path / "new.csv", proba=True)
    X = customers[["age", "city", "member"]][::-1]
    assert predicted["prediction"].tolist() == of_classes.model.predict(X).tolist()
    assert list(predicted.columns) == ["prediction", "probability_<b>$x$</b>", "probability_None"]
    assert predicted.iloc[:, 1:].sum(axis=1).to_numpy() == pytest.approx(1.0)


def test_a_table_without_rows_is_predicted_as_one(
    of_classes: FittedFile, tmp_path: Path, customers: pd.DataFrame
) -> None:
    write_folder(tmp_path / "model", of_classes)
    customers[:0].to_csv(tmp_path / "none.csv")
    assert predict_file(tmp_path / "model", tmp_path / "none.csv", proba=True).shape == (0, 3)


def test_missing_columns_are_named(of_classes: FittedFile, tmp_path: Path, customers: pd.DataFrame) -> None:
    write_folder(tmp_path / "model", of_classes)
    customers[["age", "spent"]].to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(TableError, match="lacks 2 columns that the model reads: city, member"):
        predict_file(tmp_path / "model", tmp_path / "new.csv")


def test_what_is_no_model_is_refused(tmp_path: Path, customers_csv: Path) -> None:
    for path in (customers_csv, tmp_path, tmp_path / "nope"):
        with pytest.raises(TableError, match="model"):
            predict_file(path, customers_csv)
