"""Random numbers of one's own for every image, as pure functions of integer seeds.

An augmentation that draws from a seed per image gives an image the same draw in any batch, on any worker, in any
order, before and after a resume. `keras.random` takes no tensors as seeds, so the bits come from a counter-based
hash (MurmurHash3's finalizer, Appleby 2011, public domain) in int32 arithmetic, which is exact: TensorFlow, JAX and
PyTorch draw the same bits.
"""

import keras
import numpy as np
from keras import ops

from .base import Tensor


def image_seeds(seed: int | keras.random.SeedGenerator | Tensor, count: int | Tensor) -> Tensor:
    """One seed an image.

    Args:
        seed: an integer; or a vector of `count` int32 seeds, which is returned; or a `keras.random.SeedGenerator`.
        count: number of images, an integer or a scalar tensor.

    Returns:
        int32 tensor of shape (count,).
    """
    if isinstance(seed, keras.random.SeedGenerator):
        return keras.random.randint((count,), 0, 2**31 - 1, dtype="int32", seed=seed)
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        seed = int(seed) % 2**32
        seed = seed - 2**32 if seed >= 2**31 else seed
        return mix(mix(ops.arange(count, dtype="int32")) + ops.cast(seed, "int32"))
    if len(getattr(seed, "shape", ())) == 1:
        return ops.cast(seed, "int32")
    raise ValueError(
        f"Expected seed to be an integer, a vector with one seed an image, or a SeedGenerator, received {seed!r}."
    )


def uniform(seeds: Tensor, draws: int | Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform draws in [low, high).

    Args:
        seeds: int32, shape (n,), one an image.
        draws: how many numbers an image needs, an integer or a scalar tensor.
        low: lower bound.
        high: upper bound, excluded.

    Returns:
        float32 tensor of shape (n, draws).

    Example:
        >>> uniform(np.array([1, 2], "int32"), 3).shape == (2, 3)
        True
    """
    counters = ops.arange(1, draws + 1, dtype="int32") * _int32(0x9E3779B9)
    bits = mix(ops.bitwise_xor(mix(ops.expand_dims(seeds, 1) + counters), counters))
    unit = ops.cast(_shift(bits, 8), "float32") * 2.0**-24  # 24 bits: what a float32 holds exactly
    return low + (high - low) * unit


def normal(seeds: Tensor, draws: int | Tensor, std: float = 1.0) -> Tensor:
    """Gaussian draws of mean zero (Box and Muller 1958): float32, shape (n, draws), from `seeds` of shape (n,)."""
    unit = uniform(seeds, 2 * draws)
    radius = ops.sqrt(-2.0 * ops.log(1.0 - unit[:, :draws]))  # 1 - u lies in (0, 1]
    return std * radius * ops.cos(2 * np.pi * unit[:, draws:])


def fold(seeds: Tensor, number: int | Tensor) -> Tensor:
    """Other seeds out of `seeds`, int32 of any shape: an independent stream for each `number`, an integer below 2^32.

    `fold(seeds[:, None], numbers)`, with a vector of k numbers, gives k streams at once, shape (n, k).

    Example:
        >>> a, b = fold(np.array([7], "int32"), 1), fold(np.array([7], "int32"), 2)
        >>> int(a[0]) != int(b[0])
        True
    """
    number = _int32(number % 2**32) if isinstance(number, int) else ops.cast(number, "int32")
    return mix(ops.bitwise_xor(mix(ops.cast(seeds, "int32")), mix(number + _int32(0x9E3779B9))))


def _int32(bits: int) -> Tensor:
    return ops.cast(bits - 2**32 if bits >= 2**31 else bits, "int32")


def _shift(x: Tensor, places: int) -> Tensor:
    """Logical right shift of int32: the arithmetic one, with the copied sign bits masked away."""
    return ops.bitwise_and(ops.right_shift(x, places), (1 << (32 - places)) - 1)


def mix(x: Tensor) -> Tensor:
    """Spreads every input bit over all 32 output bits; wraps at 32 bits."""
    x = ops.bitwise_xor(x, _shift(x, 16)) * _int32(0x85EBCA6B)
    x = ops.bitwise_xor(x, _shift(x, 13)) * _int32(0xC2B2AE35)
    return ops.bitwise_xor(x, _shift(x, 16))
