"""Standardize and Squeeze."""

import keras
import numpy as np
import pytest
from harness import BACKEND, check_layer, draw, numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from convcraft.layers import Squeeze, Standardize

TRAIN = draw((30, 4, 5, 3), "float64", 10, 200, seed=9) * [1.0, 0.5, 0.1]
AXES = {"channel": (0, 1, 2), "pixel": (0,), None: (0, 1, 2, 3)}


def standardized(x, train, axis):
    """(x - mean) / std in NumPy, float64; the deviation is the population's."""
    return (x - train.mean(AXES[axis])) / train.std(AXES[axis])


def squeezed(x, train, axis):
    """To -1..1, in NumPy, float64."""
    low, high = train.min(AXES[axis]), train.max(AXES[axis])
    return 2 * (x - low) / (high - low) - 1


LAYERS = [(Standardize, {"axis": axis}, standardized) for axis in ("channel", "pixel")]
LAYERS += [(Squeeze, {"axis": axis, "value_range": None}, squeezed) for axis in (None, "channel", "pixel")]
EACH = pytest.mark.parametrize("cls, options, formula", LAYERS, ids=[f"{c.__name__}-{o['axis']}" for c, o, _ in LAYERS])


def adapted_standardize(**options):
    layer = Standardize(**options)
    layer.adapt(TRAIN)
    return layer


check_layer(
    adapted_standardize,
    shapes=[(4, 6, 5, 3), (1, 4, 5, 3)],
    reference=lambda x: standardized(x, TRAIN, "channel"),
    bad=[
        ({"axis": -1}, "axis to be 'channel' or 'pixel', received -1"),
        ({"mean": 1.0}, "mean and std together"),
        ({"mean": 1.0, "std": 0.0}, "std to be positive, received 0.0"),
        ({"data_format": "nchw"}, "data_format"),
    ],
)
test_contract_of_standardize = test_contract  # noqa: F821 - check_layer made it
test_bad_arguments_of_standardize = test_bad_arguments  # noqa: F821

check_layer(
    Squeeze,
    shapes=[(4, 6, 5, 3), (1, 4, 5, 1)],
    reference=lambda x: x / 127.5 - 1,
    bad=[
        ({"value_range": (1, 0)}, r"value_range to be \(low, high\) or None, received \(1, 0\)"),
        ({"value_range": (0, 1, 2)}, "value_range"),
        ({"value_range": 255}, "value_range .*received 255"),
        ({"value_range": (0, float("inf"))}, "value_range"),
        ({"axis": "row"}, "axis to be None, 'channel' or 'pixel', received 'row'"),
    ],
)


@EACH
def test_output_is_the_formula(cls, options, formula):
    x = draw((4, 4, 5, 3), low=0, high=255)
    expected = formula(x.astype("float64"), TRAIN, options["axis"])
    for data_format in ("channels_last", "channels_first"):
        first = data_format == "channels_first"
        layer = cls(**options, data_format=data_format)
        layer.adapt(np.moveaxis(TRAIN, -1, 1) if first else TRAIN)
        inputs = np.moveaxis(x, -1, 1) if first else x
        y = layer(inputs)
        assert tuple(y.shape) == inputs.shape == tuple(layer.compute_output_shape(inputs.shape))
        found = np.moveaxis(numpy(y), 1, -1) if first else numpy(y)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(numpy(layer(inputs[0])), numpy(y)[0], rtol=1e-6)
        np.testing.assert_allclose(numpy(layer.inverse(y)), inputs, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(numpy(layer.inverse(y[0])), inputs[0], rtol=1e-5, atol=1e-3)


@EACH
def test_adapt_takes_batches_pairs_and_tensors(cls, options, formula):
    sources = [[TRAIN[:7], TRAIN[7:8], TRAIN[8:]], [(TRAIN[:9], 1), (TRAIN[9:], 2)], list(TRAIN)]
    sources += [keras.ops.convert_to_tensor(TRAIN.astype("float32")), TRAIN.astype("float16")]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        sources.append(tf.data.Dataset.from_tensor_slices((TRAIN, np.zeros(30))).batch(8))
    x = TRAIN[:3].astype("float32")
    for source in sources:
        layer = cls(**options)
        assert not layer.adapted
        layer.adapt(source)
        assert layer.adapted
        tolerance = 0.02 if getattr(source, "dtype", None) == np.float16 else 1e-4
        np.testing.assert_allclose(numpy(layer(x)), formula(TRAIN[:3], TRAIN, options["axis"]), atol=tolerance)


@EACH
def test_a_feature_that_never_varies_becomes_zero(cls, options, formula):
    """Where Keras's Normalization would multiply what is new by ten million."""
    train = np.full((178, 4, 5, 3), 0.1) * ([1, 7.7, 10_001] if options["axis"] else [1, 1, 1])
    layer = cls(**options)
    layer.adapt(np.split(train, [13, 20, 120, 123]))  # so that the sums' rounding leaves a variance of 1e-25
    np.testing.assert_allclose(numpy(layer(train.astype("float32"))), 0, atol=1e-4)
    np.testing.assert_allclose(numpy(layer(train.astype("float32") + 1)), 1, atol=1e-3)
    np.testing.assert_allclose(numpy(layer.inverse(layer(train.astype("float32")))), train, rtol=1e-5)


@EACH
def test_never_adapted(cls, options, formula):
    layer = cls(**options, name="first")
    for use in (layer, layer.inverse):
        with pytest.raises(ValueError, match="'first' to know the data, but it was never adapted"):
            use(TRAIN.astype("float32"))
    model = keras.Sequential([keras.Input((4, 5, 3)), cls(**options), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    with pytest.raises(ValueError, match="never adapted"):
        model.fit(TRAIN, np.zeros(30), verbose=0)


def test_moments_after_standardizing():
    """Mean 0 and deviation 1, per channel or per pixel, also where sums of squares in float32 would cancel."""
    for shift in (0, 1e6):
        x = (TRAIN + shift).astype("float32")
        for axis in ("channel", "pixel"):
            layer = Standardize(axis)
            layer.adapt(x)
            y = numpy(layer(x)).astype("float64")
            tolerance = 1e-5 if not shift else 0.05  # what float32 images of a million can say
            np.testing.assert_allclose(y.mean(AXES[axis]), 0, atol=tolerance)
            np.testing.assert_allclose(y.std(AXES[axis]), 1, atol=tolerance)


def test_squeezing_reaches_both_ends_and_never_clips():
    layer = Squeeze(None, axis="channel")
    layer.adapt(TRAIN)
    y = numpy(layer(TRAIN.astype("float32")))
    np.testing.assert_allclose(y.min((0, 1, 2)), -1, atol=1e-5)
    np.testing.assert_allclose(y.max((0, 1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(numpy(Squeeze()(np.full((1, 1, 1, 1), 510, "int32"))), 3)
    np.testing.assert_allclose(numpy(Squeeze((-1, 3))(np.float32([[[[-1], [1], [3]]]]))).ravel(), [-1, 0, 1])


def test_adapt_replaces_a_known_range():
    layer = Squeeze()
    assert layer.adapted
    layer(np.zeros((1, 4, 5, 3), "uint8"))
    layer.adapt(TRAIN)
    np.testing.assert_allclose(numpy(layer(TRAIN.astype("float32"))), squeezed(TRAIN, TRAIN, None), atol=1e-5)


def test_known_statistics():
    """CIFAR-10's, facts.md 3.3; and what is one number for all channels."""
    mean, std = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
    layer = Standardize(mean=mean, std=std)
    assert layer.adapted
    x = draw((2, 3, 3, 3), "uint8", 0, 255)
    np.testing.assert_allclose(numpy(layer(x)), (x - np.array(mean)) / std, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(Standardize(mean=2, std=4)(x)), (x - 2.0) / 4)
    assert Standardize.from_config(layer.get_config()).mean == list(mean)
    unbuilt = Standardize(mean=mean, std=std)
    np.testing.assert_allclose(numpy(unbuilt.inverse(layer(x))), x, atol=1e-3)
    with pytest.raises(ValueError, match=r"means of shape \(1,\) for these images, received \(3,\)"):
        Standardize(mean=mean, std=std)(np.zeros((1, 2, 2, 1), "uint8"))


def test_agrees_with_keras_normalization():
    ours, keras_s = Standardize(), keras.layers.Normalization()
    x = TRAIN.astype("float32")
    ours.adapt(x)
    keras_s.adapt(x)
    np.testing.assert_allclose(numpy(ours(x)), numpy(keras_s(x)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cls, options", [(Standardize, {"axis": "pixel"}), (Squeeze, {"value_range": None})])
def test_saved_and_loaded(cls, options, tmp_path):
    inputs = keras.Input((4, 5, 3))
    layer = cls(**options)
    model = keras.Model(inputs, layer(inputs))
    layer.adapt(TRAIN)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert again.layers[1].adapted
    np.testing.assert_array_equal(again.predict(TRAIN, verbose=0), model.predict(TRAIN, verbose=0))


def test_sizes():
    with pytest.raises(ValueError, match="axis='pixel' expects images of a fixed size"):
        Standardize("pixel")(keras.Input((None, 5, 3)))
    with pytest.raises(ValueError, match="built for, received"):
        adapted_standardize(axis="pixel").adapt(TRAIN[:, :3])
    with pytest.raises(ValueError, match="Standardize: expected .*rank 4"):
        Standardize()(np.zeros((4, 3), "float32"))


@settings(max_examples=15 if BACKEND != "jax" else 5, deadline=None)  # JAX compiles for each shape
@given(
    choice=st.integers(0, len(LAYERS) - 1),
    dtype=st.sampled_from(["uint8", "int32", "float16", "float32", "float64"]),
    size=st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    policy=st.sampled_from(["float32", "mixed_float16", "mixed_bfloat16", "float64"]),
)
def test_any_images(choice, dtype, size, policy):
    """Shapes and types, empty batches; half precision comes in only at the end."""
    cls, options, formula = LAYERS[choice]
    train = draw((9, *size[1:]), "float64", 0, 255, seed=1)
    x = draw(size, dtype, 0, 255, seed=2)
    layer = cls(**options, dtype=policy)
    layer.adapt(train)
    y = layer(x)
    output = policy.removeprefix("mixed_")
    if not (BACKEND == "jax" and output == "float64"):  # JAX knows it only when told to
        assert keras.backend.standardize_dtype(y.dtype) == output
    expected = formula(x.astype("float64"), train, options["axis"])
    accuracy = {"float16": 1e-3, "bfloat16": 8e-3}.get(output, 2e-5)
    np.testing.assert_allclose(numpy(y), expected, rtol=accuracy, atol=accuracy)


def test_extreme_values_stay_where_they_are():
    x = TRAIN[:2].astype("float32")
    layer = adapted_standardize()
    expected = numpy(layer(x))
    x[0, 0, 0, 0], x[1, 0, 0, 1] = np.nan, -np.inf
    y = numpy(layer(x))
    assert np.isnan(y[0, 0, 0, 0]) and y[1, 0, 0, 1] == -np.inf
    np.testing.assert_array_equal(y[:, 1:], expected[:, 1:])
