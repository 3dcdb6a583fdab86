"""An optimizer that can hold variables still, exactly, and let them go again without recompiling."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from .base import Tensor, register, to_numpy
from .slots import held_by, match, path_of, patterns_of


@register
class Freezable(keras.optimizers.Optimizer):
    """Wraps an optimizer; what is frozen stays bit for bit as it is until it is thawed.

    Keras's own way, `layer.trainable = False`, needs a new `compile`: without one TensorFlow ignores it silently, and
    JAX fails. `keras.ops.stop_gradient` is no way, either: momentum and weight decay go on moving the variable. Here a
    frozen variable, its slots (momentum, second moments, moving average, accumulated gradient) and its weight decay
    stand still, whatever the optimizer, and constraints leave it alone. Use it to freeze and thaw often: gradual
    unfreezing, freeze-drop-path, training parts in turn. It is no way to train faster: gradients of frozen variables
    are still computed. For what never trains, set `trainable = False` before `compile`.

    - A frozen gradient counts as zero, so that `global_clipnorm` sees only the others, as with `trainable = False`.
    - Once thawed, a variable goes on from its kept state. Step counts are the optimizer's, for all variables alike:
      the learning rate's schedule has moved on, and so has Adam's correction of its first steps' moments. Adam's
      slots of a variable that was frozen from the first step are still zero when it is thawed, and the correction
      that would make up for that is over: its first steps are larger, up to 3.2 times the rate with the default betas.
    - Freezing within a window of `gradient_accumulation_steps` keeps the gradient accumulated so far for later;
      freeze at its end.
    - With `use_ema`, a frozen variable is not overwritten by its average, and the average of one that was frozen
      from the first step is the variable itself.
    - Under a `tf.distribute` strategy without collective updates (logical CPUs), Keras's own limits hold:
      `gradient_accumulation_steps` and `ema_overwrite_frequency` fail there, wrapped or not.
    - Moving statistics of batch normalization are not the optimizer's, and move on. So does the random state.
    - Loss scaling goes outside, where Keras itself puts it under "mixed_float16"; there an infinite gradient still
      skips the step, also if it is a frozen variable's.

    Which variables are frozen is a variable of the optimizer (True is frozen): part of checkpoints and of `.keras`
    files.

    Args:
        optimizer: a Keras optimizer or its name. It must not be used elsewhere.
        freeze: patterns to freeze from the start; see `freeze`.
        name: of the optimizer.

    Call: `freeze` and `thaw` between two steps: outside `fit`, or in a callback, which must reach the optimizer as
    `self.model.optimizer` (with mixed_float16 `self.model.optimizer.inner_optimizer`).

    Example:
        >>> inputs = keras.Input((4,))
        >>> model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(3, name="one")(inputs)))
        >>> model.compile(Freezable(keras.optimizers.AdamW()), "mse")
        >>> model.optimizer.build(model.trainable_variables)
        >>> model.optimizer.freeze("one/")
        ['one/kernel', 'one/bias']
        >>> model.optimizer.thaw("one/bias")
        ['one/bias']
        >>> model.optimizer.frozen
        ['one/kernel']
    """

    def __init__(
        self, optimizer: keras.optimizers.Optimizer | str, freeze: str | Sequence[str] = (), name: str = "freezable"
    ):
        if isinstance(optimizer, str):
            optimizer = keras.optimizers.get(optimizer)
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                f"Freezable: expected optimizer to be a Keras optimizer or its name, received {optimizer!r}."
            )
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer | Freezable) or optimizer.built:
            raise ValueError(
                "Freezable: expected optimizer to be a plain, new one (loss scaling goes outside: "
                f"LossScaleOptimizer(Freezable(…))), received {type(optimizer).__name__}"
                f"{', which is already built' if optimizer.built else ''}."
            )
        self._lock = False  # Keras asks for it before anything else is set
        self.inner_optimizer = optimizer
        super().__init__(learning_rate=0.0, name=name)
        self._pending = patterns_of(freeze)

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes the inner optimizer's variables and the gates, all open but those frozen before."""
        if self.built:
            return
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        self._held = tuple(held_by(self.inner_optimizer, variables))  # of objects, not of variables: nothing is tracked
        start = match(self._pending, [path_of(variable) for variable in variables])
        self._gates = self.add_variable(
            (len(variables),),
            # a copy: JAX and PyTorch may share NumPy's memory
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(start.copy(), dtype="bool"),
            dtype="bool",
            aggregation="only_first_replica",
            name="frozen",
        )
        super().build(variables)

    def freeze(self, patterns: str | Sequence[str]) -> list[str]:
        """Freezes all variables whose path matches one of `patterns`; those frozen before stay so.

        Args:
            patterns: a regular expression or several, searched anywhere in a variable's path ("conv1/kernel"), so that
                a part of the path will do: "conv1/" is all of a layer's variables, "bias$" every bias, "" everything.

        Returns:
            The paths that matched; before the optimizer is built, an empty list: the patterns then count from its
            first step.

        Raises:
            ValueError: if a pattern matches no variable of the optimizer, naming paths like it.
        """
        return self._set(patterns, True)

    def thaw(self, patterns: str | Sequence[str] | None = None) -> list[str]:
        """Thaws all variables, or those whose path matches one of `patterns`; see `freeze`."""
        return self._set("" if patterns is None else patterns, False)

    @property
    def frozen(self) -> list[str]:
        """The paths of the frozen variables, in the optimizer's order."""
        if not self.built:
            return []
        return [path_of(held.variable) for held, shut in zip(self._held, self._read(), strict=True) if shut]

    def _set(self, patterns, shut):
        patterns = patterns_of(patterns)
        if not self.built:
            if not shut and patterns != ("",):
                raise ValueError("Freezable.thaw: expected no patterns before the optimizer is built.")
            self._pending = (*self._pending, *patterns) if shut else ()
            return []
        paths = [path_of(held.variable) for held in self._held]
        chosen, gates = match(patterns, paths), self._read()
        gates[chosen] = shut
        self._gates.assign(gates)
        return [path for path, hit in zip(paths, chosen, strict=True) if hit]

    def _read(self) -> np.ndarray:
        if self._taken_away():
            raise RuntimeError("Freezable: within fit, expected the optimizer as `self.model.optimizer` of a callback.")
        return np.array(to_numpy(self._gates), dtype=bool)

    def _taken_away(self) -> bool:
        """Whether Keras holds the values itself, as on JAX during `fit`."""
        return getattr(self._gates, "_value", self._gates) is None

    def apply(self, grads: Sequence[Tensor], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        """One step of the inner optimizer, after which what is frozen is given back its old values."""
        if not self.built:
            if trainable_variables is None:
                raise ValueError("Freezable.apply: expected trainable_variables, or an optimizer that is built.")
            self.build(list(trainable_variables))
        variables = list(self._trainable_variables if trainable_variables is None else trainable_variables)
        gates = self._shut()
        kept: list[tuple[keras.Variable, Tensor, Tensor]] = []
        for number, gate in gates.items():
            held = self._held[number]
            value = ops.copy(ops.convert_to_tensor(held.variable))
            kept += [(held.variable, gate, value)]
            kept += [(slot, gate, ops.copy(ops.convert_to_tensor(slot))) for slot in held.slots]
            first = ops.equal(self.inner_optimizer.iterations, 0)  # then Keras sets the averages
            kept += [(a, gate, ops.where(first, value, ops.convert_to_tensor(a))) for a in held.averages]
        numbers = [self._get_variable_index(variable) for variable in variables]
        grads = [_masked(grad, gates.get(n)) for n, grad in zip(numbers, grads, strict=True)]
        self.inner_optimizer.apply(grads, variables)
        assign([(v, ops.where(gate, value, ops.convert_to_tensor(v))) for v, gate, value in kept])

    def _shut(self) -> dict[int, Tensor]:
        """For each variable that may be frozen, whether it is: in a graph for all, on PyTorch for the frozen ones."""
        if keras.backend.backend() == "torch":
            return {int(n): True for n in np.flatnonzero(self._read())}
        gates = ops.convert_to_tensor(self._gates)
        return {n: gates[n] for n in range(len(self._held))}

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """After the last step of `fit`: with `use_ema`, averages replace the variables that are not frozen."""
        if not self.built or self._taken_away():  # `fit` has failed on JAX: let its own error be seen
            return
        shut = np.flatnonzero(self._read()) if self.inner_optimizer.use_ema else ()
        kept = [(self._held[n].variable, ops.copy(ops.convert_to_tensor(self._held[n].variable))) for n in shut]
        self.inner_optimizer.finalize_variable_values(var_list)
        if self.inner_optimizer.use_ema and keras.backend.backend() == "jax":
            # Keras lets variable and average share one array, which the next `fit` cannot donate twice
            kept = [(v, ops.copy(ops.convert_to_tensor(v))) for v in var_list] + kept
        for variable, value in kept:
            variable.assign(value)

    @property
    def variables(self) -> list[keras.Variable]:
        """The gates and the inner optimizer's variables."""
        return [*self._variables, *self.inner_optimizer.variables]

    @property
    def iterations(self) -> keras.Variable:
        """The inner optimizer's."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's; it can be set, for `LearningRateScheduler` and its like."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def loss_scale_factor(self) -> float | None:
        """The inner optimizer's; `LossScaleOptimizer` sets it to None."""
        return self.inner_optimizer.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor: float | None) -> None:
        if hasattr(self, "_variables"):  # not Keras's own constructor, which sets None
            self.inner_optimizer.loss_scale_factor = factor

    def scale_loss(self, loss: Tensor) -> Tensor:
        """As the inner optimizer does."""
        return self.inner_optimizer.scale_loss(loss)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: list[str] | None = None) -> None:
        """The inner optimizer's."""
        self.inner_optimizer.exclude_from_weight_decay(var_list=var_list, var_names=var_names)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with what was frozen before the optimizer was built."""
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"optimizer": inner, "freeze": list(self._pending), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        """The reverse of `get_config`."""
        config = copy.deepcopy(config)  # Keras writes into an optimizer's
        inner = keras.saving.deserialize_keras_object(config.pop("optimizer"), custom_objects=custom_objects)
        return cls(inner, **config)


def _masked(grad: Tensor, gate: Tensor | None) -> Tensor:
    """Zero where the gate is shut."""
    if grad is None or gate is None:
        return grad
    if hasattr(grad, "dense_shape"):  # tf.IndexedSlices, of an embedding
        return type(grad)(_masked(grad.values, gate), grad.indices, grad.dense_shape)
    return ops.where(gate, ops.zeros_like(grad), grad)


def assign(pairs: list[tuple[keras.Variable, Tensor]]) -> None:
    """Assigns values, under a `tf.distribute` strategy to each replica its own."""
    if keras.backend.backend() != "tensorflow":
        for variable, value in pairs:
            variable.assign(value)
        return
    import tensorflow as tf

    targets = [getattr(variable, "value", variable) for variable, _ in pairs]

    def update(strategy, values):
        for target, value in zip(targets, values, strict=True):
            strategy.extended.update(target, lambda v, x: v.assign(x), args=(value,), group=False)

    # as Keras's optimizers do: where replicas update on their own, without a merge
    interim = tf.__internal__.distribute.interim
    interim.maybe_merge_call(update, tf.distribute.get_strategy(), [value for _, value in pairs])
