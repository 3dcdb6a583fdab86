"""New initial values for a model that exists, by kind of layer."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

CONVOLUTIONS = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
    *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
    *(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
)
KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")

# name: (convolutions, dense layers)
POLICIES: dict[str, tuple[Any, Any]] = {
    "xavier_dense": (keras.initializers.RandomNormal(stddev=0.01), "glorot_uniform"),
    "gaussian": (keras.initializers.RandomNormal(stddev=0.01), keras.initializers.RandomNormal(stddev=0.01)),
    "xavier": ("glorot_uniform", "glorot_uniform"),
    "he": ("he_normal", "he_normal"),
    "zeros": ("zeros", "zeros"),
}

Initializer = Any  # a keras.initializers.Initializer or its name


def initialize(
    model: keras.Model,
    policy: str | None = None,
    *,
    conv: Initializer | None = None,
    dense: Initializer | None = None,
    seed: int = 0,
) -> dict[str, str]:
    """Draws the kernels of a model's convolutions and dense layers anew, and sets their biases to zero.

    For comparing initializations on one model, which may be anyone's. In the zoo the same policies are knobs:
    `zoo.Design(conv_init=keras.initializers.RandomNormal(stddev=0.01), dense_init="glorot_uniform")` is "xavier_dense".
    What is neither convolution nor dense layer (normalization, PReLU's slopes, embeddings) stays as it is, and so do
    layers that are not trainable.

    - "xavier_dense": Gaussian of deviation 0.01 for convolutions, Xavier (Glorot, uniform) for dense layers, as an
      older piece of advice has it. In deep nets without normalization it is doubtful: the signal fades from layer to
      layer where 0.01 is below what the number of inputs asks for.
    - "gaussian": deviation 0.01 everywhere. "xavier": Glorot's everywhere. "he": He's normal everywhere; the right
      one for ReLU without normalization.
    - "zeros": the demonstration that all-zero weights do not learn: all units stay alike.

    Args:
        model: a built Keras model, nested ones included.
        policy: one of the names above.
        conv: a Keras initializer or its name for convolutions, in place of the policy's; None without a policy leaves
            them as they are.
        dense: the same, for dense layers.
        seed: from which every kernel gets one of its own, whatever the initializer's.

    Returns:
        The path of each kernel that was drawn, and the initializer's class.

    Raises:
        ValueError: for an unknown policy or initializer, and for a model without such layers.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        >>> model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(keras.layers.Flatten()(x)))
        >>> initialize(model, "xavier_dense")
        {'conv/kernel': 'RandomNormal', 'dense/kernel': 'GlorotUniform'}
    """
    if policy is not None and policy not in POLICIES:
        raise ValueError(f"initialize: expected policy to be one of {', '.join(POLICIES)}, received {policy!r}.")
    if policy is None and conv is None and dense is None:
        raise ValueError("initialize: expected a policy, conv or dense, received none of them.")
    defaults = POLICIES[policy] if policy else (None, None)
    makers = [
        _initializer(own if own is not None else default) for own, default in zip((conv, dense), defaults, strict=True)
    ]
    done: dict[str, str] = {}
    for layer in kernel_layers(model):
        maker = makers[0] if isinstance(layer, CONVOLUTIONS) else makers[1]
        if maker is None or not layer.trainable:
            continue
        for kernel in kernels(layer):
            drawn = _seeded(maker, seed + len(done))
            kernel.assign(drawn(tuple(kernel.shape), dtype=kernel.dtype))
            done[kernel.path] = type(drawn).__name__
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(ops.zeros(layer.bias.shape, layer.bias.dtype))
    if not done:
        raise ValueError(
            f"initialize: expected a built model with trainable layers of that kind, received {model.name}."
        )
    return done


def kernel_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The built convolutions and dense layers of a model and of the models and layers in it, each once."""
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, (*CONVOLUTIONS, keras.layers.Dense)) and layer.built:
            yield layer


def kernels(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The kernels of a layer: one, or two of a separable convolution."""
    held = [vars(layer).get(name, vars(layer).get(f"_{name}")) for name in KERNELS]
    return [kernel for kernel in held if isinstance(kernel, keras.Variable)]


def _initializer(given: Initializer | None) -> keras.initializers.Initializer | None:
    try:
        found = keras.initializers.get(given)
    except ValueError as error:
        raise ValueError(f"initialize: expected a Keras initializer or its name, received {given!r}.") from error
    if found is not None and not isinstance(found, keras.initializers.Initializer):
        raise ValueError(f"initialize: expected a Keras initializer or its name, received {given!r}.")
    return found


def _seeded(initializer: keras.initializers.Initializer, seed: int) -> keras.initializers.Initializer:
    """A copy that draws with `seed`; one instance draws the same numbers each time."""
    config = initializer.get_config()
    return type(initializer).from_config({**config, "seed": seed} if "seed" in config else config)
