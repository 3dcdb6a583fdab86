"""Final numbers: the saved file, reloaded, on one device, every image once.

`python -m convcraft.training.evaluate RUN [SECONDS]` writes a run's metrics.json and predictions.npz.
"""

import dataclasses
import hashlib
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import rundir
from .data import Data, Feed, Source
from .data.stored import ArraySource
from .report.statistics import entropy
from .temperature import fit_temperature

if TYPE_CHECKING:
    import keras

WORST = 24  # pictures in the report
UNCERTAIN = 12  # more of them


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
    return score_source(model, source(data, split), data.batch_size)


def source(data: Data, split: str) -> Source:
    """The images of a split by index; a tf.data pipeline is read once, as its next pass may have another order."""
    if data.sources:
        return data.sources[split]
    return ArraySource(*data.arrays(split))


def score_source(
    model: "keras.Model", images: Source, batch_size: int, meant: Sequence[int] | None = None
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """As `score`, for a `Source`.

    Args:
        model: raw 0-255 images to logits.
        images: with labels.
        batch_size: images at a time.
        meant: the model's class for each label of the images; None: the same.
    """
    from .distribute import answers

    feed = Feed(images, batch_size, shuffle=False)
    batches = [(labels, answers(model, pictures)) for pictures, labels in feed.numpy()]
    labels = np.concatenate([each for each, _ in batches])
    labels = labels if meant is None else np.asarray(meant, "int32")[labels]
    logits = np.concatenate([each for _, each in batches]).astype("float64")
    logits -= logits.max(axis=1, keepdims=True)
    logarithms = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    losses = -logarithms[np.arange(len(labels)), labels]
    right = (logits.argmax(axis=1) == labels) & np.isfinite(losses)  # a diverged network recognizes nothing
    metrics = {"accuracy": float(right.mean()), "loss": float(losses.mean()), "n": len(labels)}
    return metrics, labels.astype("int32"), np.exp(logarithms).astype("float32")


def on_data(
    model: "keras.Model",
    name: Any,
    splits: Sequence[str] = ("val", "test"),
    size: int = 0,
    say: Callable[[str], object] | None = None,
    named: bool = False,
) -> dict[str, dict[str, Any]]:
    """Measures any classifier on data that it was not necessarily trained on.

    Args:
        model: raw 0-255 images to logits, or to probabilities by a softmax.
        name: what `data.load` takes. Its classes, by name, are the model's or some of them, in any order. A test set is
            cut where there is none, as for training; validation images are those that come as such, for of others it
            is not known whether the model was trained on them.
        splits: which of them to measure; those that there are.
        size: of the images, for a model that takes any; 0: the data's own.
        say: called with each line there is to say of the data: what was held out, files that cannot be read.
        named: whether class names that are numbers are names, as those of a run; where that is not known, those of more
            than ten classes are taken for places in the order of the data's.

    Returns:
        A dictionary, split to metrics.

    Raises:
        ValueError: for a model of other images or classes, and one that does not choose one class an image.
    """
    import keras

    from convcraft import zoo

    from . import heads, requirements
    from .data import load

    head = heads.find(model)
    if head.kind not in ("softmax", "binary"):
        raise ValueError(f"Expected a model that gives each image one class; {model.name} is for {head.kind}.")
    height, width, channels = model.input_shape[1:]
    if size and None not in (height, width):
        raise ValueError(f"Expected no size of images: {model.name} takes {height}x{width} only.")
    own = None if None in (height, width) else (height, width)
    data = load(name, size=size or own, channels=channels if channels in (1, 3) else None, validation=0)
    if say:
        for line in data.report.remarks():
            say(line)
    outputs = model.outputs[0]
    if head.kind == "binary":
        second = keras.ops.sigmoid(outputs) if head.logits else outputs
        outputs = keras.ops.concatenate([1 - second, second], axis=-1)
    net = keras.Model(model.inputs[0], outputs, name=model.name)  # the same layers
    net.compile()
    names, known = zoo.class_names(net) or [], data.class_names
    # numbers in place of names: folders "0", "1", "10", … are sorted as text, and so were those of the training
    unnamed = not named and len(names) > 10 and names == [str(number) for number in range(len(names))]
    meant = [names.index(each) for each in known] if {*known} <= {*names} and not unnamed else None
    requirements.fits(net, data if meant is None else dataclasses.replace(data, class_names=names))
    if say and meant is not None and len(meant) < len(names):
        say(f"{len(meant)} of the model's {len(names)} classes are in the data; it may answer any of them.")
    if head.kind == "binary" or not head.logits:
        net = keras.Model(model.inputs[0], keras.ops.log(keras.ops.maximum(outputs, keras.config.epsilon())))
    wanted = [split for split in splits if split in data.counts]
    return {split: score_source(net, source(data, split), data.batch_size, meant)[0] for split in wanted}


def worst(labels: np.ndarray, probabilities: np.ndarray, count: int = WORST) -> np.ndarray:
    """Row numbers of the worst mistakes, highest loss first; then of the least certain right answers."""
    truth = probabilities[np.arange(len(labels)), labels]
    wrong = probabilities.argmax(axis=1) != labels
    return np.lexsort((truth, ~wrong))[:count]


def uncertain(probabilities: np.ndarray, count: int = UNCERTAIN) -> np.ndarray:
    """Row numbers of the answers of the highest entropy, the highest first."""
    return np.argsort(-entropy(probabilities), kind="stable")[:count]


def _with_pictures(model, images, batch_size):
    """Metrics, and what predictions.npz holds of a classifier."""
    from . import balancing

    metrics, labels, probabilities = score_source(model, images, batch_size)
    sizes = np.bincount(labels)
    if sizes.max() >= balancing.NOTICED * sizes[sizes > 0].min():  # accuracy alone says little
        metrics["balanced_accuracy"] = balancing.balanced_accuracy(labels, probabilities.argmax(axis=1))
    rows = worst(labels, probabilities)
    rows = np.concatenate([rows, np.setdiff1d(uncertain(probabilities), rows)])
    pictures = np.clip(np.rint(images.batch(rows)[0]), 0, 255).astype("uint8")
    return metrics, {"labels": labels, "probabilities": probabilities, "index": rows, "images": pictures}


def data_of(directory: pathlib.Path) -> Data:
    """The data of a run, as its recipe loads them.

    Raises:
        ValueError: where they have changed since.
    """
    from .loop import load_recipe

    described = rundir.read_json(directory / "config.json")
    module = load_recipe(directory / "recipe.py")
    config = module.Config(**described["config"])
    if hasattr(config, "settled"):  # fine-tuning would look at a model that may be gone
        config.settled = tuple(described["data"]["image_shape"])
    data = module.data(config)
    if data.sha256 != described["data"]["sha256"]:
        raise ValueError(
            f"The data at {described['data']['name']} have changed since {directory} was trained: SHA-256 "
            f"{data.sha256}, expected {described['data']['sha256']}."
        )
    return data


def evaluate_run(directory: str | os.PathLike[str], seconds: float | None = None) -> dict[str, Any]:
    """Measures the model of a run on its validation and test images; writes metrics.json and predictions.npz.

    Returns:
        The metrics.
    """
    from convcraft.zoo import load_model

    from . import insight, seeds, segmentation

    directory = pathlib.Path(directory)
    if seeds.directories(directory):
        return seeds.evaluate(directory)
    described = rundir.read_json(directory / "config.json")
    data = data_of(directory)
    model = load_model(directory / "model.keras")
    measure = segmentation.score if data.masks else _with_pictures
    metrics, arrays = measure(model, source(data, "test"), data.batch_size)
    result: dict[str, Any] = {"test": metrics}
    if "val" in data.counts:
        result["val"], held = measure(model, source(data, "val"), data.batch_size)
        if not data.masks:
            result["temperature"] = fit_temperature(held["labels"], held["probabilities"])
    shown = None
    if not data.masks:  # the evidence for the answer, and for the truth
        answers = arrays["probabilities"].argmax(axis=1)
        shown = np.stack([answers, arrays["labels"]], axis=1)[arrays["index"]]
    arrays |= insight.look(model, data, arrays["images"], shown)
    rundir.write_atomically(directory / "predictions.npz", lambda file: np.savez_compressed(file, **arrays))
    result |= {
        "seconds": seconds,
        "parameters": model.count_params(),
        "multiply_adds": described["model"]["multiply_adds"],
        "model_sha256": hashlib.sha256((directory / "model.keras").read_bytes()).hexdigest(),
        "data_sha256": data.sha256,
    }
    rundir.write_json(directory / "metrics.json", result)
    return result


if __name__ == "__main__":
    from convcraft.quiet import import_keras

    import_keras()
    evaluate_run(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else None)
