"""Activations by name: as layers, and wherever Keras takes a string."""

import keras
import numpy as np
import pytest
from harness import BACKEND, check_layer, draw, numpy, python
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm

from convcraft.layers import Maxout, PReLU, RReLU, activation, activation_names
from convcraft.layers.keras_names import _Table, parse, pieces, tell_keras

check_layer(
    PReLU,
    shapes=[(2, 4, 4, 3), (2, 5), (3, 7, 2)],
    reference=lambda x: np.where(x > 0, x, x / 4),
    trainable=1,
    bad=[
        ({"slope": "a"}, "slope"),
        ({"slope": 2}, "slope"),
        ({"axis": 0}, "axis"),
        ({"shared_axes": [1]}, "shared_axes"),
        ({"alpha_initializer": "zeros"}, "alpha_initializer"),
    ],
)

SELU = 1.0507009873554805, 1.6732632423543772
# At inference, in float64; facts.md, sections 4, 8 and 14.
FORMULAS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky": lambda x: np.where(x > 0, x, x / 100),
    "leaky0.2": lambda x: np.where(x > 0, x, x / 5),
    "very_leaky": lambda x: np.maximum(x, x / 3),
    "prelu": lambda x: np.where(x > 0, x, x / 4),
    "prelu0.1": lambda x: np.where(x > 0, x, x / 10),
    "prelu.5": lambda x: np.where(x > 0, x, x / 2),
    "rrelu": lambda x: np.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2),
    "rrelu_paper": lambda x: np.where(x > 0, x, x / ((3 + 8) / 2)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "elu0.5": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)) / 2),
    "selu": lambda x: SELU[0] * np.where(x > 0, x, SELU[1] * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * norm.cdf(x),
    "silu": lambda x: x * expit(x),
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "softplus": lambda x: np.logaddexp(0, x),
    "softplus_log2": lambda x: np.logaddexp(0, x) - np.log(2),
    "sigmoid": expit,
    "tanh": np.tanh,
    "scaled_tanh": lambda x: 1.73 * np.tanh(2 * x / 3),
    "maxout": lambda x: np.maximum(x[..., :6], x[..., 6:]),
    "maxout3": lambda x: np.maximum(np.maximum(x[..., :4], x[..., 4:8]), x[..., 8:]),
    "linear": lambda x: x,
}
LEARNED = {"prelu", "prelu0.1", "prelu.5"}


def test_every_name_has_a_formula_here():
    assert set(activation_names()) <= set(FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
def test_activation_is_the_formula(name):
    x = draw((3, 12), low=-8, high=8)
    expected = FORMULAS[name](x.astype("float64"))
    np.testing.assert_allclose(numpy(activation(name)(x)), expected, rtol=2e-5, atol=1e-6)
    assert activation(name, name="mine", dtype="mixed_float16").compute_dtype == "float16"
    # by string: the layer's product first, so that the owner's own work is known to be nothing
    layer = keras.layers.Dense(12, activation=name, kernel_initializer="identity")
    np.testing.assert_allclose(numpy(layer(x)), expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(keras.layers.Activation(name)(x)), expected, rtol=2e-5, atol=1e-6)


@given(
    name=st.sampled_from(sorted(FORMULAS)),
    shape=st.sampled_from([(0, 12), (1, 12), (2, 3, 12), (1, 2, 2, 12)]),
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
@settings(max_examples=25, deadline=None)
def test_shapes_and_dtypes(name, shape, dtype, scale):
    x = scale * draw(shape)
    layer = activation(name, dtype=dtype)
    y = layer(x)
    assert tuple(y.shape) == tuple(layer.compute_output_shape(shape))
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert np.isfinite(numpy(y)).all()


@pytest.mark.parametrize("name", ["leaky", "very_leaky", "prelu", "rrelu", "scaled_tanh", "softplus_log2", "maxout"])
def test_infinities_and_nan(name):
    x = np.float32([[np.inf, -np.inf, np.nan, 0] * 3])
    with np.errstate(invalid="ignore"):
        expected = FORMULAS[name](x.astype("float64"))
    np.testing.assert_allclose(numpy(activation(name)(x)), expected, atol=1e-6)


def model_with(name):
    """Names in a convolution, a layer of their own, and a dense layer."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(12, 3, activation=name),
            keras.layers.Activation(name),
            keras.layers.Flatten(),
            keras.layers.Dense(12, activation=name),
            keras.layers.Dense(2),
        ]
    )


@pytest.mark.parametrize("name", ["very_leaky", "prelu0.1", "rrelu", "maxout", "scaled_tanh"])
def test_contract_of_a_string(name, fresh_process, tmp_path):
    """Built with its owner, trained, saved, loaded elsewhere."""
    model, x = model_with(name), draw((4, 6, 6, 3))
    slopes = [v for v in model.trainable_variables if v.name == "alpha"]
    assert [tuple(v.shape) for v in slopes] == ([(1, 1, 12), (1, 1, 12), (12,)] if name in LEARNED else [])
    width = 12 // pieces(name)
    assert [layer.output.shape[-1] for layer in model.layers[:2]] == [width, width // pieces(name)]
    before = [numpy(v) for v in model.trainable_variables]
    model.compile("sgd", "mse", jit_compile=BACKEND == "jax")
    model.fit(x, np.ones((4, 2)), verbose=0)
    assert all((numpy(v) != old).any() for v, old in zip(model.trainable_variables, before, strict=True))
    y = model.predict(x, verbose=0)
    outputs, _ = fresh_process.predict(model, x, tmp_path)
    np.testing.assert_allclose(outputs, y, rtol=1e-6, atol=1e-6)
    again = keras.models.clone_model(model)
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict(x, verbose=0), y, rtol=1e-6, atol=1e-6)
    model.save_weights(tmp_path / "w.weights.h5")
    fresh = model_with(name)  # never called
    fresh.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_allclose(fresh.predict(x, verbose=0), y, rtol=1e-6, atol=1e-6)


def test_layers_share_nothing():
    one, other = (keras.layers.Dense(3, activation="prelu") for _ in range(2))
    assert one.activation is not other.activation
    noise = [keras.layers.Activation("rrelu") for _ in range(2)]
    x = -np.ones((1, 1000), "float32")
    assert (numpy(noise[0](x, training=True)) != numpy(noise[1](x, training=True))).any()


def test_noise_heeds_training():
    layer = keras.layers.Dense(6, activation="rrelu", kernel_initializer="identity")
    x = -np.ones((2, 6), "float32")
    np.testing.assert_allclose(numpy(layer(x)), -11 / 48, rtol=1e-6)
    model = keras.Sequential([keras.Input((6,)), layer])
    first, second = numpy(model(x, training=True)), numpy(model(x, training=True))
    assert (first != second).any() and -1 / 3 <= first.min() <= first.max() <= -1 / 8
    np.testing.assert_allclose(model.predict(x, verbose=0), -11 / 48, rtol=1e-6)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has no channels-first convolution on CPUs")
def test_channels_first():
    for name, shape in (("prelu", (12, 1, 1)), ("maxout", None)):
        layer = keras.layers.Conv2D(12, 3, activation=name, data_format="channels_first")
        model = keras.Sequential([keras.Input((3, 8, 7)), layer])
        assert model.output_shape == (None, 12 // pieces(name), 6, 5)
        assert model.predict(draw((2, 3, 8, 7)), verbose=0).shape == (2, 12 // pieces(name), 6, 5)
        assert shape is None or tuple(layer.activation.alpha.shape) == shape
        again = keras.layers.Conv2D.from_config(layer.get_config())
        assert again.compute_output_shape((None, 3, 8, 7)) == model.output_shape


def test_other_layers_of_keras():
    x = draw((2, 7, 7, 4))
    for make in (keras.layers.SeparableConv2D, keras.layers.Conv2DTranspose):
        layer = make(8, 3, activation="maxout")
        y = layer(x)
        assert tuple(y.shape) == tuple(layer.compute_output_shape(x.shape)) and y.shape[-1] == 4
    for layer in (
        keras.layers.DepthwiseConv2D(3, activation="prelu"),
        keras.layers.Conv2DTranspose(4, 3, activation="prelu"),
    ):
        layer.build((None, 7, 7, 4))
        assert tuple(layer.activation.alpha.shape) == (1, 1, 4)
    for layer in (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN):  # without weights: any owner
        y = layer(3, activation="scaled_tanh")(draw((2, 5, 4)))
        assert np.isfinite(numpy(y)).all()


def test_a_part_of_another_layer_is_left_alone():
    """Only what is made for `activation=` is tied to its owner, not what an activation is made of."""

    @keras.saving.register_keras_serializable("test")
    class Both(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = Maxout(2)

        def call(self, x):
            return keras.ops.concatenate([self.inner(x), self.inner(x)], -1)

        def compute_output_shape(self, shape):
            return (*shape[:-1], 4)

    layer = keras.layers.Dense(4, activation=keras.saving.serialize_keras_object(Both()))
    assert layer.compute_output_shape((None, 3)) == (None, 4)
    assert tuple(keras.Sequential([keras.Input((3,)), layer]).predict(draw((2, 3)), verbose=0).shape) == (2, 4)


@pytest.mark.parametrize(
    "name, message",
    [("lecky", "Did you mean 'leaky'"), ("prelu-1", "Could not interpret"), ("zzz", "Could not interpret")],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        keras.layers.Dense(2, activation=name)
    with pytest.raises(
        ValueError, match=f"activation: expected kind to be one of relu, relu6, leaky.*received '{name}'"
    ):
        activation(name)


def test_names_that_are_not_names():
    for wrong in (3, None, "maxout1", "maxout0.5", "relu2", ""):
        with pytest.raises(ValueError, match="expected kind"):
            activation(wrong)
    assert parse("prelu0.1") == ("prelu", 0.1) and parse("leaky.3") == ("leaky", 0.3) and parse("mish") is None
    assert [pieces(name) for name in (None, "relu", "maxout", "maxout4")] == [1, 1, 2, 4]
    assert isinstance(activation("mish"), keras.layers.Activation)  # Keras's own names do, too


def test_keras_s_own_names_are_keras_s():
    assert keras.activations.get("relu") is keras.activations.relu
    assert keras.layers.Dense(2, activation="relu").get_config()["activation"] == "relu"
    with pytest.raises(ValueError, match="Could not interpret"):
        keras.activations.get("nothing like it")


@pytest.mark.parametrize(
    "imports",
    ["import convcraft.layers, keras", "import keras, convcraft.layers", "from convcraft import layers; import keras"],
)
def test_order_of_imports(imports):
    code = f"""
import sys
{imports}
assert not any("convcraft" in type(finder).__module__ for finder in sys.meta_path)
layer = keras.layers.Dense(2, activation="very_leaky")
print(type(layer.activation).__name__, type(keras.__spec__.loader).__name__)
"""
    assert python(code).split() == ["LeakyReLU", "SourceFileLoader"]


def test_a_keras_that_keeps_its_names_elsewhere(monkeypatch):
    def get(identifier):
        return identifier

    monkeypatch.setattr(keras.activations, "get", eval("lambda name: name", {}))
    with pytest.warns(UserWarning, match=r"pass convcraft\.layers\.activation"):
        assert not tell_keras()
    assert isinstance(activation("very_leaky"), keras.layers.LeakyReLU)
    monkeypatch.undo()
    assert tell_keras()  # a second time changes nothing
    table = keras.activations.get.__globals__["ALL_OBJECTS_DICT"]
    assert type(table) is _Table and not isinstance(table.make, _Table)


def test_seeded_noise_is_ours():
    assert isinstance(keras.activations.get("rrelu"), RReLU)
    assert keras.activations.get("rrelu_paper").divide
