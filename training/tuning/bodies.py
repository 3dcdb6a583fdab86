"""What a pretrained model has learned, without its classifier: raw images in, features out."""

import os
import pathlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import keras
import numpy as np

from convcraft import catalog, zoo
from convcraft.layers import Model
from convcraft.sources import Source
from convcraft.sources import find as find_source
from convcraft.sources import load as load_source
from convcraft.zoo import shipped
from convcraft.zoo.graphs import give_weights, is_model

from .. import rundir
from . import classifiers
from .preprocessing import INPUTS, behind, leaves, preprocesses, raw

TILES = 3  # a side; where in the image something is matters more to early features than to late ones
SMALLEST = 64


@dataclass(frozen=True)
class Body:
    """A network without its classifier.

    Attributes:
        model: raw 0-255 images to one vector an image; it shares the layers of the pretrained model.
        name: of the pretrained model.
        head: name of the layer that was its classifier; None where it had none.
        levels: name of a layer to its map of features, (n, height, width, channels), finest first; one a resolution.
        said: what was found and done, in words.
        answers: the classifier's kernel and bias on the vector; None where it had none, or a less simple one.
        names: of the classes that they answer for; None where nothing says so.
    """

    model: Model
    name: str
    head: str | None
    levels: dict[str, Any]
    said: tuple[str, ...] = ()
    answers: tuple[np.ndarray, np.ndarray] | None = None
    names: tuple[str, ...] | None = None

    def layers(self) -> list[keras.layers.Layer]:
        """All layers, those within nested models too, in the order of the signal."""
        return list(leaves(self.model))


def find(
    model: keras.Model | str | os.PathLike[str],
    image_shape: Sequence[int],
    *,
    preprocessing: str | None = None,
    pretrained: bool = True,
) -> Body:
    """The body of a pretrained model, for images of this shape.

    Args:
        model: MODEL:WEIGHTS, a `.keras` file, a run's directory, or a functional or sequential Keras model, with its
            classifier or without.
        image_shape: (height, width, channels) of the images to come.
        preprocessing: what the model expects of a Keras model that does not preprocess its images itself: "raw" is
            0-255, "0-1", and as in keras.applications "tf" -1..1, "torch", "caffe". None: known of keras.applications.
        pretrained: False for the architecture alone, with new weights.

    Raises:
        ValueError: for a model whose classifier or preprocessing cannot be told, or that takes other images.
    """
    if preprocessing is not None and preprocessing not in INPUTS:
        raise ValueError(f"Expected preprocessing to be one of {', '.join(INPUTS)}; received {preprocessing!r}.")
    given = not isinstance(model, str | os.PathLike)
    found = model if given else load(model, tuple(image_shape), pretrained)
    found, said = _of_keras_hub(found)
    wanted = input_shape(found)
    if any(w not in (None, g) for w, g in zip(wanted, image_shape, strict=True)):
        shapes = ["x".join("any" if n is None else str(n) for n in shape) for shape in (wanted, image_shape)]
        size = wanted[0] if wanted[0] == wanted[1] else tuple(wanted[:2])
        raise ValueError(
            f"{found.name} takes images of {shapes[0]}, the data are {shapes[1]}. Load the data with size={size}, "
            f"channels={wanted[2]}; leave image_size to what the model takes."
        )
    if given:  # the user's own stays as it is
        found = _copy(found, pretrained)
    found = zoo.without_auxiliary(found)
    features, last = classifiers.find(found)
    features = classifiers.without_dropout(features)
    head = last and last.name
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(name=free("pool", found))(features)
    elif len(features.shape) != 2:
        raise ValueError(f"Expected features of {found.name} to be maps or vectors; received {features.shape}.")
    body = Model(found.inputs[0], features, name=found.name)
    none = f"it has no classifier to replace: its {features.shape[-1]} outputs are the features"
    said += [f"its classifier {head!r} and what follows it" if head else none]
    body, change = raw(body, preprocessing)
    known, names = classifiers.answers(last, features.shape[-1]), zoo.class_names(found)
    named = tuple(names) if names and known and len(names) == known[0].shape[1] else None
    return Body(body, found.name, head, _levels(body), (*said, change), known, named)


def input_shape(model: Any) -> tuple[int | None, ...]:
    """(height, width, channels) of a model's images, None where any will do.

    Raises:
        ValueError: for what is no functional or sequential model of images.
    """
    model = getattr(model, "backbone", model)  # of a task of keras-hub
    if isinstance(model, keras.Sequential) and not model.built:
        raise ValueError(
            f"{model.name} does not know its images yet: begin it with keras.Input((height, width, 3)), or call "
            "build((None, height, width, 3)) first."
        )
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ValueError(
            f"Expected MODEL:WEIGHTS, a .keras file, or a functional or sequential Keras model; received {model!r}. A "
            "model class of your own has no graph of layers to look into: pass its functional body."
        )
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        raise ValueError(f"Expected {model.name} to have one input, a batch of images.")
    return tuple(model.inputs[0].shape[1:])


def load(source: str | os.PathLike[str], image_shape: tuple[int, ...], pretrained: bool = True) -> keras.Model:
    """The model that a text names: MODEL:WEIGHTS, a `.keras` file or a run's directory."""
    named = _named(source)
    name, weights = named.model, named.weights
    if named.file:
        model = load_source(named)
        return model if pretrained else _copy(model, False)
    if not pretrained and shipped.of(name, weights):  # as wide as the one with weights, and with its stem
        return _copy(zoo.create(name, input_shape=image_shape, weights=weights), False)
    if not pretrained:
        knobs = zoo.info(name).knobs
        bare = zoo.create(name, input_shape=image_shape)
        normal = any(isinstance(layer, keras.layers.BatchNormalization) for layer in bare.layers)
        if normal or "normalization" not in knobs:
            return bare
        # nothing pretrained needs to fit: what the paper's network of its day lacks to learn fast
        return zoo.create(name, input_shape=image_shape, design=zoo.Design(normalization="batch"))
    if not weights:
        those = " or ".join(f"{name}:{each}" for each in zoo.info(name).weights) or f"{name}:PATH"
        raise ValueError(f"Expected MODEL:WEIGHTS, for {name} alone has learned nothing: {those}, or policy scratch.")
    if re.search(r"[/\\.]", weights):
        return zoo.convert(name, pathlib.Path(weights).expanduser(), input_shape=image_shape)
    return zoo.create(name, input_shape=image_shape, weights=weights)


def _copy(model: keras.Model, pretrained: bool) -> keras.Model:
    """A model of layers of its own, with the same weights, or with new ones behind the same preprocessing."""
    copy = keras.models.clone_model(model)
    if not pretrained:
        kept, taken = ([x for x in net._flatten_layers() if preprocesses(x)] for net in (model, copy))
        for old, new in zip(kept, taken, strict=True):
            new.set_weights(old.get_weights())
    give_weights(copy, (model if pretrained else copy).get_weights())
    return copy


@lru_cache(maxsize=8)
def documented_shape(source: str) -> tuple[int | None, int | None, int]:
    """(height, width, channels) that a model is made for, by its text; None where any will do."""
    named = _named(source)
    height, width, channels = shape_of_files(load_source(named)) if named.file else zoo.info(named.model).input_shape
    return height, width, channels or 3


def shape_of_files(model: keras.Model) -> tuple[int | None, int | None, int | None]:
    """As `input_shape`, for images that are to be read from files: grey or in colour."""
    height, width, channels = input_shape(model)
    if channels not in (None, 1, 3):
        raise ValueError(f"Expected a model of grey or colour images; {model.name} takes {channels} channels.")
    return height, width, channels


def fixed_size(source: str) -> bool:
    """Whether a model takes images of one size only."""
    return _named(source).file is not None and None not in documented_shape(source)[:2]


def learned_side(source: str) -> int:
    """The larger side, in pixels, of the images that weights were trained on; 0 where nothing says so."""
    named = _named(source)
    if named.run:
        shape = rundir.read_json(named.run / "config.json").get("data", {}).get("image_shape", ())
    else:
        shape = next((card["input_shape"] for card in shipped.of(named.model, named.weights)), ())
    return max(shape[:2], default=0)


def _named(source: str | os.PathLike[str]) -> Source:
    """What a text stands for; a model's name alone is its architecture."""
    text = os.fspath(source)
    if re.fullmatch(r"\w+", text) and not os.path.exists(text):
        return Source(text, model=catalog.require(text, ["model"]))
    return find_source(text)


def _levels(body: Model) -> dict[str, Any]:
    """The map of features of each resolution, finest first, as far as the graph shows them."""
    inner = next((layer for layer in reversed(body.layers) if is_model(layer)), None)
    if inner is not None:  # within a nested model there are no tensors of the outer one
        return {}
    try:
        found = zoo.feature_levels(body)
    except (ValueError, KeyError, AttributeError, IndexError):  # a graph that the zoo's tools do not know
        return {}
    return {level.layer: body.get_layer(level.layer).output for level in found if level.level}


def free(name: str, model: keras.Model) -> str:
    """A name that no layer of the model has."""
    taken = {layer.name for layer in model.layers}
    return next(each for each in (name, *(f"{name}_{n}" for n in range(2, 99))) if each not in taken)


def _of_keras_hub(model: Any) -> tuple[Any, list[str]]:
    """The backbone of a keras-hub task behind its own preprocessing; anything else as it is."""
    backbone, preprocessor = getattr(model, "backbone", None), getattr(model, "preprocessor", None)
    if not isinstance(backbone, keras.Model):
        return model, []
    convert = getattr(preprocessor, "image_converter", None)
    scale, offset = getattr(convert, "scale", None), getattr(convert, "offset", None)
    if scale is None and offset is None:
        return backbone, [f"the backbone of {model.name}"]
    scale, offset = (1.0 if scale is None else scale), (0.0 if offset is None else offset)
    made = behind(backbone, lambda images: keras.layers.Rescaling(scale, offset, name="preprocess")(images))
    return made, [f"the backbone of {model.name}, with its preprocessing"]
