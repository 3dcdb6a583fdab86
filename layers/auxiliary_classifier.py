"""A classifier on the side, which trains what lies before it and is gone at inference."""

import threading
from collections.abc import Iterator
from typing import Any

import keras

from .base import Shape, Tensor, is_number, register


@register
class AuxiliaryClassifier(keras.layers.Layer):
    """Passes its input on; in training a small network classifies it, and its loss is added to the model's.

    In `convcraft.Model` the loss given to `compile` is taken of the side network's outputs, too, with the same labels
    and sample weights, and `weight` times that is added: plain `fit` with one loss, one output and one set of metrics.
    `evaluate`, `predict` and exported models do not compute it. The training loss that Keras shows contains it; the
    metrics and the validation loss do not.

    Helps where gradients are weak by the time they reach the first layers: deep networks without shortcuts or batch
    normalization, such as GoogLeNet's first. With batch normalization expect a mild regularizer at most.

    Inside a foreign `keras.Model` it does nothing, for labels do not come by: wrap the model by
    `convcraft.layers.as_model`.

    Args:
        body: a built `keras.Model`, from what this layer is given to what the model puts out.
        weight: of its loss, at least 0; the paper's .3.

    Call: `(inputs, training=None)`; what `body` takes; the inputs come out.

    Example:
        >>> inputs = keras.Input((4,))
        >>> features = keras.layers.Dense(8, "relu")(inputs)
        >>> side = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        >>> features = AuxiliaryClassifier(side)(features)
        >>> model = convcraft.Model(inputs, keras.layers.Dense(2)(features))
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)

    Reference:
        Szegedy et al. 2014, "Going Deeper with Convolutions", arXiv 1409.4842, section 5.
    """

    def __init__(self, body: keras.Model, weight: float = 0.3, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(body, keras.Model) or not body.built:
            raise ValueError(f"AuxiliaryClassifier: expected body to be a built keras.Model, received {body!r}.")
        if not is_number(weight) or weight < 0:
            raise ValueError(f"AuxiliaryClassifier: expected weight to be at least 0, received {weight!r}.")
        self.body = body
        self.weight = weight
        self.supports_masking = True
        # a strategy traces each replica in a thread of its own, and they take turns in the middle of a step
        self._kept = threading.local()

    def build(self, input_shape: Shape) -> None:
        """Nothing: the side network is built."""

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Returns the inputs; in training it keeps the side network's outputs for `take`."""
        if training and self.weight:
            self._kept.outputs = self.body(inputs, training=True)
        return inputs

    def take(self) -> Tensor | None:
        """The outputs of the last training call, once; None where there was none."""
        outputs = getattr(self._kept, "outputs", None)
        self._kept.outputs = None
        return outputs

    def multiply_adds(self, input_shape: Shape) -> int:
        """None, at inference."""
        return 0

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Same shape as the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        body = keras.saving.serialize_keras_object(self.body)
        return {**super().get_config(), "body": body, "weight": self.weight}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AuxiliaryClassifier":
        """The layer again, with a side network of its own."""
        return cls(**{**config, "body": keras.saving.deserialize_keras_object(config["body"])})


def auxiliary_outputs(model: keras.Model) -> Iterator[tuple[float, Tensor]]:
    """(weight, outputs) of each auxiliary classifier that the last training call went through."""
    for layer in model.layers:
        if isinstance(layer, AuxiliaryClassifier):
            if (outputs := layer.take()) is not None:
                yield layer.weight, outputs
        elif isinstance(layer, keras.Model):
            yield from auxiliary_outputs(layer)
