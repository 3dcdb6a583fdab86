"""An optimizer whose variables learn at rates of their own: fast in the new head, slowly in what was learned before."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from .base import Tensor, is_number, register
from .freezable import Freezable, assign
from .slots import path_of, patterns_of


@register
class GroupedRates(Freezable):
    """Wraps an optimizer; variables move by a share of its learning rate, each group by its own.

    Keras's `MultiOptimizer` has an optimizer for each group instead, whose rate no callback and no schedule of another
    can follow: a `LearningRateScheduler` gives all groups the same. Here there is one rate, one schedule and one count
    of steps, and the groups keep their proportions whatever sets the rate. It is exact for every optimizer, since it
    scales the step and not the gradient, which Adam would undo; decoupled weight decay is scaled with the rate.

    It can freeze and thaw, too, as `Freezable`.

    Args:
        optimizer: a Keras optimizer or its name, without `use_ema`. It must not be used elsewhere.
        factors: a dictionary, regular expression to factor >= 0. A variable has the factor of the first that is found
            anywhere in its path ("stage1_conv/kernel"); 1 where none is.
        freeze: patterns to freeze from the start; see `Freezable`.
        name: of the optimizer.

    Example:
        >>> import numpy as np
        >>> inputs = keras.Input((4,))
        >>> model = keras.Model(inputs, keras.layers.Dense(2, name="head")(keras.layers.Dense(3, name="body")(inputs)))
        >>> model.compile(GroupedRates(keras.optimizers.SGD(0.1), {"body/": 0}), "mse")
        >>> before = model.get_layer("body").get_weights()
        >>> _ = model.train_on_batch(np.ones((1, 4)), np.ones((1, 2)))
        >>> bool(np.all(model.get_layer("body").get_weights()[0] == before[0]))
        True
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer | str,
        factors: Mapping[str, float],
        freeze: str | Sequence[str] = (),
        name: str = "grouped_rates",
    ):
        super().__init__(optimizer, freeze, name)
        patterns_of(list(factors))
        for pattern, factor in factors.items():
            if not is_number(factor) or factor < 0:
                raise ValueError(f"GroupedRates: expected factors of at least 0, received {factor!r} for {pattern!r}.")
        if self.inner_optimizer.use_ema:
            raise ValueError(
                "GroupedRates: expected an optimizer without use_ema, whose averages would miss the rates."
            )
        self.factors = {pattern: float(factor) for pattern, factor in factors.items()}

    def factor(self, variable: Any) -> float:
        """The share of the learning rate at which a variable moves."""
        path = path_of(variable)
        return next((factor for pattern, factor in self.factors.items() if re.search(pattern, path)), 1.0)

    def apply(self, grads: Sequence[Tensor], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        """One step of the inner optimizer, of which each variable takes its group's share."""
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        scaled = [(v, self.factor(v)) for v in variables if self.factor(v) != 1]
        kept = [(v, factor, ops.copy(ops.convert_to_tensor(v))) for v, factor in scaled]
        super().apply(grads, trainable_variables)
        moved = [(v, value + factor * (ops.convert_to_tensor(v) - value)) for v, factor, value in kept]
        assign([(v, ops.cast(value, v.dtype)) for v, value in moved])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "factors": self.factors}
