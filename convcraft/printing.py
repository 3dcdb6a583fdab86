"""What a model saw in pictures, as text, JSON or CSV."""

import csv
import io
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convcraft.training.predict import Prediction


def _label(guess):
    return guess.name if guess.name is not None else f"class {guess.index}"


def line(prediction: "Prediction") -> str:
    """One picture as text: the file, then each class."""
    parts = []
    for guess in prediction.guesses:
        if prediction.shares:
            spread = "" if guess.std is None else f" ± {100 * guess.std:.1f}"
            parts.append(f"{_label(guess)} {100 * guess.value:.1f}{spread} %")
        else:
            name = guess.name if guess.name is not None else f"output {guess.index}"
            parts.append(f"{name} {guess.value:.6g}" + ("" if guess.std is None else f" ± {guess.std:.2g}"))
    if prediction.entropy is not None:
        parts.append(f"entropy {prediction.entropy:.3f}")
    return "  ".join([str(prediction.path), *parts])


def text(predictions: list["Prediction"]) -> str:
    """As text: a line a picture."""
    return "".join(f"{line(prediction)}\n" for prediction in predictions)


def _rows(predictions: list["Prediction"]) -> list[dict[str, Any]]:
    """One dictionary a picture; what was not asked for is not in it."""
    rows = []
    for prediction in predictions:
        value = "probability" if prediction.shares else "value"
        guesses = []
        for guess in prediction.guesses:
            row: dict[str, Any] = {"class": guess.name, "index": guess.index, value: guess.value}
            guesses.append(row if guess.std is None else {**row, "std": guess.std})
        whole: dict[str, Any] = {"file": str(prediction.path), "predictions": guesses}
        if prediction.entropy is not None:
            whole["entropy"] = prediction.entropy
        rows.append(whole)
    return rows


def as_json(predictions: list["Prediction"]) -> str:
    """As JSON: a list of pictures. Only ASCII, for a terminal or pipe of any encoding."""
    return json.dumps(_rows(predictions), indent=1) + "\n"


def as_csv(predictions: list["Prediction"]) -> str:
    """As CSV: one line a picture and class."""
    table: list[dict[str, Any]] = []
    for row in _rows(predictions):
        shared = {"entropy": row["entropy"]} if "entropy" in row else {}
        table += [
            {"file": row["file"], "rank": rank, **guess, **shared} for rank, guess in enumerate(row["predictions"], 1)
        ]
    said = io.StringIO()
    fields = list(table[0]) if table else ["file", "rank", "class", "index", "probability"]
    writer = csv.DictWriter(said, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return said.getvalue()


FORMATS = {"text": text, "json": as_json, "csv": as_csv}
