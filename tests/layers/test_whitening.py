import functools

import keras
import numpy as np
import pytest
from harness import BACKEND, check_layer, draw, numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from convcraft.layers import Whitening


def pictures(n=40, height=6, width=5, channels=3, seed=0):
    """Correlated colours and neighbours on 0-255, float64."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, height + 1, width + 1, channels)) @ rng.normal(size=(channels, channels))
    x = x[:, 1:, 1:] + 0.7 * x[:, :-1, 1:] + 0.5 * x[:, 1:, :-1]
    return 127 + 25 * x


def adapted(images=None, **options):
    layer = Whitening(**options)
    images = pictures() if images is None else images
    layer.adapt(np.moveaxis(images, -1, 1) if options.get("data_format") == "channels_first" else images)
    return layer


def features(images, patch):
    """What `patch` makes of (n, h, w, c): (n, h', w', features), by loops."""
    if patch == "image":
        return images.reshape(len(images), 1, 1, int(np.prod(images.shape[1:])))
    k = patch or 1
    height, width = images.shape[1] - k + 1, images.shape[2] - k + 1
    out = np.empty((len(images), height, width, k * k * images.shape[-1]))
    for i in range(height):
        for j in range(width):
            out[:, i, j] = images[:, i : i + k, j : j + k].reshape(len(images), out.shape[-1])
    return out


def whiten(images, train, kind, eps, patch):
    """facts.md 3.3 in NumPy: cov = X^T X / N; U, S = svd(cov); rotate, divide by sqrt(S + eps), turn back."""
    x = features(train, patch)
    flat = x.reshape(-1, x.shape[-1])
    mean = flat.mean(0)
    flat = flat - mean
    u, s, _ = np.linalg.svd(flat.T @ flat / len(flat))
    u = u * np.sign(u[np.abs(u).argmax(0), np.arange(len(s))])
    y = (features(images, patch) - mean) @ u
    if kind != "rotate":
        y = y / np.sqrt(s + eps)
    if kind != "zca":
        return y[:, 0, 0] if patch == "image" else y
    y = y @ u.T
    if patch == "image":
        return y.reshape(images.shape)
    c, k = images.shape[-1], patch or 1
    return y.reshape(*y.shape[:3], k, k, c)[:, :, :, k // 2, k // 2]


check_layer(
    functools.partial(adapted, kind="zca"),
    shapes=[(4, 6, 5, 3), (1, 3, 9, 3)],
    reference=lambda x: whiten(x, pictures(), "zca", 1e-5, None),
    bad=[
        ({"kind": "ica"}, "kind to be 'zca', 'pca' or 'rotate', received 'ica'"),
        ({"eps": -1e-5}, "eps .* at least 0, received -1e-05"),
        ({"eps": float("nan")}, "eps"),
        ({"eps": "small"}, "eps"),
        ({"patch": 0}, "patch to be None, a positive integer or 'image', received 0"),
        ({"patch": "pixel"}, "patch"),
        ({"patch": True}, "patch"),
        ({"patch": 2.5}, "patch"),
        ({"kind": "zca", "patch": 4}, "odd for kind='zca' .*, received 4"),
        ({"data_format": "nhwc"}, "data_format"),
    ],
)

CASES = [(kind, patch) for kind in ("zca", "pca", "rotate") for patch in (None, 1, 2, 3, "image")]
CASES.remove(("zca", 2))


@pytest.mark.parametrize("kind, patch", CASES)
def test_output_is_the_formula(kind, patch):
    train, images = pictures(200), pictures(4, seed=1)
    layer = adapted(train, kind=kind, eps=2.0, patch=patch)
    y = layer(images.astype("float32"))
    expected = whiten(images, train, kind, 2.0, patch)
    assert tuple(y.shape) == tuple(layer.compute_output_shape(images.shape)) == expected.shape
    np.testing.assert_allclose(numpy(y), expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind, patch", CASES)
def test_inverse(kind, patch):
    images = pictures(4, seed=1).astype("float32")
    for data_format, x in (("channels_last", images), ("channels_first", np.moveaxis(images, -1, 1).copy())):
        layer = adapted(kind=kind, patch=patch, eps=1e-2, data_format=data_format)
        if kind == "zca" and patch == 3:
            with pytest.raises(ValueError, match="inverse: expected kind 'pca' or 'rotate' with patches.*patch=3"):
                layer.inverse(layer(x))
            continue
        np.testing.assert_allclose(numpy(layer.inverse(layer(x))), x, atol=0.02)
        np.testing.assert_allclose(numpy(layer.inverse(layer(x[0]))), x[0], atol=0.02)
        assert layer.inverse(layer(x[:0])).shape == x[:0].shape


def test_inverse_of_changed_patches_is_their_mean():
    """Each pixel is the mean over the patches that hold it, of what they say of it."""
    images = pictures(2, 5, 4, 1)
    layer = adapted(images, kind="rotate", patch=2)
    y = numpy(layer(images.astype("float32"))).astype("float64")
    y += draw(y.shape, low=-20, high=20)
    said = (y @ layer.eigenvectors.T.astype("float64") + layer.mean).reshape(2, 4, 3, 2, 2)
    total, count = np.zeros((2, 5, 4)), np.zeros((5, 4))
    for i in range(4):
        for j in range(3):
            total[:, i : i + 2, j : j + 2] += said[:, i, j]
            count[i : i + 2, j : j + 2] += 1
    np.testing.assert_allclose(numpy(layer.inverse(y.astype("float32")))[..., 0], total / count, atol=1e-2)


@pytest.mark.parametrize("eps", [1e-5, 30.0, 1e4])
@pytest.mark.parametrize("patch", [None, "image"])
def test_covariance_and_symmetry(eps, patch):
    """cov(ZCA(X)) = U diag(S / (S + eps)) U^T, so larger eps smooths; the matrix of ZCA is symmetric."""
    train = pictures(300, 3, 4)
    layer = adapted(train, eps=eps, patch=patch)
    x, y = (features(v, patch).reshape(-1, layer.mean.size) for v in (train, numpy(layer(train.astype("float32")))))
    s, u = np.linalg.eigh(np.cov(x, rowvar=False, bias=True))
    np.testing.assert_allclose(np.cov(y, rowvar=False, bias=True), (u * (s / (s + eps))) @ u.T, atol=2e-3)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(layer.matrix, layer.matrix.T, atol=1e-6)
    np.testing.assert_allclose(layer.matrix, (u / np.sqrt(s + eps)) @ u.T, rtol=1e-4, atol=1e-5)


def test_rotation_and_pca_are_uncorrelated_and_ordered():
    train = pictures(200)
    for kind in ("rotate", "pca"):
        layer = adapted(train, kind=kind)
        covariance = np.cov(numpy(layer(train.astype("float32"))).reshape(-1, 3), rowvar=False, bias=True)
        values = layer.eigenvalues
        expected = np.diag(values if kind == "rotate" else values / (values + 1e-5))
        np.testing.assert_allclose(covariance, expected, atol=1e-4 * expected.max())
        assert (np.diff(layer.eigenvalues) < 0).all()
        vectors = layer.eigenvectors
        assert (vectors[np.abs(vectors).argmax(0), range(3)] > 0).all(), "signs are fixed"
        np.testing.assert_allclose(numpy(layer(train[:2].astype("float32"))), (train[:2] - layer.mean) @ layer.matrix.T,
                                   atol=1e-3)  # fmt: skip


def test_directions_without_variance():
    """A constant channel becomes 0, and comes back; with eps=0, too."""
    train = pictures()
    train[..., 1] = 40
    for eps in (0, 1e-5):
        for kind in ("zca", "pca"):
            layer = adapted(train, kind=kind, eps=eps)
            y = numpy(layer(train.astype("float32")))
            assert np.isfinite(y).all() and layer.eigenvalues[-1] == 0
            np.testing.assert_allclose(y[..., 1 if kind == "zca" else 2], 0, atol=1e-3)
            np.testing.assert_allclose(numpy(layer.inverse(y)), train, atol=1e-2)


def test_fewer_images_than_features():
    train = pictures(5)
    layer = adapted(train, patch="image", eps=1.0)
    assert (layer.eigenvalues[4:] == 0).all(), "five images span four directions"
    np.testing.assert_allclose(
        numpy(layer(train.astype("float32"))), whiten(train, train, "zca", 1.0, "image"), atol=0.02
    )


def statistics(layer):
    return [numpy(v) for v in layer.weights]


def sources(x):
    """The same images in each form that `adapt` takes."""
    yield "tensor", keras.ops.convert_to_tensor(x)
    yield "batches", [x[:17], x[17:18], x[18:]]
    yield "generator", (batch for batch in np.array_split(x, 7))
    yield "pairs", [(x[:10], np.zeros(10)), (x[10:], np.zeros(190))]
    yield "single images", list(x)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        yield "tf.data", tf.data.Dataset.from_tensor_slices((x, np.zeros(len(x)))).batch(7)
        yield "tf.data, not batched", tf.data.Dataset.from_tensor_slices(x)


@pytest.mark.parametrize("patch", [None, 3, "image"])
def test_adapt_takes_every_form_of_data(patch):
    x = pictures(200).astype("float32")
    expected = statistics(adapted(x, patch=patch, kind="rotate"))
    for name, source in sources(x):
        layer = Whitening("rotate", patch=patch)
        layer.adapt(source)
        for found, wanted in zip(statistics(layer), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3, err_msg=name)


def test_images_of_any_size_and_type():
    x = draw((8, 9, 7, 3), "uint8", 0, 255)
    layer = adapted(x)
    for dtype in ("float32", "float16", "int32"):
        again = adapted(x.astype(dtype))
        np.testing.assert_allclose(again.eigenvalues, layer.eigenvalues, rtol=1e-6)
        np.testing.assert_allclose(numpy(again(x.astype(dtype))), numpy(layer(x)), atol=1e-3)
    layer.adapt([x, x[:, :4], x[:3, 2:, 5:]])
    assert numpy(layer(x[:, :2])).shape == (8, 2, 7, 3)


def test_sums_do_not_cancel():
    """A mean a million times the deviation: float32 sums of squares would see nothing but rounding."""
    x = pictures() + 3e7
    layer = adapted(x)
    flat = x.reshape(-1, 3)
    np.testing.assert_allclose(layer.eigenvalues[::-1], np.linalg.eigvalsh(np.cov(flat.T, bias=True)), rtol=1e-4)


def test_small_chunks_give_the_same(monkeypatch):
    expected = statistics(adapted(patch=3, kind="pca"))
    monkeypatch.setattr("convcraft.layers.preprocessing.CHUNK", 200)
    monkeypatch.setattr("convcraft.layers.whitening.CHUNK", 200)
    for found, wanted in zip(statistics(adapted(patch=3, kind="pca")), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((4, 4, 3)), r"rank 4.*received shape \(4, 4, 3\)"),
        (np.zeros((0, 4, 4, 3)), "expected images, received none"),
        ([], "expected images, received none"),
        (np.full((2, 4, 4, 3), np.nan), "finite images"),
        ([np.ones((2, 4, 4, 3)), np.full((2, 4, 4, 3), np.inf)], "finite images"),
        (7, "array of images or an iterable"),
        ("images", "array of images or an iterable"),
        ([np.zeros((4, 4))], r"rank 4.*rank 3.*received float64 of shape \(4, 4\)"),
    ],
)
def test_adapt_refuses(images, message):
    layer = Whitening()
    with pytest.raises(ValueError, match=f"Whitening.adapt: .*{message}"):
        layer.adapt(images)
    assert not layer.adapted


def test_what_does_not_fit_is_refused():
    layer = adapted()
    with pytest.raises(ValueError, match="built for, received"):
        layer.adapt(np.zeros((2, 4, 4, 1)))
    with pytest.raises(ValueError, match="images of 3x3 or more"):
        adapted(pictures(4, 2, 9), patch=3)
    with pytest.raises(ValueError, match="at most 16384 features.*224"):
        Whitening(patch="image").build((None, 224, 224, 3))
    with pytest.raises(ValueError, match="fixed size"):
        Whitening(patch="image")(keras.Input((None, 8, 3)))
    with pytest.raises(ValueError, match="rank 4"):
        layer(np.zeros((4, 3), "float32"))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with pytest.raises(ValueError, match="repeats for ever"):
            Whitening().adapt(tf.data.Dataset.from_tensors(np.zeros((1, 4, 4, 3))).repeat())


class TestNeverAdapted:
    """It raises, wherever it is used; statistics that came another way than by `adapt` count."""

    X = pictures(8).astype("float32")
    MESSAGE = "'white' to know the data, but it was never adapted: call adapt"

    def net(self):
        inputs = keras.Input((6, 5, 3))
        x = keras.layers.Flatten()(Whitening(name="white")(inputs))
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        model.compile("sgd", "mse", jit_compile=False)
        return model

    def test_used(self):
        layer = Whitening(name="white")
        for use in (layer, layer.inverse):
            with pytest.raises(ValueError, match=self.MESSAGE):
                use(self.X)
        for name in ("mean", "eigenvalues", "matrix"):
            with pytest.raises(ValueError, match="adapt"):
                getattr(layer, name)

    def test_trained_and_evaluated(self):
        y = np.zeros(8)
        for use in (
            lambda m: m.fit(self.X, y, verbose=0),
            lambda m: m.evaluate(self.X, y, verbose=0),
            lambda m: m.predict(self.X, verbose=0),
            lambda m: m(self.X),
        ):
            with pytest.raises(ValueError, match=self.MESSAGE):
                use(self.net())

    @pytest.mark.skipif(BACKEND != "jax", reason="elsewhere it raises")
    def test_jax_s_compiled_functions_give_nan(self):
        model = self.net()
        model.compile("sgd", "mse", jit_compile=True)
        assert np.isnan(model.predict(self.X, verbose=0)).all()
        with pytest.raises(ValueError, match=self.MESSAGE):
            model.fit(self.X, np.zeros(8), verbose=0)

    def test_saved_and_loaded(self, tmp_path):
        self.net().save(tmp_path / "m.keras")
        with pytest.raises(ValueError, match=self.MESSAGE):
            keras.saving.load_model(tmp_path / "m.keras").predict(self.X, verbose=0)

    @pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.data is TensorFlow's")
    def test_in_a_pipeline(self):
        import tensorflow as tf

        pipeline = tf.data.Dataset.from_tensors(self.X)
        with pytest.raises(ValueError, match=self.MESSAGE):
            pipeline.map(Whitening(name="white"))
        layer = adapted(self.X)
        np.testing.assert_allclose(numpy(next(iter(pipeline.map(layer)))), numpy(layer(self.X)), atol=1e-5)

    @pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
    def test_under_a_strategy(self):
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            model = self.net()
        with pytest.raises(ValueError, match=self.MESSAGE):
            model.fit(self.X, np.zeros(8), verbose=0)
        model.get_layer("white").adapt(self.X)
        np.testing.assert_allclose(model.get_layer("white").matrix, adapted(self.X).matrix, rtol=1e-6)
        # no fit: a second strategy in a process uses the first one's collective keys again (see test_adapt.py)
        assert np.isfinite(model.predict(self.X, verbose=0)).all()

    def test_weights_that_are_set_or_loaded_count(self, tmp_path):
        model = self.net()
        model.get_layer("white").adapt(self.X)
        expected = model.predict(self.X, verbose=0)
        model.save_weights(tmp_path / "m.weights.h5")
        for restore in (
            lambda m: m.set_weights(model.get_weights()),
            lambda m: m.load_weights(tmp_path / "m.weights.h5"),
            lambda m: [mine.assign(v) for mine, v in zip(m.variables, model.variables, strict=True)],
        ):
            other = self.net()
            assert not other.get_layer("white").adapted
            restore(other)
            assert other.get_layer("white").adapted
            np.testing.assert_allclose(other.predict(self.X, verbose=0), expected, rtol=1e-6)
            other = self.net()
            restore(other)  # and nobody asks
            assert np.isfinite(other.fit(self.X, np.zeros(8), verbose=0).history["loss"]).all()


@settings(max_examples=15 if BACKEND != "jax" else 4, deadline=None)  # JAX compiles for each shape
@given(
    kind=st.sampled_from(["zca", "pca", "rotate"]),
    patch=st.sampled_from([None, 1, 3, "image"]),
    dtype=st.sampled_from(["uint8", "int32", "float16", "float32", "float64"]),
    size=st.tuples(st.integers(0, 3), st.integers(3, 6), st.integers(3, 6), st.integers(1, 4)),
    first=st.booleans(),
    policy=st.sampled_from(["float32", "mixed_float16", "mixed_bfloat16"]),
    fill=st.sampled_from([None, 0, 255]),
)
def test_any_images(kind, patch, dtype, size, first, policy, fill):
    """Shapes, types and orders; black and white images, which no training image was, stay finite."""
    train = pictures(250, *size[1:])  # more than features, or directions without variance are arbitrary
    x = (pictures(size[0], *size[1:], seed=1) if fill is None else np.full(size, fill)).clip(0, 255).astype(dtype)
    layer = adapted(train, kind=kind, patch=patch, eps=10.0, dtype=policy, data_format="channels_last")
    expected = whiten(x.astype("float64"), train, kind, 10.0, patch)
    y = layer(x)
    if first:
        layer = adapted(train, kind=kind, patch=patch, eps=10.0, dtype=policy, data_format="channels_first")
        y = layer(np.moveaxis(x, -1, 1))
        y = keras.ops.moveaxis(y, 1, -1) if len(y.shape) == 4 else y
    assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
    accuracy = {"float32": 3e-4, "mixed_float16": 2e-3, "mixed_bfloat16": 1e-2}[policy]
    np.testing.assert_allclose(numpy(y), expected, atol=accuracy * max(1, np.abs(expected).max(initial=0)))


def test_extreme_values_stay_in_their_pixel():
    x = pictures(3).astype("float32")
    layer = adapted()
    expected = numpy(layer(x))
    x[1, 0, 0] = np.nan
    x[2, 0, 0] = np.inf
    y = numpy(layer(x))
    assert np.isnan(y[1, 0, 0]).all() and not np.isfinite(y[2, 0, 0]).any()
    np.testing.assert_array_equal(y[:, 1:], expected[:, 1:])


def test_gradient_is_the_matrix():
    """The transform is linear, so finite differences over any step are its gradient."""
    x = pictures(1).astype("float32")
    layer = adapted(eps=1.0, patch=3)
    for i in ((0, 2, 2, 0), (0, 3, 1, 2)):
        up = x.copy()
        up[i] += 100
        slope = (numpy(layer(up)) - numpy(layer(x))) / 100
        # output (r, c) sees the input at (i - r, j - c) of its patch
        for r in range(4):
            for c in range(3):
                row, column = i[1] - r, i[2] - c
                inside = 0 <= row < 3 and 0 <= column < 3
                expected = layer.matrix[:, (row * 3 + column) * 3 + i[3]] if inside else np.zeros(3)
                np.testing.assert_allclose(slope[0, r, c], expected, atol=1e-5)
