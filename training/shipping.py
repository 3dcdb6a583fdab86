"""From a run to weights that come with the package: `python -m convcraft.training.shipping RUN MODEL:WEIGHTS`.

Writes `zoo/pretrained/MODEL-WEIGHTS.weights.h5` in half precision, measures that file, as a user would load it, and
writes its card: JSON for programs, Markdown for people.
"""

import argparse
import ast
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from convcraft import zoo
from convcraft.zoo import shipped

from . import evaluate, pretrained_card, rundir
from .report.statistics import wilson

LARGEST = 5_000_000  # bytes of a file
# how far the half-precision file's logits may be from those before, as a share of their deviation
ALLOWED = 0.02
# the same, of a model that was trained in mixed precision, from its weights in float32
ALLOWED_MIXED = 0.15


def ship(
    run: str | os.PathLike[str], name: str, design: dict[str, Any], suffix: str = "", note: str = ""
) -> dict[str, Any]:
    """Makes a run's model part of the package.

    Args:
        run: the directory of a finished run.
        name: "MODEL:WEIGHTS", as `zoo.create(MODEL, weights=WEIGHTS)` will find it.
        design: fields of `zoo.Design` that the recipe's model has; checked against the run's model.
        suffix: of the file's name, for a second width.
        note: what the run's files do not say of its hardware.

    Returns:
        The card.

    Raises:
        ValueError: where `zoo.create` with this design gives another model than the run's, and for a file that is
            too large.
    """
    run = pathlib.Path(run)
    architecture, _, weights = name.partition(":")
    config, history = rundir.read_json(run / "config.json"), rundir.read_history(run / "history.jsonl")
    trained = zoo.load_model(run / "model.keras")
    twin = zoo.create(
        architecture, config["data"]["classes"], config["data"]["image_shape"], design=zoo.Design(**design)
    )
    zoo.load_weights(twin, run / "model.keras")
    shipped.FOLDER.mkdir(exist_ok=True)
    data = evaluate.data_of(run)
    images = data.sources["test"].batch(np.arange(min(256, len(data.sources["test"]))))[0]
    before, whole = trained.predict(images, verbose=0), twin.predict(images, verbose=0)
    mixed = config["config"].get("precision", "float32") != "float32"
    _check_same(before, whole, ALLOWED_MIXED if mixed else ALLOWED, f"{name} made by zoo.create")
    file = shipped.FOLDER / f"{architecture}-{weights}{suffix}.weights.h5"
    with tempfile.TemporaryDirectory() as folder:
        halved = pathlib.Path(folder) / file.name
        halve(twin, halved)
        if halved.stat().st_size > LARGEST:
            raise ValueError(f"{file.name} has {halved.stat().st_size:,} bytes; expected at most {LARGEST:,}.")
        zoo.load_weights(twin, halved)
        _check_same(whole, twin.predict(images, verbose=0), ALLOWED, f"{name} in half precision")
        shutil.copyfile(halved, file)
    spent = zoo.cost(twin)
    card = {
        "model": architecture,
        "weights": weights,
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "design": design,
        "input_shape": list(config["data"]["image_shape"]),
        "input_range": [0, 255],
        "classes": config["data"]["classes"],
        "parameters": spent.parameters,
        "multiply_adds": spent.multiply_adds,
        "test": measure(twin, data),
        "data": {
            "name": pathlib.Path(config["data"]["name"]).stem,
            "sha256": config["data"]["sha256"],
            "counts": {split: sum(each.values()) for split, each in config["data"]["counts"].items()},
        },
        "training": pretrained_card.training(config, *history, rundir.read_json(run / "metrics.json"), note),
    }
    pretrained_card.write(card)
    return card


def measure(model: keras.Model, data: Any) -> dict[str, Any]:
    """Accuracy with Wilson's 95 % interval, crossentropy, and on how many images; on the test split."""
    metrics, _, _ = evaluate.score(model, data, "test")
    low, high = wilson(metrics["accuracy"], metrics["n"])
    return {**metrics, "low": low, "high": high}


def halve(model: keras.Model, file: pathlib.Path) -> None:
    """Writes a model's weights as Keras does, kernels in half precision.

    What has one axis only, biases and normalization, is small and stays in single precision: moving variances may
    exceed what half precision can hold.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = pathlib.Path(folder) / "model.weights.h5"
        model.save_weights(whole)
        with h5py.File(whole) as source, h5py.File(file, "w") as target:

            def copy(path, item):
                if isinstance(item, h5py.Dataset):
                    array = item[()]
                    if array.ndim > 1 and array.dtype == np.float32:
                        array = array.astype(np.float16)
                        if not np.isfinite(array).all():
                            raise ValueError(f"{path} has values that half precision cannot hold.")
                    # kernels are noise to a compressor but for their exponents, which shuffling puts side by side
                    options = {"compression": "gzip", "shuffle": True} if array.size > 1000 else {}
                    target.create_dataset(path, data=array, **options)
                else:
                    target.require_group(path).attrs.update(item.attrs)

            source.visititems(copy)


def _check_same(before, after, allowed, what):
    difference = float(np.abs(before - after).max() / before.std())
    if not difference <= allowed:
        raise ValueError(
            f"{what} answers otherwise than the run's model: logits differ by {difference:.3f} of their deviation, "
            f"allowed are {allowed}. Does design name everything that the recipe's model has?"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="the directory of a finished run")
    parser.add_argument("name", help="MODEL:WEIGHTS")
    parser.add_argument("--design", default="{}", help="of the model, as a Python dictionary: \"{'width': 0.5}\"")
    parser.add_argument("--suffix", default="", help="of the file's name, for a second width: -w025")
    parser.add_argument("--note", default="", help="of the hardware: shared with other work")
    chosen = parser.parse_args()
    made = ship(chosen.run, chosen.name, ast.literal_eval(chosen.design), chosen.suffix, chosen.note)
    print(json.dumps({key: made[key] for key in ("file", "bytes", "test")}, indent=1))
