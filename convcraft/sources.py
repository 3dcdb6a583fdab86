"""Trained models as the command line's SOURCE names them: a run's directory or a `.keras` file."""

import os
import pathlib
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def trained(name: str) -> tuple[pathlib.Path, pathlib.Path]:
    """(the model's file, what was given) for a run's directory or a `.keras` file."""
    given = pathlib.Path(name)
    path = given / "model.keras" if given.is_dir() else given
    if given.is_dir():
        if not (given / "config.json").exists():
            raise FileNotFoundError(f"{given} is no run: it has no config.json.")
        _json(given / "config.json")
    if not path.exists():
        why = " yet: its training is not finished" if given.is_dir() else ""
        raise FileNotFoundError(f"There is no {path}{why}.")
    if path.suffix != ".keras":
        raise ValueError(f"Expected a run's directory or a .keras file, received {name!r}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no Keras model, or is cut short: a .keras file is a whole zip archive.")
    return path, given


def load(path: pathlib.Path) -> "keras.Model":
    """The model of a `.keras` file; it must take images."""
    from convcraft import zoo

    try:
        net = zoo.load_model(path)
    except Exception as error:  # whatever Keras stumbles over in a file
        if os.environ.get("CONVCRAFT_DEBUG"):
            raise
        said = " ".join(str(error).split())
        raise ValueError(f"Keras cannot load {path}: {type(error).__name__}: {said[:300]}") from None
    if len(getattr(net, "input_shape", None) or ()) != 4:
        raise ValueError(f"Expected a model of images, (height, width, channels); {path} is none.")
    return net


def _json(path: pathlib.Path) -> Any:
    import json

    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Expected JSON in {path}; received: {error}.") from None


def seconds(run: pathlib.Path) -> float | None:
    """How long a run's training took; None where its metrics.json does not stand."""
    path = run / "metrics.json"
    return _json(path).get("seconds") if path.exists() else None
