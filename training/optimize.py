"""Optimizers and schedules by name, out of Keras's own and ours."""

import keras
import numpy as np

from convcraft.layers import CyclicalLR, CyclicSGD, OneCycle
from convcraft.layers.base import to_numpy

from .common import Common, check

WARM_UP = 0.05  # of the steps
AVERAGED = 0.02  # of the steps: how far back the modern preset's average of the weights reaches
UNDECAYED = ["bias", "gamma", "beta", "alpha"]  # normalization, biases, PReLU's slopes


def schedule(config: Common, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate over `steps` steps: `config.learning_rate` at its largest, moving as `config.schedule` says.

    The cyclical ones, triangular, triangular2 and exp_range, rise from a quarter of the rate and end with a cycle's
    end; half a cycle takes about 4 epochs, as far as their number allows. Of exp_range the height falls to a hundredth.
    With the preset "modern" it is a cosine whose first twentieth rises along a line, whatever `config.schedule` says.

    Args:
        config: a `training.Common`.
        steps: of the whole training; `run.steps(data)`.

    Returns:
        A float for "constant", a `keras.optimizers.schedules.LearningRateSchedule` otherwise.

    Example:
        >>> from convcraft.training import Common
        >>> float(schedule(Common(learning_rate=0.1, schedule="linear"), 10)(5))
        0.05000000074505806
    """
    rate, kinds = config.learning_rate, keras.optimizers.schedules
    if config.preset == "modern":
        warm = max(1, round(WARM_UP * steps))
        return kinds.CosineDecay(rate / warm, max(1, steps - warm), warmup_target=rate, warmup_steps=warm)
    if config.schedule == "linear":
        return kinds.PolynomialDecay(rate, max(1, steps), end_learning_rate=0.0)
    if config.schedule == "cosine":
        return kinds.CosineDecay(rate, max(1, steps))
    if config.schedule == "step":
        return kinds.PiecewiseConstantDecay([steps // 2, steps * 3 // 4], [rate, rate / 10, rate / 100])
    if config.schedule == "exponential":
        return kinds.ExponentialDecay(rate, max(1, steps), decay_rate=0.01)
    if config.schedule == "onecycle":
        return OneCycle(rate, max(1, steps))
    if config.schedule in ("triangular", "triangular2", "exp_range"):
        # Smith 2017: half a cycle is 2 to 10 epochs, the lowest rate a third or a quarter of the largest
        cycles = max(1, round(config.epochs / 8))
        half = max(1, -(-steps // (2 * cycles)))  # rounded up: no new cycle begins within the last steps
        gamma = 0.01 ** (1 / max(1, steps)) if config.schedule == "exp_range" else 1.0
        return CyclicalLR(rate / 4, rate, half, config.schedule, gamma)
    return rate


def optimizer(config: Common, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer that `config` names, its rate falling over `steps` steps.

    Weight decay is decoupled and spares biases, normalization and PReLU's slopes. Keras's own `weight_decay` decays
    them, too. With the schedule "onecycle", the momentum of "momentum" and "nesterov" falls from .95 to .85 while the
    rate rises, and comes back; that of the others (Adam's first beta) stays.

    Args:
        config: a `training.Common`.
        steps: number of steps of the whole training; `run.steps(data)`.

    Returns:
        A `keras.optimizers.Optimizer`.
    """
    check(config)
    kinds = keras.optimizers
    makers = {
        "sgd": lambda rate, **k: kinds.SGD(rate, **k),
        "momentum": lambda rate, **k: kinds.SGD(rate, momentum=0.9, **k),
        "nesterov": lambda rate, **k: kinds.SGD(rate, momentum=0.9, nesterov=True, **k),
        "adam": kinds.Adam,
        "adamw": kinds.AdamW,
        "rmsprop": kinds.RMSprop,
        "adagrad": kinds.Adagrad,
    }
    decay = config.weight_decay or (0.0 if config.optimizer == "adamw" else None)  # AdamW refuses None
    rate = schedule(config, steps)
    averaged = {}
    if config.preset == "modern":
        averaged = {"use_ema": True, "ema_momentum": max(0.0, 1 - 1 / max(1.0, AVERAGED * steps))}
    if isinstance(rate, OneCycle) and config.optimizer in ("momentum", "nesterov"):
        nesterov = config.optimizer == "nesterov"
        made = CyclicSGD(rate, rate.momentum(), nesterov=nesterov, weight_decay=decay)
    else:
        made = makers[config.optimizer](rate, weight_decay=decay, **averaged)
    made.exclude_from_weight_decay(var_names=UNDECAYED)
    return made


def learning_rate(model: keras.Model) -> float:
    """The optimizer's current rate as a float, also under a `tf.distribute` strategy."""
    optimizer = innermost(model.optimizer)
    rate = optimizer._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return float(keras.ops.convert_to_numpy(rate(int(to_numpy(optimizer.iterations)))))
    return float(to_numpy(rate))


def innermost(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer that makes the steps: within loss scaling, `Freezable`, or both."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def at_rate(optimizer: keras.optimizers.Optimizer | str, rate: float) -> keras.optimizers.Optimizer:
    """A new optimizer of the same settings, at a plain rate.

    Args:
        optimizer: what `compile` takes.
        rate: in place of its own, or of its schedule.

    Example:
        >>> at_rate(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9), momentum=0.9), 0.5).momentum
        0.9
    """
    optimizer = keras.optimizers.get(optimizer)
    config = optimizer.get_config()
    place = config
    while "optimizer" in place or "inner_optimizer" in place:  # within loss scaling, `Freezable` and the like
        place = place["optimizer" if "optimizer" in place else "inner_optimizer"]["config"]
    place["schedule" if "schedule" in place else "learning_rate"] = rate  # the first is `CyclicSGD`'s
    copy = type(optimizer).from_config(config)
    # names and patterns of what does not decay are no part of an optimizer's configuration
    for name in ("_exclude_from_weight_decay_pattern", "_exclude_from_weight_decay"):
        if hasattr(innermost(optimizer), name):
            setattr(innermost(copy), name, getattr(innermost(optimizer), name))
    return copy


def largest_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate; of a schedule the largest within a million steps, as far as eighty of them show it.

    Example:
        >>> round(largest_rate(keras.optimizers.SGD(OneCycle(0.5, 1000))), 2)
        0.5
    """
    rate = innermost(optimizer)._learning_rate
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return float(to_numpy(rate))
    steps = np.unique(np.geomspace(1, 1e6, 80).astype("int64")) - 1
    return max(float(to_numpy(rate(int(step)))) for step in steps)
