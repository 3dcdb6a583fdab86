"""Shared by the tests of the zoo: weights that make outputs worth comparing."""

import keras
import numpy as np
import pytest


@pytest.fixture
def randomize():
    """A function that gives a model random weights: a fresh net's logits are near zero, and any two nets agree."""
    return _randomize


def _randomize(model, seed=0, positive=False):
    """Draws every weight by its role and shape, in order; with `positive`, nothing can cancel. Returns the model."""
    draw = np.random.default_rng(seed)
    for layer in model.layers:
        values = []
        for variable in layer.weights:
            shape = tuple(variable.shape)
            if variable.name in ("gamma", "moving_variance"):
                value = draw.uniform(0.5, 1.5, shape)
            elif variable.name == "alpha":  # of PReLU
                value = draw.uniform(0.1, 0.9, shape)
            elif len(shape) > 1:
                seen = shape[:2] if isinstance(layer, keras.layers.DepthwiseConv2D) else shape[:-1]
                value = draw.normal(0, np.sqrt(2 / np.prod(seen)), shape)
            else:
                value = draw.normal(0, 0.1, shape)
            values.append((np.abs(value) if positive else value).astype("float32"))
        layer.set_weights(values)
    return model
