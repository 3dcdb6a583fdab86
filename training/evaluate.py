"""Final numbers: the saved file, reloaded, on one device, every image once.

`python -m convcraft.training.evaluate RUN [SECONDS]` writes a run's metrics.json and predictions.npz.
"""

import hashlib
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import rundir
from .data import Data, Feed
from .data.streams import StreamFeed

if TYPE_CHECKING:
    import keras

WORST = 24  # pictures in the report


def score(model: "keras.Model", data: Data, split: str = "test") -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Measures a classifier on a split.

    Args:
        model: raw 0-255 images to logits.
        data: a `training.data.Data`.
        split: "test", "val" or "train".

    Returns:
        (metrics, labels, probabilities): a dictionary of `accuracy`, `loss` (mean crossentropy, natural logarithm) and
        `n`; int32 (n,); float32 (n, classes).
    """
    feed = data.feed(split, shuffle=False)
    labels = np.concatenate([batch[1] for batch in _batches(feed)])
    logits = np.asarray(model.predict(feed.dataset(), verbose=0), "float64")
    logits -= logits.max(axis=1, keepdims=True)
    logarithms = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    losses = -logarithms[np.arange(len(labels)), labels]
    right = logits.argmax(axis=1) == labels
    metrics = {"accuracy": float(right.mean()), "loss": float(losses.mean()), "n": len(labels)}
    return metrics, labels.astype("int32"), np.exp(logarithms).astype("float32")


def worst(labels: np.ndarray, probabilities: np.ndarray, count: int = WORST) -> np.ndarray:
    """Row numbers of the worst mistakes, highest loss first; then of the least certain right answers."""
    truth = probabilities[np.arange(len(labels)), labels]
    wrong = probabilities.argmax(axis=1) != labels
    return np.lexsort((truth, ~wrong))[:count]


def evaluate_run(directory: str | os.PathLike[str], seconds: float | None = None) -> dict[str, Any]:
    """Measures the model of a run on its validation and test images; writes metrics.json and predictions.npz.

    Returns:
        The metrics.
    """
    from convcraft.zoo import cost, load_model

    from .loop import load_recipe

    directory = pathlib.Path(directory)
    described = rundir.read_json(directory / "config.json")
    module = load_recipe(directory / "recipe.py")
    data = module.data(module.Config(**described["config"]))
    if data.sha256 != described["data"]["sha256"]:
        raise ValueError(
            f"The data at {described['data']['name']} have changed since {directory} was trained: SHA-256 "
            f"{data.sha256}, expected {described['data']['sha256']}."
        )
    model = load_model(directory / "model.keras")
    metrics, labels, probabilities = score(model, data, "test")
    rows = worst(labels, probabilities)
    pictures = _pictures(data, rows)
    rundir.write_atomically(
        directory / "predictions.npz",
        lambda file: np.savez_compressed(file, labels=labels, probabilities=probabilities, index=rows, images=pictures),
    )
    result: dict[str, Any] = {"test": metrics}
    if "val" in data.counts:
        result["val"] = score(model, data, "val")[0]
    spent = cost(model) if None not in model.input_shape[1:] else None
    result |= {
        "seconds": seconds,
        "parameters": model.count_params(),
        "multiply_adds": spent and spent.multiply_adds,
        "model_sha256": hashlib.sha256((directory / "model.keras").read_bytes()).hexdigest(),
        "data_sha256": data.sha256,
    }
    rundir.write_json(directory / "metrics.json", result)
    return result


def _batches(feed: Feed | StreamFeed) -> Iterator[tuple[np.ndarray, ...]]:
    return feed.numpy() if hasattr(feed, "numpy") else feed.dataset().as_numpy_iterator()


def _pictures(data: Data, rows: np.ndarray) -> np.ndarray:
    """The images of these rows, uint8."""
    images = data.sources["test"].batch(rows)[0] if data.sources else data.arrays("test")[0][rows]
    return np.clip(np.rint(images), 0, 255).astype("uint8")


if __name__ == "__main__":
    evaluate_run(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else None)
