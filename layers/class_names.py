"""Class names that travel inside the model file."""

from collections.abc import Iterable
from typing import Any

import keras

from .base import Shape, Tensor, register


@register
class ClassNames(keras.layers.Layer):
    """An identity at the end of a classifier whose configuration carries the names of its classes.

    An attribute of the model is lost in a `.keras` file; a layer's configuration is not. `zoo.class_names(model)`
    reads them back.

    Args:
        names: the names, in the order of the outputs.

    Call: `(inputs)`; returns the inputs unchanged; under a mixed precision policy in float32, so that losses and
    probabilities are not rounded to half the digits.

    Example:
        >>> ClassNames(["ant", "bee"]).get_config()["names"]
        ['ant', 'bee']
    """

    def __init__(self, names: Iterable[str], **kwargs: Any):
        policy = keras.config.dtype_policy()
        if kwargs.get("dtype") is None and policy.compute_dtype != policy.variable_dtype:
            kwargs["dtype"] = policy.variable_dtype
        super().__init__(**kwargs)
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise ValueError(f"ClassNames: expected names to be a list of strings, received {names!r}.")
        names = list(names)
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"ClassNames: expected names to be a list of strings, received {names!r}.")
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"ClassNames: expected each name once, received {twice} more often.")
        self.names = names
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Checks that there is a name for each output."""
        if input_shape[-1] != len(self.names):
            raise ValueError(f"ClassNames: expected {input_shape[-1]} names, received {len(self.names)}.")

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the inputs."""
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Same shape as the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "names": self.names}
