"""What a network has learned, without its classifier: feature maps by resolution, and one vector an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from convcraft.layers import Model, SlidingDense

from .costs import window
from .graphs import nodes, signals, weighs
from .transfer import bypassing_auxiliary, classifies

# as wide and as high as what they are given, or made only to be cut: not what a module puts out
PASSING = (keras.layers.Dropout, keras.layers.ZeroPadding2D)


@dataclass(frozen=True)
class FeatureLevel:
    """One resolution of a network.

    Attributes:
        level: 1 for half the image's height and width, 2 for a quarter, ….
        stride: 2 to the power of `level`.
        channels: of the map.
        layer: name of the layer that puts it out.
    """

    level: int
    stride: int
    channels: int
    layer: str


def feature_levels(model: keras.Model) -> list[FeatureLevel]:
    """The resolutions of a network, finest first, with the map that `features` gives for each.

    It is the last map of a resolution that all paths through the network lead through: what a stage puts out. Where
    there is none, as between the columns of a fractal net and in an encoder-decoder, it is the last of the longest.

    Args:
        model: a functional model of images, with or without a classifier.

    Example:
        >>> from convcraft import zoo
        >>> net = zoo.create("resnet20_cifar")
        >>> [(level.stride, level.channels) for level in feature_levels(net)]
        [(1, 16), (2, 32), (4, 64)]
    """
    return [level for level, _ in _maps(model)]


def features(model: keras.Model, levels: Sequence[int] | None = None) -> Model:
    """A model that gives feature maps at several resolutions, as detection and segmentation need them.

    Args:
        model: a functional model of images, with or without a classifier.
        levels: of the feature pyramid: level 3 has an eighth of the image's height and width. None: all there are;
            `feature_levels` lists them.

    Returns:
        A `convcraft.Model`: raw 0-255 images in, a dictionary out, as {"P3": map, "P4": map}. It shares its layers
        with `model`; auxiliary classifiers are left out.

    Raises:
        ValueError: for a level that the network does not have.

    Example:
        >>> from convcraft import zoo
        >>> pyramid = features(zoo.create("resnet20_cifar"), levels=(1, 2))
        >>> {name: tuple(x.shape) for name, x in pyramid(np.zeros((1, 32, 32, 3))).items()}
        {'P1': (1, 16, 16, 32), 'P2': (1, 8, 8, 64)}
    """
    # an auxiliary classifier's loss would have no labels here
    model = bypassing_auxiliary(model, clone_function=lambda layer: layer)
    maps = {level.level: tensor for level, tensor in _maps(model)}
    wanted = list(maps) if levels is None else [levels] if isinstance(levels, int) else list(levels)
    if not wanted or any(level not in maps for level in wanted):
        there = ", ".join(f"{level} (1/{2**level})" for level in maps)
        raise ValueError(f"features: expected levels of {model.name} to be among {there}; received {levels!r}.")
    return Model(model.input, {f"P{level}": maps[level] for level in wanted}, name=f"{model.name}_features")


def embed(model: keras.Model, images: Any, batch_size: int = 32) -> np.ndarray:
    """One vector an image: what the classifier sees. For nearest neighbours, an SVM, or a picture of the data.

    Args:
        model: a functional model of images. Of a zoo model's classifier it is the input; of a model without (built
            with head="none", or not of the zoo) the output. Where that is a map, as in networks that classify every
            pixel, it is the map's mean; the means of its tiles where the classifier sees several places at once.
        images: array of raw 0-255 images, (n, height, width, channels).
        batch_size: images at a time.

    Returns:
        A NumPy array, (n, features), float32.

    Raises:
        ValueError: for what is no array of images for this model.

    Example:
        >>> from convcraft import zoo
        >>> embed(zoo.create("resnet20_cifar"), np.zeros((2, 32, 32, 3))).shape
        (2, 64)
    """
    images = np.asarray(images)
    expected = tuple(model.input.shape[1:])
    fits = images.ndim == 4 and all(want in (None, n) for want, n in zip(expected, images.shape[1:], strict=True))
    if not fits:
        raise ValueError(
            f"embed: expected images for {model.name} of shape (n, {', '.join(map(str, expected))}), received "
            f"{images.shape}."
        )
    x, grid = _seen_by_classifier(model)
    if grid != (1, 1):  # of an open size: as many tiles as there are places at the documented one
        x = keras.layers.Flatten()(keras.layers.AdaptiveAveragePooling2D(grid, dtype="float32")(x))
    elif len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    if not len(images):
        return np.zeros((0, x.shape[-1]), "float32")
    vectors = keras.Model(model.input, x).predict(images, batch_size=batch_size, verbose=0)
    return np.asarray(vectors).astype("float32")


def _seen_by_classifier(model):
    """What the first layer of the classifier is given, and how many places of it at once; else what comes out."""
    for node in nodes(model):
        if classifies(node.operation.name):
            slides = isinstance(node.operation, SlidingDense)
            return node.input_tensors[0], node.operation.kernel_size if slides else (1, 1)
    return model.output, (1, 1)


def _maps(model):
    """(FeatureLevel, tensor) of each resolution, finest first."""
    calls = nodes(model)
    made_by = {id(tensor): node for node in calls for tensor in node.output_tensors}
    last = _last_map(model, made_by)
    path = _needed(last, calls, made_by)  # in order
    position = {id(node): number for number, node in enumerate(path)}
    jumps = _jumps(path, made_by, position)
    # id of a tensor: the number of image pixels between two of its own, and of convolutions before it
    strides: dict[int, float] = {}
    depths: dict[int, int] = {}
    found: dict[float, tuple] = {}
    for number, node in enumerate(path):
        layer, inputs, (output, *_) = node.operation, signals(node), node.output_tensors
        # one factor a channel, as of squeeze-and-excitation, tells nothing of places
        places = [t for t in inputs if tuple(t.shape[1:3]) != (1, 1)] or inputs
        stride = max((strides[id(t)] for t in places), default=1) * _step(layer, node)
        depth = max((depths[id(t)] for t in inputs), default=0) + bool(weighs(layer) or hasattr(layer, "multiply_adds"))
        strides[id(output)], depths[id(output)] = stride, depth
        level = math.log2(stride)
        if depth and level == int(level) >= 0 and len(output.shape) == 4 and not isinstance(layer, PASSING):
            rank = (not jumps[number], depth, number)
            if level not in found or found[level][0] < rank:
                found[level] = rank, FeatureLevel(int(level), int(stride), output.shape[-1], layer.name), output
    return [found[level][1:] for level in sorted(found)]


def _last_map(model, made_by):
    """The last images of features, before pooling and head."""
    tensor, _ = _seen_by_classifier(model)
    while id(tensor) in made_by:
        name = made_by[id(tensor)].operation.name
        if len(tensor.shape) == 4 and not name.startswith("head") and name not in ("pool", "pool_tiles"):
            return tensor
        before = made_by[id(tensor)].input_tensors
        if not before:
            break
        tensor = before[0]
    raise ValueError(f"features: expected a model with maps of features, (n, height, width, channels): {model.name}.")


def _needed(last, calls, made_by):
    """The calls that lead to a tensor, in order."""
    needed, waiting = set(), [last]
    while waiting:
        node = made_by[id(waiting.pop())]
        if id(node) not in needed:
            needed.add(id(node))
            waiting.extend(signals(node))
    return [node for node in calls if id(node) in needed]


def _jumps(path, made_by, position):
    """For each call, how many signals pass it by."""
    change = [0] * (len(path) + 1)
    for number, node in enumerate(path):
        for tensor in signals(node):
            change[position[id(made_by[id(tensor)])] + 1] += 1
            change[number] -= 1
    return np.cumsum(change).tolist()


def _step(layer, node):
    """How much coarser a layer's output is than its input."""
    if isinstance(layer, keras.layers.GlobalAveragePooling2D | keras.layers.GlobalMaxPooling2D | keras.layers.Flatten):
        return 1  # of squeeze-and-excitation
    return window(layer, node)[1][0]
