"""A loss in which the images of some classes count more than those of others."""

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from .base import Tensor, is_number, register


@register
class ClassWeighted(keras.losses.Loss):
    """Another loss, each image's times the weight of its class.

    `model.fit(class_weight=…)` does the same where the labels are integers, and leaves validation unweighted without a
    word. Here the weights are part of the loss: in training, in validation, in the saved file.

    Args:
        loss: a Keras loss of one value an image, or its name.
        weights: one for each class, at least 0.
        reduction: over the batch, as in `keras.losses.Loss`.
        name: of the loss.

    Call: `(y_true, y_pred)`; labels as integers (n,) or (n, 1), or one-hot or mixed (n, classes), whose weight is the
    mean of their classes'.

    Example:
        >>> import numpy as np
        >>> plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> round(float(ClassWeighted(plain, [1.0, 3.0])(np.array([0, 1]), np.zeros((2, 2)))), 4)
        1.3863
    """

    def __init__(
        self,
        loss: keras.losses.Loss | str,
        weights: Sequence[float],
        reduction: str = "sum_over_batch_size",
        name: str = "class_weighted",
        **kwargs: Any,
    ):
        super().__init__(reduction=reduction, name=name, **kwargs)
        # of most losses Keras knows a function by a small name, which has no logits and no reduction, and a class
        camel = "".join(part.capitalize() for part in loss.split("_")) if isinstance(loss, str) else ""
        self.loss = keras.losses.get(camel if hasattr(keras.losses, camel) else loss)
        if not isinstance(self.loss, keras.losses.Loss):
            raise ValueError(f"ClassWeighted: expected loss to be a keras.losses.Loss, received {loss!r}.")
        self.weights = list(weights)
        if not self.weights or not all(is_number(weight) and weight >= 0 for weight in self.weights):
            raise ValueError(f"ClassWeighted: expected a weight of at least 0 for each class, received {weights!r}.")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One value an image."""
        losses = self.loss.call(y_true, y_pred)
        weights = ops.convert_to_tensor(self.weights, dtype=losses.dtype)
        y_true = ops.convert_to_tensor(y_true)
        if len(y_true.shape) == 2 and y_true.shape[-1] == len(self.weights):
            return losses * ops.sum(ops.cast(y_true, losses.dtype) * weights, axis=-1)
        return losses * ops.take(weights, ops.cast(ops.reshape(y_true, (-1,)), "int32"))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        inner = keras.saving.serialize_keras_object(self.loss)
        return {**super().get_config(), "loss": inner, "weights": self.weights}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The reverse of `get_config`."""
        return cls(
            keras.saving.deserialize_keras_object(config["loss"]), **{k: config[k] for k in config if k != "loss"}
        )
