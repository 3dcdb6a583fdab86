"""Dropout that stays on at inference, for models that say how unsure they are (Gal and Ghahramani 2016)."""

import keras

from convcraft.layers import DropPath
from convcraft.zoo.graphs import is_model

DROPOUTS = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    DropPath,
)


class _On(keras.layers.Layer):
    """A layer as it is in training, always."""

    def __init__(self, layer):
        super().__init__(name=f"{layer.name}_on")
        self.layer = layer

    def call(self, inputs):
        return self.layer(inputs, training=True)

    def compute_output_shape(self, input_shape):
        return input_shape


def with_dropout(model: keras.Model) -> keras.Model:
    """The same network, its weights shared, that drops at inference what it drops in training.

    Only dropout and drop-path draw: all else, batch normalization first, stays in inference mode. Each call gives
    another sample of the outputs.

    Args:
        model: a functional or sequential model.

    Raises:
        ValueError: for a model without dropout.

    Example:
        >>> from convcraft import zoo
        >>> sampled = with_dropout(zoo.create("squeezenet_cifar", classes=2))
        >>> a, b = (keras.ops.convert_to_numpy(sampled(keras.ops.ones((1, 32, 32, 3)))) for _ in range(2))
        >>> bool((a != b).any())
        True

    Reference:
        Gal, Ghahramani 2016, arXiv 1506.02142.
    """
    found = []

    def switch(layer):
        if is_model(layer):
            return keras.models.clone_model(layer, clone_function=switch)
        if isinstance(layer, DROPOUTS) and layer.rate > 0:
            found.append(layer.name)
            return _On(layer)
        return layer

    sampled = keras.models.clone_model(model, clone_function=switch)
    if not found:
        raise ValueError(
            f"Expected a model with dropout or DropPath to sample from; {model.name} has neither, and each sample "
            "would be the same (FractalNet's joins are not sampled)."
        )
    return sampled
