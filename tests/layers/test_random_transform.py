"""Each name against NumPy and scipy with the draws recomputed; the choice against its binomial bounds."""

import json

import keras
import numpy as np
import pytest
from harness import check_layer, draw, numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from convcraft.layers import FancyPCA, RandomAffine, RandomTransform, draws
from convcraft.layers.transforms import KERAS, NAMES, NUMBERS, PIPELINES

TENSORFLOW = keras.backend.backend() == "tensorflow"
BUILT_IN = [name for name in NAMES if name not in KERAS]
LOW, HIGH, WIDTH = 0.0, 255.0, 255.0
STRENGTH = 0.8

check_layer(
    lambda transforms=("rotation", "shift", "contrast", "gaussian_noise"), **options: RandomTransform(
        transforms, **options
    ),
    shapes=[(4, 9, 7, 3), (2, 8, 8, 1)],
    random=True,
    augmentation=True,
    reference=lambda x: x,
    bad=[
        ({"transforms": "nope"}, "light, standard, heavy, modern.*received 'nope'"),
        ({"transforms": ["rotatoin"]}, "received 'rotatoin'. The names are flip"),
        ({"transforms": [("shift", -1)]}, "factor of 'shift'"),
        ({"transforms": [3]}, "transforms to hold names"),
        ({"transforms": 3}, "transforms to be a list .*received 3"),
        ({"value_range": 255}, "value_range .*received 255"),
        ({"fill_value": "black"}, "fill_value"),
        ({"transforms": []}, "at least one"),
        ({"transforms": ["shift", "shift"]}, "'shift' twice"),
        ({"transforms": ["shift"], "always": ["shift"]}, "'shift' twice"),
        ({"count": -1}, "count"),
        ({"count": 1.5}, "count"),
        ({"strength": -0.1}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"value_range": (1, 0)}, "value_range"),
        ({"fill_mode": "zero"}, "fill_mode"),
        ({"seed": "1"}, "seed"),
    ],
)


def units(name, seeds, n=5):
    """The numbers from [0, 1) that a name draws: the first is what it is chosen by."""
    return numpy(draws.uniform(draws.fold(seeds, NUMBERS[name]), n)).astype("float64")[:, 1:]


def pixel_seeds(name, seed):
    return draws.fold(draws.fold(np.int32([seed]), NUMBERS[name]), 1)


def affine(image, matrix, shift=(0, 0)):
    """scipy's bilinear resampling: output pixel (y, x) about the centre takes `matrix` of it, plus the shift."""
    centre = (np.array(image.shape[:2]) - 1) / 2
    matrix = np.array(matrix)
    offset = centre - matrix @ centre + np.array(shift) * image.shape[:2]
    return np.stack(
        [ndimage.affine_transform(c, matrix, offset, order=1, mode="nearest") for c in np.moveaxis(image, -1, 0)], -1
    )


def turned(image, angle, factor):
    cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
    return affine(image, [[cos, sin], [-sin, cos]])


def grey(image):
    return (image @ [0.299, 0.587, 0.114])[..., None]


def whitened(image, m):
    colours = image.reshape(-1, 3)
    covariance = np.cov(colours, rowvar=False, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors / np.sqrt(values + 0.01 * values.mean()) @ vectors.T
    white = (colours - colours.mean(0)) @ root
    white *= np.sqrt(np.trace(covariance) / white.var(axis=0).sum())
    return (1 - m) * image + m * (white + colours.mean(0)).reshape(image.shape)


def gaussian(image, sigma, radius=3):
    return ndimage.gaussian_filter(image, sigma, mode="nearest", radius=radius, axes=(0, 1))


def shifted_colours(image, seed):
    values = np.array([0.2175, 0.0188, 0.0045])
    vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    alphas = numpy(draws.normal(pixel_seeds("fancy_pca", seed), 3, 0.1)).astype("float64")[0]
    return image + STRENGTH * 255 * vectors @ (alphas * values)


def dropped(image, name, seed, share):
    u = numpy(draws.uniform(pixel_seeds(name, seed), image[..., 0].size)).reshape(*image.shape[:2], 1)
    if name == "pixel_dropout":
        return np.where(u < share, 0, image)
    return np.where(u < share / 2, 0, np.where(u < share, 255, image))


def cut(image, m, y, x):
    height, width = image.shape[:2]
    rows = np.abs((np.arange(height) + 0.5) / height - y) < 0.25 * m
    columns = np.abs((np.arange(width) + 0.5) / width - x) < 0.25 * m
    return np.where((rows[:, None] & columns)[..., None], 127.5, image)


# name to (image, m of [0, strength), s of [-strength, strength), [0, 1), seed) -> image
ORACLES = {
    "flip": lambda x, m, s, u, seed: x[:, ::-1] if u[0] < 0.5 else x,
    "rotation": lambda x, m, s, u, seed: turned(x, np.radians(20) * s[0], 1),
    "rotation_scaling": lambda x, m, s, u, seed: turned(x, np.radians(20) * s[0], 1.2 ** s[1]),
    "zoom": lambda x, m, s, u, seed: turned(x, 0, 1.2 ** s[0]),
    "shear": lambda x, m, s, u, seed: affine(x, [[1, 0.2 * s[1]], [0.2 * s[0], 1]]),
    "shift": lambda x, m, s, u, seed: affine(x, np.eye(2), (0.125 * s[0], 0.125 * s[1])),
    "whitening": lambda x, m, s, u, seed: whitened(x, m[0]),
    "fancy_pca": lambda x, m, s, u, seed: shifted_colours(x, seed),
    "colour_shift": lambda x, m, s, u, seed: x + 25.5 * s[:3],
    "brightness": lambda x, m, s, u, seed: x + 0.25 * 255 * s[0],
    "contrast": lambda x, m, s, u, seed: x.mean() + 1.6 ** s[0] * (x - x.mean()),
    "saturation": lambda x, m, s, u, seed: grey(x) + (1 + 0.8 * s[0]) * (x - grey(x)),
    "grayscale": lambda x, m, s, u, seed: grey(x) + (1 - m[0]) * (x - grey(x)),
    "invert": lambda x, m, s, u, seed: 255 - x,
    "blur": lambda x, m, s, u, seed: gaussian(x, m[0]),
    "sharpen": lambda x, m, s, u, seed: x + 1.5 * m[0] * (x - gaussian(x, 1.0)),
    "posterize": lambda x, m, s, u, seed: np.round(x / 2 ** (5 * m[0])) * 2 ** (5 * m[0]),
    "solarize": lambda x, m, s, u, seed: np.where(x >= 255 - 127.5 * m[0], 255 - x, x),
    "gaussian_noise": lambda x, m, s, u, seed: (
        x + 25.5 * m[0] * numpy(draws.normal(pixel_seeds("gaussian_noise", seed), x.size)).reshape(x.shape)
    ),
    "salt_and_pepper": lambda x, m, s, u, seed: dropped(x, "salt_and_pepper", seed, 0.1 * m[0]),
    "pixel_dropout": lambda x, m, s, u, seed: dropped(x, "pixel_dropout", seed, 0.2 * m[0]),
    "cutout": lambda x, m, s, u, seed: cut(x, m[0], u[1], u[2]),
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_transform_is_the_formula(name):
    x, seeds = np.round(draw((6, 11, 9, 3), low=0, high=255)), np.arange(40, 46, dtype="int32")
    ours = numpy(RandomTransform([name], 1, STRENGTH).transform(x, seeds))
    u = units(name, seeds)
    expected = [
        ORACLES[name](image.astype("float64"), STRENGTH * row, STRENGTH * (2 * row - 1), row, int(seed))
        for image, row, seed in zip(x, u, seeds, strict=True)
    ]
    np.testing.assert_allclose(ours, expected, atol=0.05 if name in ("rotation_scaling", "shear") else 0.02)
    assert np.abs(ours - x).max() > 1, "something was done"


def test_same_bits_on_every_backend():
    """Kept from this test's first run, on TensorFlow; JAX and PyTorch must give these, too."""
    x = np.round(draw((3, 6, 6, 3), low=0, high=255))
    y = numpy(RandomTransform("heavy").transform(x, np.int32([11, 12, 13])))
    np.testing.assert_allclose(y[:, 2, 3], KEPT, atol=0.02)
    np.testing.assert_allclose(y.mean((1, 2, 3)), [75.955, 121.018, 145.204], atol=0.02)


KEPT = [[0, 0, 0], [194.46, 70.22, 167.71], [108.54, 186.27, 164.22]]


def test_numbers_of_names_never_change():
    """A name's number is in every draw: saved layers and resumed runs depend on it. New names go to the end."""
    kept = (
        "flip rotation rotation_scaling zoom shear shift whitening fancy_pca colour_shift brightness contrast "
        "saturation grayscale invert blur sharpen posterize solarize gaussian_noise salt_and_pepper pixel_dropout "
        "cutout rand_augment random_erasing"
    )
    assert " ".join(NAMES[:24]) == kept


@pytest.mark.parametrize("name", [*PIPELINES, *NAMES])
def test_strength_zero_is_the_identity(name):
    x = draw((2, 6, 5, 3), low=-50, high=300)
    transforms = name if name in PIPELINES else [name]
    np.testing.assert_array_equal(numpy(RandomTransform(transforms, strength=0).transform(x, 1)), x)


@pytest.mark.parametrize("name", ["noise", "brightness", "rotation"])
def test_strength_scales_magnitudes(name):
    name = "gaussian_noise" if name == "noise" else name
    x = draw((30, 12, 12, 3), low=0, high=255)
    weak, strong = (np.abs(numpy(RandomTransform([name], strength=s).transform(x, 1)) - x).mean() for s in (0.2, 1))
    assert weak < 0.6 * strong
    pair = numpy(RandomTransform([(name, 0.2)]).transform(x, 1))
    np.testing.assert_allclose(pair, numpy(RandomTransform([name], strength=0.2).transform(x, 1)), atol=1e-4)


def chosen(layer, n=20_000):
    drawn = layer.draw(np.arange(n, dtype="int32"), 3)
    return np.stack([keras.ops.convert_to_numpy(drawn.chosen(name)) for name in drawn.entries], axis=1)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 9])
def test_choice_is_uniform_without_repetition(count):
    """Exactly `count` of five; each, and each pair, as often as it should be, within 4.5 standard errors."""
    names = ["rotation", "blur", "contrast", "cutout", "gaussian_noise"]
    picked = chosen(RandomTransform(names, count)).astype(float)
    n, k = len(picked), min(count, 5)
    assert (picked.sum(1) == k).all()
    for p, shares in ((k / 5, picked.mean(0)), (k * (k - 1) / 20, (picked.T @ picked / n)[np.triu_indices(5, 1)])):
        assert (np.abs(shares - p) <= 4.5 * np.sqrt(p * (1 - p) / n)).all()


def test_always_comes_besides_the_choice():
    layer = RandomTransform(["blur", "contrast", "cutout"], 1, always=["shift", "flip"])
    picked = chosen(layer, 500)
    assert (picked[:, 3:]).all() and (picked[:, :3].sum(1) == 1).all()


def test_magnitudes_and_choices_of_different_names_are_independent():
    names = list(BUILT_IN)
    seeds = np.arange(20_000, dtype="int32")
    drawn = np.concatenate([np.concatenate([units(name, seeds, 3)], 1) for name in names], axis=1)
    correlations = np.corrcoef(drawn, rowvar=False)[~np.eye(drawn.shape[1], dtype=bool)]
    assert np.abs(correlations).max() < 5 / np.sqrt(len(seeds))


def test_other_names_do_not_change_what_a_name_draws():
    x = draw((8, 6, 6, 3), low=0, high=255)
    alone = numpy(RandomTransform(["brightness"], 1).transform(x, 1))
    layer = RandomTransform(["cutout", "brightness", "blur"], 1)
    among = numpy(layer.transform(x, 1))
    picked = keras.ops.convert_to_numpy(layer.draw(draws.image_seeds(1, 8), 3).chosen("brightness"))
    assert 0 < picked.sum() < 8
    np.testing.assert_allclose(among[picked], alone[picked], atol=1e-4)


def test_what_is_not_chosen_stays_to_the_bit():
    x = draw((40, 6, 6, 3), low=0, high=255)
    for name in BUILT_IN:
        other = "pixel_dropout" if name == "cutout" else "cutout"
        layer = RandomTransform([name, (other, 0.0)], 1)  # a second that does nothing
        y = numpy(layer.transform(x, 2))
        picked = keras.ops.convert_to_numpy(layer.draw(draws.image_seeds(2, 40), 3).chosen(name))
        assert 0 < picked.sum() < 40
        np.testing.assert_array_equal(y[~picked], x[~picked])
        layer = RandomTransform([name], 0)
        np.testing.assert_array_equal(numpy(layer.transform(x, 2)), x)


def test_geometry_is_one_resampling():
    """Composed matrices equal scipy's one resampling with the product, not two in a row."""
    x, seeds = draw((4, 12, 12, 3), low=0, high=255), np.arange(4, dtype="int32")
    ours = numpy(RandomTransform(["rotation", "shear", "shift"], 3).transform(x, seeds))
    angle = np.radians(20) * (2 * units("rotation", seeds)[:, 0] - 1)
    shear = 0.2 * (2 * units("shear", seeds) - 1)
    shift = 0.125 * (2 * units("shift", seeds) - 1)
    for image, y, a, k, t in zip(x, ours, angle, shear, shift, strict=True):
        rotation = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        linear = rotation @ np.array([[1, k[1]], [k[0], 1]])
        np.testing.assert_allclose(y, affine(image, linear, t[:2]), atol=0.05)


def test_colours_compose_in_the_documented_order():
    x, seeds = draw((4, 5, 5, 3), low=0, high=255), np.arange(9, 13, dtype="int32")
    names = ["brightness", "contrast", "grayscale", "invert"]
    ours = numpy(RandomTransform(names[::-1], 4, STRENGTH).transform(x, seeds))
    expected = x.astype("float64")
    for name in names:
        rows = units(name, seeds)
        expected = np.stack(
            [
                ORACLES[name](image, STRENGTH * u, STRENGTH * (2 * u - 1), u, int(seed))
                for image, u, seed in zip(expected, rows, seeds, strict=True)
            ]
        )
    np.testing.assert_allclose(ours, expected, atol=0.01)


@pytest.mark.parametrize("name", ["standard", "heavy", "modern"])
def test_channels_first_equals_channels_last(name):
    x = draw((4, 8, 6, 3), low=0, high=255)
    last = numpy(RandomTransform(name).transform(x, 3))
    first = numpy(RandomTransform(name, data_format="channels_first").transform(np.moveaxis(x, -1, 1), 3))
    np.testing.assert_array_equal(np.moveaxis(first, 1, -1), last)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["light", "standard", "heavy"]),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 5])),
    st.sampled_from(["uint8", "float16", "float32"]),
    st.sampled_from(["float32", "mixed_float16", "mixed_bfloat16"]),
    st.integers(0, 2**31 - 1),
)
def test_any_shape_and_dtype(name, shape, dtype, policy, seed):
    """Finite, and the same alone as in a batch."""
    x = draw((2, *shape), "float32", 0, 255).astype(dtype)
    layer = RandomTransform(name, dtype=policy)
    seeds = np.int32([seed, seed // 2])
    y = layer.transform(x, seeds)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    assert tuple(y.shape) == x.shape and np.isfinite(numpy(y)).all()
    alone = numpy(layer.transform(x[1], seeds[1:]))
    np.testing.assert_allclose(alone, numpy(y)[1], rtol=1e-2 if "mixed" in policy else 1e-5, atol=1e-2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_image(value):
    x = draw((6, 6, 6, 3), low=0, high=255)
    bad = x.copy()
    bad[2, 3, 3] = value
    layer = RandomTransform("heavy")
    clean, dirty = numpy(layer.transform(x, 5)), numpy(layer.transform(bad, 5))
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(clean[others], dirty[others])
    np.testing.assert_array_equal(numpy(RandomTransform(["blur"], 0).transform(bad, 5)), bad)


@pytest.mark.parametrize("name", PIPELINES)
def test_empty_batch_one_image_and_grey(name):
    layer = RandomTransform(name, seed=1)
    assert layer(np.zeros((0, 4, 4, 3), "uint8")).shape == (0, 4, 4, 3)
    assert layer(np.zeros((5, 4, 3), "uint8")).shape == (5, 4, 3)
    grey_images = numpy(layer(draw((4, 8, 8, 1), low=0, high=255)))
    assert grey_images.shape == (4, 8, 8, 1) and np.isfinite(grey_images).all()


def test_names_for_colour_are_not_drawn_for_grey_images():
    layer = RandomTransform(["saturation", "whitening", "blur"], 2)
    assert list(layer.draw(np.arange(5, dtype="int32"), 1).entries) == ["blur"]
    assert list(layer.draw(np.arange(5, dtype="int32"), 2).entries) == ["whitening", "blur"]
    with pytest.raises(ValueError, match="three channels for saturation, grayscale"):
        RandomTransform(["saturation", "grayscale"]).transform(np.zeros((1, 4, 4, 1), "float32"), 1)


def test_value_range():
    """The same images in 0-1 give the same results in 0-1."""
    x = draw((6, 8, 8, 3), low=0, high=255)
    options = {"always": ["posterize", "solarize", "cutout", "fancy_pca", "gaussian_noise"], "count": 2}
    names = ["brightness", "colour_shift", "whitening", "salt_and_pepper", "pixel_dropout", "invert"]
    wide = numpy(RandomTransform(names, **options).transform(x, 1))
    unit = numpy(RandomTransform(names, value_range=(0, 1), **options).transform(x / 255, 1))
    assert (np.abs(unit * 255 - wide) > 0.05).mean() < 0.01  # a value that rounds or turns the other way


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_draw_their_count(name):
    layer, pipeline = RandomTransform(name), PIPELINES[name]
    assert layer.count == pipeline.count
    assert len(layer.transforms) == len(pipeline.transforms) and len(layer.always) == len(pipeline.always)
    assert (chosen(layer, 100).sum(1) == pipeline.count + len(pipeline.always)).all()
    assert f"| {name} |" in RandomTransform.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_names_are_documented(name):
    assert f"    | {name} |" in RandomTransform.__doc__


class Doubled(keras.layers.Layer):
    def call(self, images):
        return 2 * images


class Cropped(keras.layers.Layer):
    def call(self, images):
        return images[:, 1:]


def test_our_layers_inside_draw_by_image():
    x, seeds = draw((5, 6, 6, 3), low=0, high=255), np.arange(5, dtype="int32")
    inner = FancyPCA(std=0.3)
    y = numpy(RandomTransform([inner], 1).transform(x, seeds))
    np.testing.assert_allclose(y, numpy(inner.transform(x, draws.fold(seeds, 1000))), atol=1e-3)
    nested = RandomTransform([RandomTransform("standard"), RandomAffine(shift=0.1)], 1)
    together, alone = numpy(nested.transform(x, seeds)), numpy(nested.transform(x[3:4], seeds[3:4]))
    np.testing.assert_allclose(together[3:4], alone, atol=1e-3)


def test_a_layer_is_applied_to_the_chosen_images():
    x = draw((30, 4, 4, 3), low=1, high=255)
    layer = RandomTransform([Doubled(), "shift"], 1)
    y = numpy(layer.transform(x, 1))
    picked = keras.ops.convert_to_numpy(layer.draw(draws.image_seeds(1, 30), 3).chosen("1000"))
    assert 5 < picked.sum() < 25
    np.testing.assert_array_equal(y[picked], 2 * x[picked])
    with pytest.raises(ValueError, match="Cropped to keep the images' shape"):
        RandomTransform([Cropped()]).transform(x, 1)


KERAS_LAYERS = {
    "RandomHue": lambda: keras.layers.RandomHue(0.5, seed=1),
    "RandomErasing": lambda: keras.layers.RandomErasing(1.0, seed=1),
    "RandomRotation": lambda: keras.layers.RandomRotation(0.2),
    "RandomColorJitter": lambda: keras.layers.RandomColorJitter((0, 255), 0.5, 0.5),
    "GaussianNoise": lambda: keras.layers.GaussianNoise(0.9),
    "Sequential": lambda: keras.Sequential([keras.layers.RandomBrightness(0.3), keras.layers.RandomFlip()]),
}


@pytest.mark.parametrize("name", KERAS_LAYERS)
def test_keras_layers_are_functions_of_the_seeds(name):
    """Whatever their own seeds and history: another object, called before, gives the same for the same seeds."""
    x, seeds = draw((6, 8, 8, 3), low=0, high=255), np.arange(6, dtype="int32")
    one, other = (RandomTransform([KERAS_LAYERS[name]()], 1) for _ in range(2))
    other(x)
    first = numpy(one.transform(x, seeds))
    np.testing.assert_array_equal(first, numpy(other.transform(x, seeds)))
    np.testing.assert_array_equal(first, numpy(one.transform(x, seeds)))
    assert (first != numpy(one.transform(x, seeds + 6))).any()
    assert np.abs(first - x).max() > 0
    # and by itself the layer goes on as ever
    inner = one.transforms[0][0]
    states = [keras.ops.convert_to_numpy(v) for v in inner.variables]
    assert all((state.ravel()[1:] == 0).all() for state in states), "its own generators have not moved"
    assert (numpy(inner(x, training=True)) != numpy(inner(x, training=True))).any()


@pytest.mark.skipif(not TENSORFLOW, reason="JAX compiles in check_layer's own test")
def test_without_geometry_it_compiles():
    import tensorflow as tf

    layer = RandomTransform([name for name in BUILT_IN[6:] if name not in ("posterize", "solarize")], 4)
    x, seeds = draw((4, 8, 8, 3), low=0, high=255), np.arange(4, dtype="int32")
    assert layer.supports_jit and not RandomTransform("light").supports_jit
    compiled = tf.function(layer.transform, jit_compile=True)(tf.constant(x), tf.constant(seeds))
    np.testing.assert_allclose(numpy(compiled), numpy(layer.transform(x, seeds)), atol=1e-2)


@pytest.mark.skipif(not TENSORFLOW, reason="tf.data is TensorFlow's")
def test_keras_layers_in_a_parallel_map():
    """A seeded Keras layer differs from run to run there; inside ours it does not."""
    import tensorflow as tf

    x = draw((32, 8, 8, 3), low=0, high=255)
    layer = RandomTransform(["rotation", keras.layers.RandomBrightness(0.5), keras.layers.RandomErasing(1.0)], 2)
    seeds = np.arange(32, dtype="int32")
    dataset = tf.data.Dataset.from_tensor_slices((x, seeds)).batch(4)
    runs = [
        np.concatenate(list(dataset.map(layer.transform, num_parallel_calls=8).as_numpy_iterator())) for _ in range(2)
    ]
    np.testing.assert_array_equal(*runs)
    eager = np.concatenate([numpy(layer.transform(x[i : i + 4], seeds[i : i + 4])) for i in range(0, 32, 4)])
    np.testing.assert_allclose(runs[0], eager, atol=1e-2)


def test_modern_is_keras_s_layers():
    x, seeds = draw((4, 8, 8, 3), low=0, high=255), np.arange(4, dtype="int32")
    layer = RandomTransform("modern")
    assert [type(inner).__name__ for inner in layer._foreign.values()] == ["RandAugment", "RandomErasing"]
    y = numpy(layer.transform(x, seeds))
    np.testing.assert_array_equal(y, numpy(RandomTransform("modern").transform(x, seeds)))
    assert y.min() >= 0 and y.max() <= 255.01 and np.abs(y - x).max() > 10


def test_config_holds_layers_and_spells_out_pipelines(fresh_process, tmp_path):
    layer = RandomTransform(
        ["blur", ("shift", 0.5), keras.layers.RandomHue(0.1, seed=3), FancyPCA(std=0.2)], 3, always=["flip"], seed=4
    )
    config = json.loads(json.dumps(layer.get_config()))
    assert config["transforms"][:2] == ["blur", ["shift", 0.5]] and config["always"] == ["flip"]
    again = RandomTransform.from_config(config)
    x = draw((4, 6, 6, 3), low=0, high=255)
    np.testing.assert_array_equal(numpy(again.transform(x, 1)), numpy(layer.transform(x, 1)))
    inputs = keras.Input((6, 6, 3))
    outputs, configs = fresh_process.predict(keras.Model(inputs, layer(inputs)), x, tmp_path)
    np.testing.assert_array_equal(outputs, x)
    assert len(configs[0]["transforms"]) == 4
    assert len(RandomTransform("heavy").get_config()["transforms"]) == len(PIPELINES["heavy"].transforms)


def test_trains_inside_a_model():
    """With Keras's layers and ours, in the model, compiled as Keras would."""
    inputs = keras.Input((8, 8, 3))
    x = RandomTransform(["contrast", "cutout", keras.layers.RandomBrightness(0.1)], seed=1)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    model.compile("adam", "mse")
    images = draw((16, 8, 8, 3), low=0, high=1)
    history = model.fit(images, np.ones((16, 2)), epochs=2, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
