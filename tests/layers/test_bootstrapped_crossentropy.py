import json

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from convcraft.layers import BootstrappedCrossentropy


def formula(t, x, kind, beta, missing=False):
    """Loss of each row and its gradient for the logits (facts.md, section 6), in float64."""
    log = log_softmax(x.astype("float64"), axis=-1)
    q = np.exp(log)
    entropy = -(q * log).sum(-1, keepdims=True)
    z = np.eye(x.shape[-1])[x.argmax(-1)]
    own = q if kind == "soft" else z
    loss = -((beta * t + (1 - beta) * own) * log).sum(-1)
    trust = 0 if missing else beta
    if kind == "soft":
        return loss, trust * (q - t) - (1 - beta) * q * (log + entropy)
    return loss, trust * (q - t) + (1 - beta) * (q - z)


def gradient(loss, y_true, y_pred):
    """Of the summed losses for the predictions, by the backend's own differentiation."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.constant(y_pred)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(y_true, x)
        return numpy(tape.gradient(value, x))
    if BACKEND == "jax":
        import jax

        return numpy(jax.grad(lambda x: loss(y_true, x))(y_pred))
    import torch

    x = torch.tensor(y_pred, requires_grad=True)
    loss(y_true, x).backward()
    return x.grad.numpy()


# facts.md, section 6: logits (2, .5, -1), t = (0, 1, 0)
@pytest.mark.parametrize(
    "kind, beta, value, slope",
    [
        ("soft", None, 1.685325, (0.731380, -0.773660, 0.042280)),
        ("hard", None, 1.441311, (0.585597, -0.624710, 0.039113)),
        ("soft", 1, 1.741311, (0.785597, -0.824710, 0.039113)),
        ("hard", 1.0, 1.741311, (0.785597, -0.824710, 0.039113)),
    ],
)
@pytest.mark.parametrize("target", [[[0.0, 1.0, 0.0]], [1], [[1]]])
def test_published_vectors(kind, beta, value, slope, target):
    loss, x = BootstrappedCrossentropy(kind, beta), np.float32([[2, 0.5, -1]])
    assert float(loss(np.array(target), x)) == pytest.approx(value, abs=2e-6)
    np.testing.assert_allclose(gradient(loss, np.array(target), x)[0], slope, atol=2e-6)


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_gradient_is_the_formula(kind, beta):
    x, labels = draw((16, 7)), np.random.default_rng(1).integers(0, 7, 16)
    t = np.eye(7)[labels]
    expected, slopes = formula(t, x, kind, beta)
    loss = BootstrappedCrossentropy(kind, beta, reduction=None)
    np.testing.assert_allclose(numpy(loss(labels, x)), expected, rtol=1e-5, atol=1e-6)
    loss = BootstrappedCrossentropy(kind, beta, reduction="sum")
    np.testing.assert_allclose(gradient(loss, labels, x), slopes, atol=1e-5)
    soft = np.random.default_rng(2).dirichlet(np.ones(7), 16)  # distributions as targets
    np.testing.assert_allclose(gradient(loss, soft.astype("float32"), x), formula(soft, x, kind, beta)[1], atol=1e-5)


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("from_logits", [True, False])
def test_gradient_against_finite_differences(kind, from_logits):
    """For probabilities, too, where the closed form of the paper does not apply."""
    x = draw((3, 5)) if from_logits else np.random.default_rng(0).dirichlet(np.ones(5), 3).astype("float32")
    t = np.random.default_rng(1).dirichlet(np.ones(5), 3)
    found = gradient(BootstrappedCrossentropy(kind, 0.6, from_logits, reduction="sum"), t.astype("float32"), x)

    def value(x):
        log = log_softmax(x, axis=-1) if from_logits else np.log(x / x.sum(-1, keepdims=True))
        own = np.exp(log) if kind == "soft" else np.eye(5)[log.argmax(-1)]
        return -((0.6 * t + 0.4 * own) * log).sum()

    x = x.astype("float64")
    for i, j in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i, j] = 1e-5
        assert found[i, j] == pytest.approx((value(x + step) - value(x - step)) / 2e-5, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None])
def test_without_bootstrapping_it_is_keras_s_crossentropy(from_logits, smoothing, reduction):
    x = draw((6, 4)) if from_logits else np.random.default_rng(0).dirichlet(np.ones(4), 6).astype("float32")
    labels, weights = np.array([0, 1, 2, 3, 3, 1]), np.float32([1, 2, 0, 0.5, 1, 3])
    one_hot = np.eye(4, dtype="float32")[labels]
    ours = BootstrappedCrossentropy("soft", 1, from_logits, smoothing, reduction=reduction)
    theirs = keras.losses.CategoricalCrossentropy(from_logits, smoothing, reduction=reduction)
    for weight in (None, weights):
        expected = numpy(theirs(one_hot, x, weight))
        np.testing.assert_allclose(numpy(ours(one_hot, x, weight)), expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(numpy(ours(labels, x, weight)), expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(numpy(ours(labels[:, None], x, weight)), expected, rtol=1e-6, atol=1e-6)
        if not smoothing:
            sparse = keras.losses.SparseCategoricalCrossentropy(from_logits, reduction=reduction)
            np.testing.assert_allclose(numpy(ours(labels, x, weight)), numpy(sparse(labels, x, weight)), rtol=1e-5)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_missing_labels_leave_the_model_s_own_part(kind):
    x, labels = draw((4, 3)), np.array([0, -1, 2, -1])
    t = np.where(labels[:, None] < 0, 0.0, np.eye(3)[labels])
    expected = formula(t, x, kind, 0.7)[0]
    known = labels >= 0
    loss = BootstrappedCrossentropy(kind, 0.7, ignore=-1, reduction="none")
    np.testing.assert_allclose(numpy(loss(labels, x)), expected, rtol=1e-5)
    rows = np.where(known[:, None], t, -1).astype("float32")
    np.testing.assert_allclose(numpy(loss(rows, x)), expected, rtol=1e-5)
    zeros = BootstrappedCrossentropy(kind, 0.7, ignore=0, reduction="none")  # rows of zeros
    np.testing.assert_allclose(numpy(zeros(t.astype("float32"), x)), expected, rtol=1e-5)
    total = BootstrappedCrossentropy(kind, 0.7, ignore=-1, reduction="sum")
    slopes = gradient(total, labels, x)
    np.testing.assert_allclose(slopes[known], formula(t, x, kind, 0.7)[1][known], atol=1e-5)
    np.testing.assert_allclose(slopes[~known], formula(t, x, kind, 0.7, missing=True)[1][~known], atol=1e-5)
    # label smoothing gives a missing label nothing
    smooth = BootstrappedCrossentropy(kind, 0.7, ignore=-1, label_smoothing=0.3, reduction="none")
    np.testing.assert_allclose(numpy(smooth(labels, x))[~known], expected[~known], rtol=1e-5)
    assert (np.abs(numpy(smooth(labels, x)) - expected)[known] > 1e-3).all()
    # with beta=1 nothing is left, as with Keras's ignore_class
    plain = BootstrappedCrossentropy(kind, 1, ignore=-1, reduction="sum")
    keras_s = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1, reduction="sum")
    assert float(plain(labels, x)) == pytest.approx(float(keras_s(labels, x)), rel=1e-5)


def test_a_label_that_is_no_class_is_not_silent():
    for label in (-1, 3, 255):
        losses = numpy(BootstrappedCrossentropy(reduction="none")(np.array([0, label]), draw((2, 3))))
        assert np.isfinite(losses[0]) and np.isnan(losses[1])


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("axis", [-1, 1])
def test_segmentation_is_the_formula(kind, axis):
    x, labels = draw((2, 3, 4, 5)), np.random.default_rng(1).integers(-1, 5, (2, 3, 4))
    t = np.where(labels[..., None] < 0, 0.0, np.eye(5)[labels])
    expected = formula(t, x, kind, 0.7)[0]
    assert (labels < 0).any()
    loss = BootstrappedCrossentropy(kind, 0.7, ignore=-1, axis=axis, reduction="none")
    x, rows = np.moveaxis(x, -1, axis), np.moveaxis(np.where(labels[..., None] < 0, -1, t), -1, axis)
    np.testing.assert_allclose(numpy(loss(labels, x)), expected, rtol=1e-5)
    np.testing.assert_allclose(numpy(loss(np.expand_dims(labels, axis), x)), expected, rtol=1e-5)
    np.testing.assert_allclose(numpy(loss(rows.astype("float32"), x)), expected, rtol=1e-5)
    weights = np.random.default_rng(2).uniform(size=labels.shape).astype("float32")
    np.testing.assert_allclose(numpy(loss(labels, x, weights)), weights * expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_extreme_logits(kind):
    x = np.float32([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4], [88, -88, 0], [1e30, 0, -1e30]])
    labels = np.array([1, 0, 2, 1, 0])
    expected, slopes = formula(np.eye(3)[labels], x, kind, 0.5)
    loss = BootstrappedCrossentropy(kind, 0.5, reduction="sum")
    total = gradient(loss, labels, x)
    assert np.isfinite(total).all()
    np.testing.assert_allclose(total, slopes, atol=1e-6)
    np.testing.assert_allclose(
        numpy(BootstrappedCrossentropy(kind, 0.5, reduction="none")(labels, x)), expected, rtol=1e-5
    )
    certain = np.float32([[1, 0, 0], [0, 1, 0]])  # probabilities of 0 and 1
    loss = BootstrappedCrossentropy(kind, 0.5, from_logits=False, reduction="sum")
    assert (
        np.isfinite(float(loss(np.array([0, 0]), certain)))
        and np.isfinite(gradient(loss, np.array([0, 0]), certain)).all()
    )


@given(
    n=st.integers(0, 4),
    classes=st.integers(2, 9),
    middle=st.sampled_from([(), (3,), (2, 3)]),
    kind=st.sampled_from(["soft", "hard"]),
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
    beta=st.sampled_from([None, 0.0, 0.5, 1.0]),
)
@settings(max_examples=25, deadline=None)
def test_shapes_and_dtypes(n, classes, middle, kind, dtype, beta):
    rng = np.random.default_rng(n)
    x, labels = draw((n, *middle, classes)), rng.integers(0, classes, (n, *middle))
    loss = BootstrappedCrossentropy(kind, beta, reduction="none")
    x = numpy(keras.ops.cast(x, dtype))  # what the policy leaves of them
    y = loss(labels, keras.ops.cast(x, dtype))
    assert tuple(y.shape) == (n, *middle) and keras.backend.standardize_dtype(y.dtype) == "float32"
    expected = formula(np.eye(classes)[labels], x, kind, loss.beta)[0]
    np.testing.assert_allclose(numpy(y), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("by_name", [True, False])
def test_same_bits_after_loading(by_name, tmp_path):
    """Compiled, trained, saved with the model, and found again."""
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    ours = BootstrappedCrossentropy("hard", 0.6, label_smoothing=0.1, ignore=-1)
    model.compile(keras.optimizers.SGD(0.1), "bootstrapped_crossentropy" if by_name else ours, jit_compile=False)
    x, labels = draw((12, 5)), np.arange(12) % 3
    if not by_name:
        labels = np.where(np.arange(12) % 4, labels, -1)
    history = model.fit(x, labels, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert again.evaluate(x, labels, verbose=0) == model.evaluate(x, labels, verbose=0)
    expected = BootstrappedCrossentropy() if by_name else ours
    assert float(expected(labels, model.predict(x, verbose=0))) == pytest.approx(
        model.evaluate(x, labels, verbose=0), rel=1e-5
    )
    if not by_name:
        assert again.loss.get_config() == ours.get_config()


def test_config():
    loss = BootstrappedCrossentropy("hard", None, False, 0.1, -1, 1, "sum", "mine", "float64")
    config = json.loads(json.dumps(loss.get_config()))
    assert config == {
        "kind": "hard",
        "beta": 0.8,
        "from_logits": False,
        "label_smoothing": 0.1,
        "ignore": -1,
        "axis": 1,
        "reduction": "sum",
        "name": "mine",
        "dtype": "float64",
    }
    assert BootstrappedCrossentropy.from_config(config).get_config() == config
    assert keras.saving.get_registered_name(BootstrappedCrossentropy) == "convcraft>BootstrappedCrossentropy"
    assert isinstance(keras.losses.get("BootstrappedCrossentropy"), BootstrappedCrossentropy)
    assert keras.losses.get("bootstrapped_crossentropy") is not keras.losses.get("bootstrapped_crossentropy")
    assert isinstance(keras.losses.get(keras.losses.serialize(loss)), BootstrappedCrossentropy)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"kind": "medium"}, "kind"),
        ({"beta": 1.1}, "beta from 0 to 1, received 1.1"),
        ({"beta": "high"}, "beta"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"ignore": float("nan")}, "ignore"),
        ({"ignore": "none"}, "ignore"),
        ({"axis": 1.0}, "axis"),
        ({"reduction": "average"}, "reduction"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BootstrappedCrossentropy(**arguments)


@pytest.mark.parametrize(
    "target, shape, message",
    [
        ((2, 4), (2, 3), "targets of the shape"),
        ((2,), (2, 1), "2 classes or more"),
        ((2,), (2, 3, 4), "targets of the shape"),
    ],
)
def test_bad_shapes(target, shape, message):
    with pytest.raises(ValueError, match=message):
        BootstrappedCrossentropy()(np.zeros(target, "float32"), draw(shape))
    with pytest.raises(ValueError, match="have axis 3"):
        BootstrappedCrossentropy(axis=3)(np.zeros(2), draw((2, 3)))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's compiler")
def test_xla():
    import tensorflow as tf

    x, labels = draw((4, 3)), np.array([0, 1, 2, -1])
    for kind in ("soft", "hard"):
        loss = BootstrappedCrossentropy(kind, ignore=-1)
        compiled = tf.function(lambda t, x, loss=loss: loss(t, x), jit_compile=True)
        assert float(compiled(tf.constant(labels), tf.constant(x))) == pytest.approx(float(loss(labels, x)), rel=1e-5)
