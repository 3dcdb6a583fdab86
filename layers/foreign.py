"""Layers of Keras and keras-cv among our own: called with seeds of our choice where they let us choose."""

import contextlib
import inspect
import threading
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from .base import Tensor

# A generator's `next` is replaced while a layer runs: one thread at a time.
_LOCK = threading.RLock()


def call_with_seed(layer: keras.layers.Layer, *inputs: Any, seeds: Tensor) -> Any:
    """Calls a layer in training; what it draws from its `keras.random.SeedGenerator`s depends on `seeds` alone.

    The layer draws for the whole batch at once, so an image's result depends on the batch it is in. The generators'
    own states do not move. Layers with other sources of random numbers (keras-cv: `tf.random.Generator`) draw from
    those.

    Args:
        layer: any; `training=True` is passed if its `call` takes it.
        inputs: of the layer.
        seeds: int32, shape (n,), one an image.
    """
    phase = {"training": True} if "training" in inspect.signature(layer.call).parameters else {}
    with _LOCK, _seeded(layer, seeds):
        return layer(*inputs, **phase)


@contextlib.contextmanager
def _seeded(layer: keras.layers.Layer, seeds: Tensor) -> Iterator[None]:
    total = ops.cast(ops.sum(seeds), "int32")  # wraps, and does not depend on the images' order
    key, count = ops.bitwise_and(total, 0x7FFFFFFF), 0
    generators = _generators(layer)

    def replacement(dtype: str) -> Any:
        def draw(ordered: bool = True) -> Tensor:
            nonlocal count
            count += 1  # of all generators: those of a layer's parts are often made from one seed
            return ops.stack([ops.cast(key, dtype), ops.cast(count, dtype)])

        return draw

    for generator in generators:
        generator.next = replacement(keras.backend.standardize_dtype(generator.state.dtype))
    try:
        yield
    finally:
        for generator in generators:
            del generator.next  # the class's is seen again


def _generators(layer: keras.layers.Layer) -> list[keras.random.SeedGenerator]:
    """The seed generators of a layer and of all layers inside it."""
    found, seen, queue = [], set(), [layer]
    while queue:
        value = queue.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, keras.random.SeedGenerator):
            found.append(value)
        elif isinstance(value, keras.layers.Layer):
            queue += [v for k, v in vars(value).items() if not k.startswith("_inbound")]
        elif isinstance(value, dict):
            queue += value.values()
        elif isinstance(value, (list, tuple)):
            queue += value
    return found
