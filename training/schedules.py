"""Learning-rate schedules: ours from `convcraft.layers`, Keras's own by what they do, and scaling by batch size."""

import math

import keras

from convcraft.layers import CyclicalLR, OneCycle, OneCycleMomentum

__all__ = [
    "CyclicalLR",
    "OneCycle",
    "OneCycleMomentum",
    "exponential_decay",
    "linear_scaled",
    "sqrt_scaled",
    "step_decay",
]


def step_decay(
    learning_rate: float, steps_per_epoch: int, every: int = 10, divide_by: float = 2.0
) -> keras.optimizers.schedules.ExponentialDecay:
    """A rate that is divided every few epochs, as in "0.01, divided by 2, 5 or 10 every ten epochs".

    Robust and easily told; the epochs have to be chosen. Where validation decides when to divide, that is a plateau
    rule, `keras.callbacks.ReduceLROnPlateau`, which needs a plain rate and no schedule.

    Args:
        learning_rate: at the start.
        steps_per_epoch: iterations of an epoch.
        every: epochs from one division to the next.
        divide_by: the divisor.

    Returns:
        Keras's `ExponentialDecay` with `staircase=True`.

    Example:
        >>> rate = step_decay(0.01, steps_per_epoch=100, every=10, divide_by=5)
        >>> [round(float(rate(step)), 5) for step in (0, 999, 1000, 2000)]
        [0.01, 0.01, 0.002, 0.0004]
    """
    _check("step_decay", learning_rate=learning_rate, steps_per_epoch=steps_per_epoch, every=every, divide_by=divide_by)
    if divide_by <= 1:
        raise ValueError(f"step_decay: expected divide_by above 1, received {divide_by!r}.")
    steps = round(every * steps_per_epoch)
    return keras.optimizers.schedules.ExponentialDecay(learning_rate, steps, 1 / divide_by, staircase=True)


def exponential_decay(
    learning_rate: float, steps: int, final: float = 0.01
) -> keras.optimizers.schedules.ExponentialDecay:
    """A rate that falls by the same factor at each iteration, to `final` of itself after `steps`.

    Args:
        learning_rate: at the start.
        steps: iterations until it has fallen to `final` times `learning_rate`; it falls on after them.
        final: above 0 and below 1.

    Returns:
        Keras's `ExponentialDecay`.

    Example:
        >>> rate = exponential_decay(0.1, steps=100)
        >>> [round(float(rate(step)), 5) for step in (0, 50, 100)]
        [0.1, 0.01, 0.001]
    """
    _check("exponential_decay", learning_rate=learning_rate, steps=steps, final=final)
    if final >= 1:
        raise ValueError(f"exponential_decay: expected final above 0 and below 1, received {final!r}.")
    return keras.optimizers.schedules.ExponentialDecay(learning_rate, steps, final)


def linear_scaled(learning_rate: float, batch_size: int, base: int = 256) -> float:
    """The rate for another batch size, in proportion to it; prints what it does.

    Nothing here scales a rate unless asked to: the loss is a mean, so that a rate serves for batches of similar size.
    For much larger batches, fewer steps make up for it by being longer (SGD; together with a warm-up).

    Args:
        learning_rate: found with batches of `base`.
        batch_size: over all devices together.
        base: the batch size that `learning_rate` was found with.

    Returns:
        The scaled rate.

    Example:
        >>> linear_scaled(0.1, batch_size=1024)
        Learning rate 0.1 at batch size 256, scaled linearly to 0.4 at 1024.
        0.4

    Reference:
        Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.1; Krizhevsky 2014, arXiv 1404.5997.
    """
    return _scaled("linear_scaled", learning_rate, batch_size, base, 1.0, "linearly")


def sqrt_scaled(learning_rate: float, batch_size: int, base: int = 256) -> float:
    """As `linear_scaled`, with the square root of the batch size: the gradual form, for Adam and its like.

    Args:
        learning_rate: found with batches of `base`.
        batch_size: over all devices together.
        base: the batch size that `learning_rate` was found with.

    Returns:
        The scaled rate.

    Example:
        >>> sqrt_scaled(0.1, batch_size=1024)
        Learning rate 0.1 at batch size 256, scaled by the square root to 0.2 at 1024.
        0.2

    Reference:
        Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", section 5.
    """
    return _scaled("sqrt_scaled", learning_rate, batch_size, base, 0.5, "by the square root")


def _scaled(owner: str, rate: float, batch_size: int, base: int, power: float, how: str) -> float:
    _check(owner, learning_rate=rate, batch_size=batch_size, base=base)
    scaled = rate * (batch_size / base) ** power
    print(f"Learning rate {rate:g} at batch size {base}, scaled {how} to {scaled:g} at {batch_size}.", flush=True)
    return scaled


def _check(owner: str, **values: float) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"{owner}: expected {name} to be positive, received {value!r}.")
