"""Start small: from a linear model up, while validation improves by more than its own noise."""

import json
import os
import pathlib
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from convcraft import zoo
from convcraft.layers import ClassNames, Model

from .. import distribute, evaluate, rundir
from ..data import Data
from ..restoring import same_draws
from ..runs import save_model
from .growth import Grown, Growth, chance

FIRST = (1, 0.25)  # depth and width of the smallest plain_cnn: 8 filters in its first stage
Build = Callable[[int], keras.Model | None]


def grow(
    data: Data,
    build: Build | None = None,
    *,
    epochs: int = 15,
    learning_rate: float = 2e-3,
    level: float = 0.05,
    patience: int = 2,
    most: int = 12,
    seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
    verbose: bool = False,
) -> Grown:
    """Trains larger and larger models while validation improves, and keeps the smallest that no larger one beats.

    It begins with a linear model (softmax of the pixels). Then come plain networks, `plain_cnn` with batch
    normalization: first one of depth 1 and a quarter of the width; from each size a deeper one and one of twice the
    width, of which the better is gone on from. It ends after `patience` rounds that beat neither the kept model nor the
    round before: the smallest networks may do worse than the linear model, and those after them better.

    A larger model is better if it beats the kept one in an exact McNemar test on the same validation images: of those
    that only one of the two gets right, so many are the larger one's that by tossing a coin this happens with a chance
    below `level`. Five images that are won and none that is lost are the least that can be told apart at 0.05: a small
    validation set chooses small models.

    Args:
        data: a `training.data.Data` with validation images.
        build: a function from a step, 0 and up, to a model of these images, larger each time, or None to end; compiled
            or not. Then the sizes are its own.
        epochs: of each training.
        learning_rate: Adam's, which falls along a cosine; of models that `build` has compiled their own holds.
        level: see above.
        patience: rounds in a row that beat nothing, after which it ends.
        most: trainings.
        seed: of the first weights.
        directory: where models and results are kept, so that a search that was broken off goes on; in the end it has
            model.keras and steps.json. None: nothing is written.
        verbose: whether to print each size.

    Returns:
        A `Grown`, with `model`, `chosen` and `steps`.

    Raises:
        ValueError: without validation images, for numbers that make no sense, and a directory of another search, be it
            other data, other options, or another `build`.

    Example:
        >>> from convcraft import training
        >>> x = np.random.default_rng(0).integers(0, 255, (200, 4, 4, 1), "uint8")
        >>> bright = training.data.load((x, (x[:, 0, 0, 0] > 127).astype("int32")), validation=0.4)
        >>> grow(bright, epochs=3, most=1).chosen.name
        'linear'

    Reference:
        Notes on designing CNNs: "start small, and add capacity while validation improves". McNemar 1947, "Note on the
        sampling error of the difference between correlated proportions".
    """
    if data.masks:
        raise ValueError("grow: expected data with a class for each image, received one for each pixel.")
    if "val" not in data.counts:
        raise ValueError("grow: expected data with validation images, received none: load it with validation=0.2.")
    for name, value in (("epochs", epochs), ("patience", patience), ("most", most)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"grow: expected {name} to be a whole number from 1 on; received {value!r}.")
    if not 0 < level < 1 or not 0 < learning_rate < float("inf"):
        raise ValueError(f"grow: expected 0 < level < 1 and learning_rate > 0; received {level} and {learning_rate}.")
    settings = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "level": level,
        "seed": seed,
        "own": build is not None,
    }
    search = _Search(data, build, settings, directory, verbose)
    place: Any = None if build is None else 0
    kept = search.tried(place)
    if kept is None:
        raise ValueError("grow: expected build(0) to return a model, received None.")
    before, failed, steps = kept, 0, [kept]
    while failed < patience and len(steps) < most:
        sizes = search.after(place)[: most - len(steps)]
        found = [(step, size) for size in sizes if (step := search.tried(size)) is not None]
        if not found:
            break
        steps += [step for step, _ in found]
        for step, _ in found:
            step.chance, step.kept = chance(step.right, kept.right), False
        best, place = max(found, key=lambda pair: (pair[0].right.sum(), -pair[0].parameters))
        better = chance(best.right, kept.right) < level
        failed = 0 if better or chance(best.right, before.right) < level else failed + 1
        before = best
        if better:
            kept, best.kept = best, True
        search.forget(steps, kept)
    return Grown(search.finish(steps, kept), kept, steps, level)


def _made_of(model: keras.Model) -> int:
    """The same number for the same layers, whatever Keras calls them."""
    layers = [
        (type(layer).__name__, getattr(getattr(layer, "activation", None), "__name__", ""))
        + tuple(tuple(variable.shape) for variable in layer.variables)
        for layer in model._flatten_layers(include_self=False)
    ]
    return zlib.crc32(repr(layers).encode())


class _Search:
    """Sizes, trained once each, and what is kept of them on disk."""

    def __init__(self, data, build, settings, directory, verbose):
        self.data, self.build, self.settings, self.verbose = data, build, settings, verbose
        self.models: dict[str, keras.Model] = {}
        self.done: dict[str, Growth] = {}
        self.directory: Any = None if directory is None else pathlib.Path(directory)
        if self.directory and (self.directory / "steps.json").exists():
            self._read()
        elif self.directory and self.directory.exists() and any(self.directory.iterdir()):
            raise ValueError(f"grow: {self.directory} holds something else. Expected a new directory, or none.")

    def after(self, size):
        """The next larger ones: after the linear model the first network; then deeper, wider."""
        if self.build:
            return [size + 1]
        return [FIRST] if size is None else [(size[0] + 1, size[1]), (size[0], 2 * size[1])]

    def tried(self, size) -> Growth | None:
        """What comes of a size; None where `build` has no more."""
        name = f"step {size}" if self.build else "linear" if size is None else f"depth {size[0]}, width {size[1]:g}"
        if self.build and name in self.done:
            self._known(size, self.done[name])
        if name not in self.done:
            with same_draws():
                random.seed(self.settings["seed"])
                np.random.seed(self.settings["seed"])
                model = self._model(size)
                if model is None:
                    return None
                self.done[name] = self._trained(name, model)
            self.models[name] = model
            if self.directory:
                self.directory.mkdir(parents=True, exist_ok=True)
                save_model(model, self._file(name))
                self._write()
        step = self.done[name]
        if self.verbose:
            said = f"{100 * step.accuracy:.2f} % of {len(step.right)} validation images"
            print(f"{step.name}: {step.parameters:,} parameters, {said}, {step.seconds:.0f} s", flush=True)
        return step

    def _known(self, size, step):
        """Refuses to go on where `build` now makes another model of a size that was trained."""
        with same_draws():
            model = self.build(size)
        if model is None or _made_of(model) != step.made_of:
            now = "none" if model is None else f"one of {model.count_params():,} parameters and other layers"
            raise ValueError(
                f"grow: {self.directory} holds the search of another build: its model of step {size} has "
                f"{step.parameters:,} parameters, build({size}) now makes {now}. Expected the same build, to go on, "
                "or another directory."
            )

    def forget(self, steps, kept):
        """Leaves only the kept model, in memory and on disk."""
        for step in steps:
            if step is not kept:
                self.models.pop(step.name, None)
                if self.directory:
                    self._file(step.name).unlink(missing_ok=True)

    def finish(self, steps, kept):
        """The kept model; on disk it becomes model.keras, and the steps say what became of them."""
        if kept.name not in self.models:
            files = [self._file(kept.name), self.directory / "model.keras"]
            self.models[kept.name] = zoo.load_model(next(file for file in files if file.exists()))
        if self.directory:
            save_model(self.models[kept.name], self.directory / "model.keras")
            self._write()
            self._file(kept.name).unlink(missing_ok=True)
        return self.models[kept.name]

    def _model(self, size):
        data = self.data
        if self.build:
            return self.build(size)
        if size is None:
            x = inputs = keras.Input(data.image_shape, name="images")
            x = keras.layers.Flatten(name="pixels")(keras.layers.Rescaling(1 / 127.5, -1, name="preprocess")(x))
            x = keras.layers.Dense(len(data.class_names), name="logits")(x)
            return Model(inputs, ClassNames(data.class_names, name="classes")(x), name="linear")
        depth, width = size
        design = zoo.Design(depth=depth, width=width, normalization="batch")
        # each stage halves the image: no more of them than leave 4 pixels across
        stages = max(1, min(4, int(np.log2(min(data.image_shape[:2]) / 4))))
        return zoo.create("plain_cnn", data.class_names, data.image_shape, design=design, stages=stages)

    def _trained(self, name, model):
        data, epochs = self.data, self.settings["epochs"]
        if not getattr(model, "compiled", False):
            steps = epochs * data.feed("train").steps
            rate = keras.optimizers.schedules.CosineDecay(self.settings["learning_rate"], steps)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.Adam(rate), loss, jit_compile=distribute.compile_xla())
        began = time.monotonic()
        model.fit(data.feed("train", auto_epoch=True).dataset(), epochs=epochs, shuffle=False, verbose=0)
        seconds = time.monotonic() - began
        _, labels, probabilities = evaluate.score(model, data, "val")
        right = probabilities.argmax(axis=1) == labels
        spent = zoo.cost(model)
        counted = (spent.parameters, spent.multiply_adds)
        return Growth(name, *counted, float(right.mean()), seconds, right=right, made_of=_made_of(model))

    def _file(self, name):
        return self.directory / f"{name.replace(', ', '-').replace(' ', '-')}.keras"

    def _write(self):
        rows = [asdict(step) | {"right": "".join(map(str, step.right.astype(int)))} for step in self.done.values()]
        rundir.write_json(
            self.directory / "steps.json", {"settings": self.settings, "sha256": self.data.sha256, "steps": rows}
        )

    def _read(self):
        found = rundir.read_json(self.directory / "steps.json")
        now = json.loads(json.dumps({"settings": self.settings, "sha256": self.data.sha256}))
        for key, value in now.items():
            if found[key] != value:
                raise ValueError(
                    f"grow: {self.directory} holds another search ({key}: {found[key]}; now {value}). Expected the "
                    "same data and options, to go on with it, or another directory."
                )
        for row in found["steps"]:
            row["right"] = np.array([letter == "1" for letter in row["right"]])
            self.done[row["name"]] = Growth(**row)
