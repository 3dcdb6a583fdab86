"""Stochastic gradient descent whose momentum follows the iterations (Smith 2018, arXiv 1803.09820)."""

import copy
from typing import Any

import keras
from keras import ops

from .base import Tensor, register

Schedule = keras.optimizers.schedules.LearningRateSchedule


@register
class CyclicSGD(keras.optimizers.Optimizer):
    """SGD with a momentum that is a schedule, which `keras.optimizers.SGD` refuses.

    Meant for the one-cycle policy, where the momentum falls while the learning rate rises and the other way round:
    `OneCycle(…).momentum()` is the schedule that goes with `OneCycle(…)`. With a constant momentum it is Keras's SGD,
    and without a cycle that is what to use.

    The rule is Keras's and Caffe's, v = m v - rate g and w = w + v, where the rate of the step that brought a gradient
    stays with it. PyTorch multiplies the whole velocity by the rate of the present step: the same as long as the rate
    is constant, and not the same under a schedule.

    Args:
        schedule: of the learning rate: a `LearningRateSchedule` or a float.
        momentum_schedule: of the momentum, from 0 to 1: the same.
        nesterov: whether to apply Nesterov's momentum.
        kwargs: `weight_decay`, `clipnorm`, `use_ema`, … of every Keras optimizer.

    Example:
        >>> from convcraft.layers import OneCycle
        >>> cycle = OneCycle(max_lr=0.4, total_steps=100)
        >>> optimizer = CyclicSGD(cycle, cycle.momentum(), nesterov=True)
        >>> round(float(optimizer.momentum), 2)  # before the first step
        0.95

    Reference:
        Smith 2018, "A disciplined approach to neural network hyper-parameters: Part 1", section 4.3.
    """

    def __init__(
        self,
        schedule: Any,
        momentum_schedule: Any = 0.9,
        nesterov: bool = False,
        name: str = "cyclic_sgd",
        **kwargs: Any,
    ):
        constant = isinstance(momentum_schedule, int | float) and not isinstance(momentum_schedule, bool)
        if not (constant and 0 <= momentum_schedule <= 1) and not isinstance(momentum_schedule, Schedule):
            raise ValueError(
                "CyclicSGD: expected momentum_schedule to be a number from 0 to 1 or a LearningRateSchedule, received "
                f"{momentum_schedule!r}."
            )
        super().__init__(learning_rate=schedule, name=name, **kwargs)
        self.momentum_schedule = momentum_schedule
        self.nesterov = bool(nesterov)

    @property
    def momentum(self) -> Tensor:
        """The momentum of the next step."""
        if isinstance(self.momentum_schedule, Schedule):
            return self.momentum_schedule(self._iterations)  # the count that Keras gives the learning rate's schedule
        return self.momentum_schedule

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes the velocities."""
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        """One variable's step; see the class."""
        rate = ops.cast(learning_rate, variable.dtype)
        momentum = ops.cast(self.momentum, variable.dtype)
        step = ops.multiply(ops.cast(gradient, variable.dtype), rate)
        velocity = self.momentums[self._get_variable_index(variable)]
        self.assign(velocity, ops.subtract(ops.multiply(velocity, momentum), step))
        if self.nesterov:
            self.assign_add(variable, ops.subtract(ops.multiply(velocity, momentum), step))
        else:
            self.assign_add(variable, velocity)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        momentum = self.momentum_schedule
        if isinstance(momentum, Schedule):
            momentum = keras.optimizers.schedules.serialize(momentum)
        rate = config.pop("learning_rate")
        return {**config, "schedule": rate, "momentum_schedule": momentum, "nesterov": self.nesterov}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "CyclicSGD":
        """The reverse of `get_config`."""
        config = copy.deepcopy(config)  # Keras writes into it
        for key in ("schedule", "momentum_schedule"):
            if isinstance(config[key], dict):
                config[key] = keras.saving.deserialize_keras_object(config[key], custom_objects=custom_objects)
        return cls(**config)
