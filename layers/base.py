"""What all our layers share: registration, and noise that differs between replicas."""

import math
from typing import Any

import keras
import numpy as np

# Of the backend in use: what a tensor is differs between TensorFlow, JAX, PyTorch and NumPy.
Tensor = Any
Shape = tuple[int | None, ...]

register = keras.saving.register_keras_serializable("convcraft")


class SeedGenerator(keras.random.SeedGenerator):
    """Keras's seed generator, with a stream of its own for each replica of a `tf.distribute` strategy.

    Under a strategy every replica holds a copy of the same state, and Keras 3.15 draws the same numbers from all of
    them: noise and dropout masks are then equal across GPUs. Here the replica's number is folded into the seed.
    """

    # Large and odd: with a small stride, one replica's stream would be another's, a few steps later.
    STRIDE = 0x3779B1

    def next(self, ordered: bool = True) -> Tensor:
        """Returns the next seed, an integer tensor of shape (2,), and moves the state on."""
        seed = super().next(ordered)
        replica = replica_id()
        if replica is None:
            return seed
        offset = keras.ops.stack([keras.ops.cast(replica, seed.dtype) * self.STRIDE, keras.ops.zeros((), seed.dtype)])
        return seed + offset


def replica_id() -> Tensor | None:
    """The number of the replica this code is traced for, or None where there is only one."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context.replica_id_in_sync_group


def seed_generator(seed: int | None, layer: str) -> SeedGenerator:
    """A `SeedGenerator` for `layer`, or a clear error if `seed` is neither an integer nor None."""
    return SeedGenerator(checked_seed(seed, layer))


def checked_seed(seed: int | None, layer: str) -> int | None:
    """`seed` as every backend's generator takes it, or a clear error."""
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise ValueError(f"{layer}: expected seed to be an integer or None, received {seed!r}.")
    return None if seed is None else seed % 2**31  # JAX refuses negative ones, PyTorch more than 31 bits


def checked_data_format(data_format: str | None, layer: str) -> str:
    """`data_format`, Keras's default where it is None, or a clear error."""
    data_format = keras.config.image_data_format() if data_format is None else data_format
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError(
            f"{layer}: expected data_format to be 'channels_last' or 'channels_first', received {data_format!r}."
        )
    return data_format


def to_numpy(variable: Any) -> np.ndarray:
    """The value of a Keras variable; of its first replica where a strategy mirrors it (Keras fails there)."""
    value = getattr(variable, "value", variable)
    value = value.values[0] if hasattr(value, "values") and not callable(value.values) else value
    return keras.ops.convert_to_numpy(value)


def is_number(value: Any) -> bool:
    """Whether it is a finite Python number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_range(value: Any) -> bool:
    """Whether it is a pair of numbers, the lower one first."""
    pair = isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value))
    return pair and value[0] < value[1]
