"""What a run directory holds, read for `report.html`."""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LEAST_PROBABILITY = 1e-7  # what Keras clips to before the logarithm
MEASURES = {"mean_iou": "mean IoU", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "loss": "loss"}
"""What a model is measured by, the most telling first."""
SPLITS = {"test": "test", "val": "validation", "train": "training"}


@dataclass(frozen=True)
class Predictions:
    """Labels and probabilities of the evaluated images, and pictures of the most telling ones."""

    labels: np.ndarray  # (n,)
    probabilities: np.ndarray  # (n, k)
    numbers: np.ndarray  # (n,): each image's place in predictions.npz
    rows: np.ndarray  # (m,): into the arrays above
    images: np.ndarray  # (m, h, w, c), uint8

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image."""
        return self.probabilities.argmax(axis=1)

    @property
    def wrong(self) -> np.ndarray:
        """Which images were mistaken."""
        return self.predicted != self.labels

    @property
    def loss(self) -> np.ndarray:
        """Cross-entropy of each image."""
        actual = self.probabilities[np.arange(len(self.labels)), self.labels]
        return -np.log(np.maximum(actual.astype("float64"), LEAST_PROBABILITY))

    def confusion(self) -> np.ndarray:
        """Counts, actual classes down, predicted across."""
        k = self.probabilities.shape[1]
        return np.bincount(self.labels * k + self.predicted, minlength=k * k).reshape(k, k)


@dataclass(frozen=True)
class Looks:
    """What `training.insight` saw in the network; empty where it saw nothing."""

    filters: np.ndarray | None = None  # (h, w, 1 or 3, n)
    filters_layer: str = ""
    gradients: np.ndarray | None = None  # (layers,)
    gradient_layers: tuple[str, ...] = ()
    maps: dict[int, np.ndarray] = field(default_factory=dict)  # row of the predictions to (k, h, w)
    map_classes: dict[int, np.ndarray] = field(default_factory=dict)  # row to (k,)
    unseen: str = ""  # what went wrong


@dataclass(frozen=True)
class Scenes:
    """What was found in images whose pixels have labels; the worst images, masks and answers."""

    confusion: np.ndarray  # (k, k): pixels, actual classes down, predicted across
    shares: np.ndarray  # (n,): of each image's pixels, those that are right
    numbers: np.ndarray  # (m,): each shown image's place among all
    images: np.ndarray  # (m, h, w, c), uint8
    truth: np.ndarray  # (m, h, w)
    answer: np.ndarray  # (m, h, w)


@dataclass
class Record:
    """A run directory's files; what is absent is empty or None."""

    directory: Path
    config: dict[str, Any]
    starts: list[dict[str, Any]] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    predictions: Predictions | None = None
    scenes: Scenes | None = None
    looks: Looks = field(default_factory=Looks)
    notes: list[str] = field(default_factory=list)  # what the reader should know of missing or odd files
    parts: dict[int, "Record"] = field(default_factory=dict)  # by seed, where there were several

    @property
    def splits(self) -> dict[str, dict[str, Any]]:
        """The measured splits, the test set first."""
        found = {key: value for key, value in self.metrics.items() if isinstance(value, dict) and "loss" in value}
        return {key: found[key] for key in sorted(found, key=lambda key: (key != "test", key != "val", key))}

    @property
    def evaluated(self) -> str:
        """The kind of images that the predictions are of."""
        return next((SPLITS.get(key, key) for key in self.splits), "evaluated")

    def classes(self) -> list[str]:
        """A name for every class, its number where the run has none."""
        names = [str(item) for item in (self.config.get("data") or {}).get("classes") or []]
        k = self.predictions.probabilities.shape[1] if self.predictions else len(names)
        k = len(self.scenes.confusion) if self.scenes else k
        return names if len(names) == k else [*names[:k], *map(str, range(len(names), k))]


def read(directory: Path) -> Record:
    """Reads a run directory, finished or not."""
    if not (directory / "config.json").is_file():
        raise FileNotFoundError(f"Expected a run directory with config.json in it, received {directory}.")
    record = Record(directory, _json(directory / "config.json"))
    if (count := (record.config.get("config") or {}).get("seeds", 1)) > 1:
        first = record.config["config"]["seed"]
        found = {seed: directory / f"seed-{seed}" for seed in range(first, first + count)}
        record.parts = {seed: read(part) for seed, part in found.items() if (part / "config.json").is_file()}
    if (directory / "metrics.json").is_file():
        record.metrics = _json(directory / "metrics.json")
    if (directory / "history.jsonl").is_file():
        _read_history(directory / "history.jsonl", record)
    if (directory / "predictions.npz").is_file():
        _read_predictions(directory / "predictions.npz", record)
    return record


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"Expected JSON in {path}, received: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"Expected a JSON object in {path}, received {type(content).__name__}.")
    return content


def _read_history(path: Path, record: Record) -> None:
    epochs = {}
    unreadable = 0
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            entry = dict(json.loads(line))
        except (TypeError, ValueError):
            unreadable += bool(line.strip())
            continue
        if entry.get("event") == "start":
            record.starts.append(entry)
        elif entry.get("event") == "epoch":
            epochs[entry["epoch"]] = entry  # an epoch that was repeated after a resume counts as it ended
    record.epochs = [epochs[epoch] for epoch in sorted(epochs)]
    if unreadable:
        record.notes.append(f"history.jsonl: lines that could not be read, and were left out: {unreadable}.")


def _read_predictions(path: Path, record: Record) -> None:
    try:
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
        record.looks = _looks(arrays)
        if "confusion" in arrays:
            keys = ("confusion", "shares", "index", "images", "truth", "answer")
            record.scenes = Scenes(*(arrays[key] for key in keys))
            return
        labels, probabilities = arrays["labels"], arrays["probabilities"]
        if probabilities.ndim != 2 or probabilities.shape[1] < 2 or labels.shape != probabilities.shape[:1]:
            raise ValueError(f"labels of shape {labels.shape}, probabilities of shape {probabilities.shape}")
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        record.notes.append(f"predictions.npz could not be used: {str(error).strip(chr(34) + chr(39))}.")
        return
    known = np.isfinite(labels) & (labels >= 0) & (labels < probabilities.shape[1])
    finite = np.isfinite(probabilities).all(axis=1)
    if count := int((~known).sum()):
        record.notes.append(f"Images without a label, left out of the tables: {count:,} of {len(labels):,}.")
    if count := int((known & ~finite).sum()):
        record.notes.append(
            f"Images whose probabilities are not numbers, left out of the tables: {count:,} of "
            f"{len(labels):,}. The network diverged."
        )
    kept = np.flatnonzero(known & finite)
    if not len(kept):
        return
    rows = arrays.get("index", np.zeros(0, int))
    images = arrays.get("images", np.zeros((0, 1, 1, 1), "uint8"))
    rows, images = rows[: len(images)], images[: len(rows)]
    shown = np.isin(rows, kept)
    places = {int(row): int(np.searchsorted(kept, row)) for row in rows[shown]}
    if "maps" in arrays:
        for name in ("maps", "map_classes"):
            found = zip(rows, arrays[name], strict=False)
            getattr(record.looks, name).update({places[int(row)]: each for row, each in found if int(row) in places})
    record.predictions = Predictions(
        labels=labels[kept].astype(np.int64),
        probabilities=probabilities[kept],
        numbers=kept,
        rows=np.searchsorted(kept, rows[shown]),
        images=images[shown],
    )


def _looks(arrays: dict[str, np.ndarray]) -> Looks:
    return Looks(
        filters=arrays.get("filters"),
        filters_layer=str(arrays.get("filters_layer", "")),
        gradients=arrays.get("gradients"),
        gradient_layers=tuple(map(str, arrays.get("gradient_layers", ()))),
        unseen=str(arrays.get("unseen", "")),
    )
