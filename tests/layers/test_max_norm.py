import json

import keras
import numpy as np
import pytest
from harness import draw, numpy, python
from hypothesis import given, settings
from hypothesis import strategies as st

from convcraft.layers import MaxNorm
from convcraft.zoo import Design, create

SHAPES = {"dense": (5, 4), "conv1d": (3, 5, 4), "conv2d": (3, 3, 5, 4), "conv3d": (2, 3, 3, 5, 4)}


def formula(w, bound):
    """Of each filter on its own, in float64."""
    out = w.astype("float64").copy()
    for number in range(w.shape[-1]):
        norm = np.sqrt(sum(float(value) ** 2 for value in out[..., number].ravel()))
        if norm > bound:
            out[..., number] *= bound / norm
    return out


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("bound", [0.5, 3, 1e3])
def test_each_filter_is_the_formula(shape, bound):
    w = draw(shape)
    np.testing.assert_allclose(numpy(MaxNorm(bound)(w)), formula(w, bound), rtol=1e-6)


def test_kerass_own_is_another_for_convolutions():
    w = draw((3, 3, 5, 4))
    own = numpy(keras.constraints.MaxNorm(2.0)(w))
    assert np.abs(own - formula(w, 2.0)).max() > 0.1
    right = numpy(keras.constraints.MaxNorm(2.0, axis=[0, 1, 2])(w))
    np.testing.assert_allclose(numpy(MaxNorm(2.0)(w)), right, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.sampled_from(["float32", "float16", "bfloat16"]),
    st.floats(0.01, 10),
    st.floats(1e-3, 1e4),
)
def test_norms_end_at_the_bound(shape, dtype, bound, scale):
    w = keras.ops.cast(draw(tuple(shape)) * np.float32(scale), dtype)
    out = MaxNorm(bound)(w)
    assert keras.backend.standardize_dtype(out.dtype) == dtype
    flat = numpy(out).astype("float64").reshape(-1, shape[-1])
    assert (np.sqrt((flat**2).sum(0)) <= bound * (1 + 2e-2 if dtype != "float32" else 1 + 1e-5) + 1e-7).all()


def test_within_the_bound_same_bits():
    w = draw((3, 3, 5, 4)) * 0.01
    np.testing.assert_array_equal(numpy(MaxNorm(3)(w)), w)
    assert (numpy(keras.constraints.MaxNorm(3, axis=[0, 1, 2])(w)) != w).any(), "Keras's shrink"


def test_zeros_and_huge_values():
    w = np.stack([np.zeros(4), np.full(4, 1e15), np.array([np.nan, 1, 1, 1])], -1).astype("float32")
    out = numpy(MaxNorm(2)(w))
    np.testing.assert_array_equal(out[:, 0], 0)
    np.testing.assert_allclose(out[:, 1], 1.0)
    assert np.isfinite(out[:, :2]).all() and np.isnan(out[0, 2])


def test_depthwise_has_a_filter_for_each_channel():
    w = draw((3, 3, 5, 2))
    out = numpy(MaxNorm(1).depthwise()(w))
    np.testing.assert_allclose(out, formula(w.reshape(3, 3, 10), 1).reshape(w.shape), rtol=1e-6)
    same = MaxNorm(1, axis=[0])
    assert same.depthwise() is same


def test_transposed_needs_its_axes():
    w = draw((3, 3, 4, 5))
    expected = np.swapaxes(formula(np.swapaxes(w, 2, 3), 1), 2, 3)
    np.testing.assert_allclose(numpy(MaxNorm(1, axis=(0, 1, 3))(w)), expected, rtol=1e-6)


def test_the_zoo_constrains_separable_convolutions_by_channel():
    design = Design(conv="separable", kernel_constraint=MaxNorm(3), width=0.25)
    model = create("resnet20_cifar", classes=3, design=design)
    layers = {type(layer).__name__: layer for layer in model.layers}
    assert layers["DepthwiseConv2D"].depthwise_constraint.axis == [0, 1]
    assert layers["Conv2D"].kernel_constraint.axis == "auto"


def test_training_keeps_to_it():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, kernel_constraint=MaxNorm(0.3), name="conv")(inputs)
    x = keras.layers.Flatten()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_constraint=MaxNorm(0.2), name="dense")(x))
    model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=keras.backend.backend() == "jax")
    model.fit(draw((8, 8, 8, 3)), draw((8, 2)), epochs=2, verbose=0)
    for name, bound in (("conv", 0.3), ("dense", 0.2)):
        kernel = model.get_layer(name).get_weights()[0]
        norms = np.sqrt((kernel.reshape(-1, kernel.shape[-1]) ** 2).sum(0))
        assert (norms <= bound * (1 + 1e-5)).all() and norms.max() > 0.9 * bound


@pytest.mark.parametrize("made", [MaxNorm(2.5), MaxNorm(3, axis=(0, 1)), MaxNorm(3, axis=0)])
def test_config(made):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
    assert config["registered_name"] == "convcraft>MaxNorm"
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is MaxNorm and again.get_config() == made.get_config()


def test_a_saved_model_has_it_in_a_fresh_process(tmp_path):
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(2, kernel_constraint=MaxNorm(2))(inputs)).save(tmp_path / "m.keras")
    code = "import sys, convcraft; print(convcraft.load_model(sys.argv[1]).layers[1].kernel_constraint.get_config())"
    assert python(code, tmp_path / "m.keras").strip() == "{'max_value': 2, 'axis': 'auto'}"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"max_value": 0}, "max_value to be positive, received 0"),
        ({"max_value": float("nan")}, "max_value"),
        ({"max_value": "3"}, "received '3'"),
        ({"axis": "all"}, "axis to be 'auto'"),
        ({"axis": [0, 1.5]}, "axis"),
        ({"axis": []}, "axis"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaxNorm(**arguments)
