import keras
import numpy as np
import pytest
from harness import draw, numpy

from convcraft import layers
from convcraft.layers import lsuv
from convcraft.layers.layer_sequential import orthonormal

KL = keras.layers


def matrix(kernel):
    return kernel.reshape(-1, kernel.shape[-1]).astype("float64")


def is_orthonormal(m):
    """Columns where they are no more than the rows, rows otherwise."""
    product = m.T @ m if m.shape[0] >= m.shape[1] else m @ m.T
    scale = product[0, 0]
    np.testing.assert_allclose(product, scale * np.eye(len(product)), atol=1e-4 * scale)
    return True


def deep(activation="relu"):
    inputs = keras.Input((12, 12, 3))
    x = KL.Conv2D(8, 3, activation=activation, name="wide")(inputs)
    x = KL.Conv2D(8, 3, padding="same", activation="tanh", name="square")(x)
    x = KL.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = KL.SeparableConv2D(6, 3, activation="elu", name="separable")(x)
    x = KL.Conv2DTranspose(5, 2, strides=2, activation="relu", name="transposed")(x)
    x = KL.BatchNormalization(name="bn")(x)
    x = KL.Conv2D(10, 1, groups=5, name="grouped")(x)
    x = KL.Dense(7, activation="relu", name="dense")(KL.Flatten()(x))
    return keras.Model(inputs, KL.Dense(4, activation="softmax", name="head")(x))


IMAGES = draw((32, 12, 12, 3), low=0, high=255)


def before_activation(model, images):
    """The deviation of each layer's output before its activation, from a copy of the model without activations:
    the layer applied to what its predecessors give."""
    result = {}
    for layer in model.layers:
        if not hasattr(layer, "kernel") and not hasattr(layer, "pointwise_kernel"):
            continue
        config = layer.get_config()
        linear = type(layer).from_config({**config, "activation": None, "name": "copy"})
        source = keras.Model(model.inputs, layer.input)(images)
        linear.build(source.shape)
        linear.set_weights(layer.get_weights())
        result[layer.name] = numpy(linear(source)).astype("float64").std()
    return result


def test_every_layer_has_unit_variance():
    model = deep()
    names = [layer.name for layer in model.layers if layer.name in before_activation(model, IMAGES)]
    report = lsuv(model, IMAGES, tolerance=0.05)
    assert [row.name for row in report.rows] == names and len(names) == 8
    for row, std in zip(report.rows, before_activation(model, IMAGES).values(), strict=True):
        assert abs(std**2 - 1) <= 0.05, row
        assert row.after == pytest.approx(std, rel=1e-3)
    assert report.converged and report.rows[0].before > 10 and report.rows[0].iterations >= 1


def test_kernels_are_orthonormal_up_to_their_scale():
    model = deep()
    lsuv(model, IMAGES)
    kernel = {layer.name: layer.get_weights()[0] for layer in model.layers if layer.get_weights()}
    assert is_orthonormal(matrix(kernel["wide"])) and kernel["wide"].shape == (3, 3, 3, 8)
    assert is_orthonormal(matrix(kernel["square"])) and is_orthonormal(kernel["dense"].astype("float64"))
    assert is_orthonormal(matrix(np.swapaxes(kernel["transposed"], 2, 3)))
    pointwise = model.get_layer("separable").get_weights()[1]
    assert is_orthonormal(matrix(pointwise))
    for group in range(5):
        assert is_orthonormal(matrix(kernel["grouped"][..., 2 * group : 2 * group + 2]))
    for channel in range(8):
        assert is_orthonormal(kernel["depthwise"][:, :, channel].reshape(9, -1).astype("float64"))
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            np.testing.assert_array_equal(numpy(layer.bias), 0)


@pytest.mark.parametrize(
    "layer, shape",
    [
        (KL.Dense(3), (8, 3)),
        (KL.Dense(8), (3, 8)),
        (KL.Conv1D(4, 3), (3, 5, 4)),
        (KL.Conv3D(4, 2), (2, 2, 2, 5, 4)),
        (KL.Conv2D(50, 3), (3, 3, 5, 50)),
    ],
)
def test_shapes_and_singular_values(layer, shape):
    """All singular values are 1: more than a product of columns says."""
    drawn = orthonormal(layer, shape, np.random.default_rng(0))
    assert drawn.shape == shape
    np.testing.assert_allclose(np.linalg.svd(matrix(drawn), compute_uv=False), 1, rtol=1e-10)


def test_nothing_else_changes():
    model = deep()
    bn = [w.copy() for w in model.get_layer("bn").get_weights()]
    activations = [getattr(layer, "activation", None) for layer in model.layers]
    lsuv(model, IMAGES)
    for mine, before in zip(model.get_layer("bn").get_weights(), bn, strict=True):
        np.testing.assert_array_equal(mine, before)
    assert [getattr(layer, "activation", None) for layer in model.layers] == activations
    assert np.allclose(numpy(model(IMAGES)).sum(-1), 1, atol=1e-5), "softmax again"


def test_one_seed_one_result():
    weights = []
    for seed in (1, 1, 2):
        model = deep()
        lsuv(model, IMAGES, seed=seed)
        weights.append(model.get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


def test_shared_layers_and_nested_models():
    shared = KL.Dense(6, activation="relu", name="shared")
    inside = keras.Input((6,))
    nested = keras.Model(inside, KL.Dense(6, name="within")(inside), name="nested")
    inputs = keras.Input((6,))
    first = shared(inputs)
    second = shared(first)
    model = keras.Model(inputs, KL.Dense(2, name="out")(nested(second)))
    x = draw((200, 6))
    report = lsuv(model, x, tolerance=0.05)
    assert [row.name.split("/")[-1] for row in report.rows] == ["shared", "within", "out"]
    kernel, _ = shared.get_weights()
    one = x @ kernel
    two = np.maximum(one, 0) @ kernel
    assert abs(np.concatenate([one, two]).var() - 1) <= 0.05
    assert report.converged


def test_a_zoo_model_and_its_table():
    from convcraft import zoo

    model = zoo.create("squeezenet_cifar", classes=4)
    assert isinstance(model, layers.Model)
    report = lsuv(model, draw((4, 32, 32, 3), low=0, high=255), max_iterations=3)
    assert report.converged
    lines = str(report).splitlines()
    assert lines[0].split() == ["layer", "std", "before", "std", "after", "iterations"]
    assert len(lines) == len(report.rows) + 1 == 1 + sum("Conv2D" in type(layer).__name__ for layer in model.layers)


def test_layers_that_do_not_train_are_left_alone():
    model = deep()
    model.get_layer("square").trainable = False
    before = model.get_layer("square").get_weights()[0].copy()
    report = lsuv(model, IMAGES)
    np.testing.assert_array_equal(model.get_layer("square").get_weights()[0], before)
    assert "square" not in [row.name for row in report.rows]


def test_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((6,))
        x = KL.Dense(16, activation="relu", name="one")(inputs)
        report = lsuv(keras.Model(inputs, KL.Dense(4, name="two")(x)), draw((100, 6)))
    finally:
        keras.config.set_dtype_policy("float32")
    assert report.converged


def test_too_few_iterations_are_told():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, KL.Dense(4, name="one", activation="relu")(inputs))
    report = lsuv(model, 100 * draw((50, 6)), max_iterations=1)
    assert report.rows[0].iterations == 1 and report.converged, "without a bias, one scaling is enough"


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((4, 12, 12, 3), "float32"), "the output of wide does not vary over these images"),
        (np.full((4, 12, 12, 3), np.nan, "float32"), "the output of wide is not finite"),
        (np.zeros((0, 12, 12, 3), "float32"), "received an empty one"),
    ],
)
def test_what_cannot_be_scaled_is_refused_and_undone(images, message):
    model = deep()
    before = [w.copy() for w in model.get_weights()]
    with pytest.raises(ValueError, match=message):
        lsuv(model, images)
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


def test_a_layer_behind_a_dead_one_is_named():
    inputs = keras.Input((6,))
    x = KL.Dense(4, activation=lambda x: x * 0, name="one")(inputs)
    model = keras.Model(inputs, KL.Dense(3, name="two")(x))
    before = [w.copy() for w in model.get_weights()]
    with pytest.raises(ValueError, match="the output of two does not vary"):
        lsuv(model, draw((50, 6)))
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"tolerance": 0}, "tolerance above 0 and below 1, received 0"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"max_iterations": 0}, "max_iterations to be a positive integer, received 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        lsuv(deep(), IMAGES, **options)


def test_a_model_without_such_layers_is_refused():
    inputs = keras.Input((6,))
    with pytest.raises(ValueError, match="trainable convolutions or dense layers"):
        lsuv(keras.Model(inputs, KL.ReLU()(inputs)), draw((5, 6)))
