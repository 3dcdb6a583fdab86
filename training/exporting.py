"""Trained models for other runtimes, each checked on real pictures before it counts as exported."""

import importlib
import importlib.util
import os
import pathlib
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .data.images import resize, to_channels

SUFFIXES = {"onnx": ".onnx", "tflite": ".tflite"}
FORMATS = ("savedmodel", *SUFFIXES)
BACKENDS = {"savedmodel": ("tensorflow",), "onnx": ("tensorflow", "torch"), "tflite": ("tensorflow",)}
NEEDS = {"onnx": {"tensorflow": ("onnx", "tf2onnx", "onnxruntime"), "torch": ("onnx", "onnxscript", "onnxruntime")}}
OPEN = 224  # the size at which models that take any are checked
TOLERANCE = 1e-3  # of the largest output: what 32 bits lose over a hundred layers in another order of sums


@dataclass(frozen=True)
class Exported:
    """A file or folder for another runtime.

    Attributes:
        path: where it is.
        format: "savedmodel", "onnx" or "tflite".
        difference: the largest between its outputs and Keras's, on `pictures` images.
        largest: of Keras's outputs, by magnitude.
        pictures: how many images were compared.
    """

    path: pathlib.Path
    format: str
    difference: float
    largest: float
    pictures: int


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    images: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Writes a model for another runtime, runs it there, and compares its outputs with Keras's.

    What only training needs is left out. Nothing is at `path` until the comparison is passed.

    Args:
        model: raw 0-255 images to outputs.
        path: of the new file; for "savedmodel" of the new folder.
        format: "savedmodel" (TensorFlow Serving), "onnx" or "tflite" (LiteRT); None: by the suffix of `path`.
        images: float32 (n, height, width, channels), to compare on; None: pieces of the two photographs that come
            with scikit-learn.
        tolerance: how far outputs may differ, as a share of the largest.

    Returns:
        An `Exported`.

    Raises:
        ValueError: for outputs that differ, a runtime that refuses the file, and formats that this backend has not.
        FileExistsError: where `path` exists.

    Example:
        >>> export(keras.Sequential(), "model.pt")
        Traceback (most recent call last):
        ValueError: Expected FILE to end in .onnx or .tflite, or a format; received 'model.pt'.
    """
    from convcraft import zoo

    path = pathlib.Path(path)
    format = kind_of(path, format)
    if path.exists():
        raise FileExistsError(f"{path} exists already: choose another name, or remove it.")
    model = zoo.without_auxiliary(model)
    images = photographs(model) if images is None else np.asarray(images, "float32")
    expected = np.asarray(model.predict(images, verbose=0))  # Keras wants a model called before it exports one
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".exporting-") as folder:
        made = pathlib.Path(folder) / f"model{SUFFIXES.get(format, '')}"
        keras_format = {"savedmodel": "tf_saved_model", "tflite": "litert"}.get(format, format)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converters warn of their own doing
            model.export(made, format=keras_format, verbose=False)
        try:
            found = RUNTIMES[format](made, images)
        except Exception as error:  # each runtime has errors of its own
            hint = (
                ". KERAS_BACKEND=torch exports grouped convolutions" if "StatefulPartitionedCall" in str(error) else ""
            )
            said = " ".join(str(error).split())[:200]
            raise ValueError(f"{model.name} as {format} does not run ({said}){hint}; {path} is not written.") from error
        difference, largest = float(np.abs(found - expected).max()), float(np.abs(expected).max())
        if not difference <= tolerance * largest:  # also for what is no number
            raise ValueError(
                f"{model.name} as {format} gives other outputs than Keras: they differ by up to {difference:.2g} where "
                f"the largest is {largest:.2g}, expected {tolerance * largest:.2g} at most; {path} is not written."
            )
        shutil.move(made, path)
    return Exported(path, format, difference, largest, len(images))


def kind_of(path: pathlib.Path, format: str | None) -> str:
    """The format that is meant, where it can be made here.

    Raises:
        ValueError: for an unknown format, a suffix that is another's, and what is missing.
    """
    if format not in (None, *FORMATS):
        raise ValueError(f"Expected format to be one of {', '.join(FORMATS)}; received {format!r}.")
    by_suffix = {suffix: name for name, suffix in SUFFIXES.items()}.get(path.suffix)
    if format is None and by_suffix is None and path.suffix:
        raise ValueError(f"Expected FILE to end in .onnx or .tflite, or a format; received {path.name!r}.")
    format = format or by_suffix or "savedmodel"
    if SUFFIXES.get(format, "") != (path.suffix if format in SUFFIXES or by_suffix else ""):
        raise ValueError(f"Expected {SUFFIXES.get(format, 'no suffix')} for {format}; received {path.name!r}.")
    backend = keras.backend.backend()
    if backend not in BACKENDS[format]:
        raise ValueError(
            f"Keras exports {format} from {' and '.join(BACKENDS[format])}, not from {backend}: set "
            f"KERAS_BACKEND={BACKENDS[format][0]}; the .keras file is the same."
        )
    missing = [name for name in NEEDS.get(format, {}).get(backend, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"{format} needs {', '.join(missing)}: pip install {' '.join(missing)}.")
    return format


def photographs(model: keras.Model, count: int = 4) -> np.ndarray:
    """Pieces of two real photographs (scikit-learn's china.jpg and flower.jpg) in the shape that a model takes."""
    from sklearn.datasets import load_sample_images

    height, width, channels = model.input_shape[1:]
    size = (height or OPEN, width or OPEN)
    pieces = []
    for number in range(count):
        photo = load_sample_images().images[number % 2]
        high, wide = photo.shape[0] // (1 + number // 2), photo.shape[1] // (1 + number // 2)
        pieces.append(resize(photo, size, (0, 0, wide, high)))
    stack = np.stack(pieces)
    if channels in (1, 3):
        stack = to_channels(stack, channels)
    else:
        stack = np.resize(stack.transpose(3, 0, 1, 2), (channels, *stack.shape[:3])).transpose(1, 2, 3, 0)
    return stack.astype("float32")


def _saved_model(path, images):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # kept: its variables go with it
    serve = loaded.signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    (outputs,) = serve(**{name: tf.constant(images)}).values()
    return outputs.numpy()


def _onnx(path, images):
    session = importlib.import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def _tflite(path, images):
    own = importlib.util.find_spec("ai_edge_litert") is not None  # TensorFlow's will leave it
    runtime = importlib.import_module("ai_edge_litert.interpreter" if own else "tensorflow").__dict__
    interpreter = (runtime["Interpreter"] if own else runtime["lite"].Interpreter)(model_path=str(path))
    (given,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(out["index"])


RUNTIMES: dict[str, Callable[[pathlib.Path, np.ndarray], Any]] = {
    "savedmodel": _saved_model,
    "onnx": _onnx,
    "tflite": _tflite,
}
