"""Trained models as the command line's SOURCE names them: a run's directory, a `.keras` file, or MODEL:WEIGHTS."""

import contextlib
import json
import os
import pathlib
import re
import sys
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import catalog

if TYPE_CHECKING:
    import keras

HELP = "a run's directory, a .keras file, or MODEL:WEIGHTS as squeezenet1_1:imagenet or resnet18:mine.npz"


@dataclass(frozen=True)
class Source:
    """What SOURCE stands for, found without Keras.

    Attributes:
        said: as it was typed.
        file: the `.keras` file; None for MODEL:WEIGHTS.
        run: the run's directory, where it is one.
        model: the name in the zoo of MODEL:WEIGHTS.
        weights: the name or the path of MODEL:WEIGHTS.
    """

    said: str
    file: pathlib.Path | None = None
    run: pathlib.Path | None = None
    model: str = ""
    weights: str = ""


def find(said: str) -> Source:
    """What SOURCE stands for.

    Raises:
        ValueError, OSError: where there is no such thing, saying what is missing.
    """
    given = pathlib.Path(said)
    if not given.exists() and (parts := model_and_weights(said)):
        return Source(said, model=parts[0], weights=parts[1])
    path = given / "model.keras" if given.is_dir() else given
    if given.is_dir():
        if not (given / "config.json").exists():
            raise FileNotFoundError(f"{given} is no run: it has no config.json.")
        read_json(given / "config.json")
    if not path.exists():
        why = " yet: its training is not finished" if given.is_dir() else ""
        raise FileNotFoundError(f"There is no {path}{why}.")
    if path.suffix != ".keras":
        raise ValueError(f"Expected a run's directory, a .keras file, or MODEL:WEIGHTS; received {said!r}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no Keras model, or is cut short: a .keras file is a whole zip archive.")
    return Source(said, path, given if given.is_dir() else None)


def model_and_weights(said: str) -> tuple[str, str] | None:
    """The parts of MODEL:WEIGHTS, checked as far as can be without Keras; None for what has not this form.

    Raises:
        ValueError, OSError: for a model that there is not, or weights that it has not.
    """
    from convcraft.zoo import index

    name, colon, weights = said.partition(":")
    if name.lower() in catalog.entries("model") and not weights:
        published = index.names_of(name.lower())
        those = f"{name}:{published[0]}" if published else f"{name}:PATH (no weights of it are published)"
        raise ValueError(f"Expected MODEL:WEIGHTS, for the model alone has learned nothing: {those}.")
    if not colon or {"/", "\\"} & set(name) or len(name) == 1:  # a path; on Windows with its drive
        return None
    name = catalog.require(name, ["model"])
    is_path = {"/", "\\", "."} & set(weights)
    if is_path and not pathlib.Path(weights).expanduser().is_file():
        raise FileNotFoundError(f"There is no file of weights {weights!r}.")
    if not is_path and weights not in index.names_of(name):
        known = "".join(f"{name}:{each}, or " for each in index.names_of(name))
        raise ValueError(f"There are no weights named {weights!r} of {name}: expected {known}a file's path.")
    return name, weights


def load(source: Source) -> "keras.Model":
    """The model of a source; it must take images, and tells what it sees by the names of its classes."""
    from convcraft import zoo

    if source.file is None:
        return _of_the_zoo(source.model, source.weights)
    try:
        with warnings.catch_warnings():  # nothing here needs what an optimizer remembers
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            net = zoo.load_model(source.file)
    except Exception as error:  # whatever Keras stumbles over in a file
        if os.environ.get("CONVCRAFT_DEBUG"):
            raise
        raise ValueError(f"Keras cannot load {source.file}: {_reason(error)}") from None
    if not isinstance(getattr(net, "input_shape", None), tuple) or len(net.input_shape) != 4:
        raise ValueError(f"Expected a model of images, (height, width, channels); {source.file} is none.")
    return net


def _reason(error: Exception) -> str:
    """Why Keras cannot load a file, without the whole model's configuration before it."""
    said = " ".join(str(error).split())
    missing = re.search(r"Could not locate (?:class|function) '([^']+)'", said)
    if missing:
        return (
            f"it holds {missing[1]}, which is neither Keras's nor convcraft's. Load it in Python where {missing[1]} is "
            "defined, with keras.saving.load_model; convcraft.training.fine_tune takes the model."
        )
    return f"{type(error).__name__}: {said[:300]}"


def load_for_raw(source: Source, preprocessing: str | None) -> "keras.Model":
    """The model of a source, behind the preprocessing that it lacks, which is told on stderr.

    Args:
        source: of `find`.
        preprocessing: what a model without preprocessing of its own was trained on: raw, 0-1, tf, torch or caffe; None
            or "": what is known of keras.applications.

    Raises:
        ValueError: for `preprocessing` of a model that preprocesses images itself.
    """
    net = load(source)
    if not preprocessing and (source.file is None or source.run):  # ours, and recipes', take raw images
        return net
    from convcraft.training.tuning.preprocessing import raw

    try:
        made, done = raw(net, preprocessing or None)
    except ValueError:  # nothing tells which images it was trained on
        if preprocessing:
            raise
        print(
            f"convcraft: {source.said} has no layer that preprocesses images: it is fed raw ones, 0-255. Where it was "
            "trained on others, add --preprocessing 0-1, tf, torch or caffe.",
            file=sys.stderr,
        )
        return net
    if made is not net:
        print(f"convcraft: {source.said} takes {done}.", file=sys.stderr)
        if getattr(net, "loss", None) is not None:  # which tells what its outputs mean
            made.compile(loss=net.loss)
    return made


def names(source: Source, model: "keras.Model") -> list[str] | None:
    """The names of a model's classes; None where they are only the numbers that stand for names nobody gave."""
    from convcraft import zoo

    found = zoo.class_names(model)
    if source.run:  # its data named them, if by numbers, as the digits
        return found
    return None if found == [str(number) for number in range(len(found or ()))] else found


def _of_the_zoo(model, weights):
    from convcraft import zoo
    from convcraft.training.imagenet_names import imagenet_names

    if {"/", "\\", "."} & set(weights):
        with contextlib.redirect_stdout(sys.stderr):  # what was skipped is no part of an answer
            return zoo.convert(model, pathlib.Path(weights).expanduser(), whole=True)
    if weights != "imagenet":
        return zoo.create(model, weights=weights)
    try:
        classes: Sequence[str] | None = imagenet_names()
    except OSError as error:
        print(f"convcraft: The classes have numbers in place of names. {error}", file=sys.stderr)
        classes = None
    return zoo.create(model, classes, weights=weights)


def read_json(path: pathlib.Path) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Expected JSON in {path}; received: {error}.") from None


def seconds(run: pathlib.Path) -> float | None:
    """How long a run's training took; None where its metrics.json does not stand."""
    path = run / "metrics.json"
    return read_json(path).get("seconds") if path.exists() else None
