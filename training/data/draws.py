"""What chance decides about an image: the seed of each, and the augmentation that draws from it."""

import types
from collections.abc import Callable
from typing import Any

import numpy as np

Augment = Callable[[Any, Any], Any]
# (float32 images [n, h, w, c], int32 seeds [n]) -> images: pure, in TensorFlow's graph or on NumPy arrays

MIXING = 0x2545F491
"""Tells the draw that mixes a batch from the one that changes its first image."""

SIDES = 2**40
"""Stands for the epoch in the draw of the side that `alternate_flip` begins with: no run comes so far."""


def augmentation(augment: Any, mirror: bool = True) -> Augment | None:
    """Returns what `augment` stands for as a function (images, seeds) -> images, or None.

    Args:
        augment: None; a function; the name of a pipeline of `layers.RandomTransform`, or a list of its
            transformations, which all apply; one of our augmentation layers; any other layer, which then is wrapped
            in a `RandomTransform` (see there how it draws).
        mirror: whether a pipeline may mirror left and right.

    Raises:
        ValueError: for anything else.

    Example:
        >>> augmentation("light")(np.zeros((2, 8, 8, 1), "float32"), np.array([1, 2], "int32")).shape == (2, 8, 8, 1)
        True
    """
    if augment is None or isinstance(augment, (types.FunctionType, types.MethodType)):
        return augment
    import keras

    from convcraft.layers import RandomTransform
    from convcraft.layers.augmentation import Augmentation
    from convcraft.layers.transforms import PIPELINES

    if isinstance(augment, list):
        return RandomTransform(augment, len(augment), data_format="channels_last").transform
    if isinstance(augment, str) and augment in PIPELINES:
        names = PIPELINES[augment]
        kept, always = ([n for n in group if mirror or n != "flip"] for group in (names.transforms, names.always))
        layer = RandomTransform(kept, min(names.count, len(kept)), always=always, data_format="channels_last")
        if keras.backend.backend() != "jax" or augment == "modern":  # Keras's layers take JAX minutes to compile
            return layer.transform
        import jax

        return jax.jit(layer.transform)  # operation by operation it took three to six times as long
    if isinstance(augment, Augmentation):
        return augment.transform
    if isinstance(augment, keras.layers.Layer):
        return RandomTransform([augment], 1, data_format="channels_last").transform
    if callable(augment):
        return augment
    raise ValueError(
        f"Expected augment to be one of {', '.join(map(repr, PIPELINES))}, a list of transformations, a layer, or a "
        f"function (images, seeds) -> images, received {augment!r}."
    )


def image_seeds(seed: int, epoch: int, indices: np.ndarray) -> np.ndarray:
    """Returns one seed an image, int32 in [0, 2^31), from (run seed, epoch, sample index) alone.

    Example:
        >>> bool(image_seeds(0, 1, np.array([5, 6]))[1] == image_seeds(0, 1, np.array([6]))[0])
        True
    """
    state = _splitmix64(np.full(np.shape(indices), np.uint64(seed % 2**64)))
    state = _splitmix64(state ^ np.uint64(epoch))
    state = _splitmix64(state ^ np.asarray(indices).astype(np.uint64))
    return (state >> np.uint64(33)).astype(np.int32)


def _splitmix64(x: np.ndarray) -> np.ndarray:
    # Steele, Lea, Flood 2014; arithmetic is modulo 2^64, as NumPy's arrays wrap
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
