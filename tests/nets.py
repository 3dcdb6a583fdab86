"""Small nets with branches that can be dropped."""

import keras

from convcraft.layers import BatchNormalization, FractalPath, FreezeDropPath, Model
from convcraft.zoo.fractal import fractal_block


def unit(width, norm=True):
    """Convolution, normalization, ReLU."""

    def conv(x, name):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=not norm, name=name)(x)
        if norm:
            x = BatchNormalization(name=f"{name}_norm")(x)
        return keras.layers.ReLU(name=f"{name}_act")(x)

    return conv


def fractal(columns=2, width=4, size=4, make=Model, norm=True, blocks=1, drop_path=0.15, **path):
    """A fractal net; the same weights each time."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((size, size, 3))
    chosen = FractalPath(columns, **{"seed": 0, "name": "path", **path})(inputs)
    x = keras.layers.Conv2D(width, 1, name="stem")(inputs)
    for block in range(blocks):
        x = fractal_block(x, columns, unit(width, norm), f"block{block}", path=chosen, drop_path=drop_path)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return make(inputs, keras.layers.Dense(3, name="head")(x))


def stagewise(branches=2, width=4, size=4, make=Model, norm=True, **freeze):
    """Branches of depth 1, 2, …, summed by freeze-drop-path; the same weights each time."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((size, size, 3))
    outputs = []
    for depth in range(1, branches + 1):
        x = inputs
        for layer in range(depth):
            x = unit(width, norm)(x, f"branch{depth}_layer{layer}")
        outputs.append(x)
    x = FreezeDropPath(**{"seed": 0, "name": "freeze", **freeze})(outputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return make(inputs, keras.layers.Dense(3, name="head")(x))
