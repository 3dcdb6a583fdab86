"""MixUp and CutMix by what they must leave true: labels are the shares of what is in the image."""

import json

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, numpy

from convcraft.layers import MixUpCutMix

N = 16
# image i is i everywhere, so that each pixel says whose it is
IMAGES = np.broadcast_to(np.arange(N, dtype="float32")[:, None, None, None], (N, 32, 32, 1)).copy()
LABELS = np.arange(N, dtype="int32")


def mixed(seed=3, **options):
    images, labels = MixUpCutMix(classes=N, **options).transform(IMAGES, LABELS, seed)
    return numpy(images), numpy(labels)


@pytest.mark.parametrize("seed", range(4))
def test_mixup_blends_images_as_labels(seed):
    images, labels = mixed(seed, cutmix=0, mixup=1)
    assert (images == images[:, :1, :1]).all()
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(images[:, 0, 0, 0], labels @ np.arange(N), atol=1e-3)
    assert ((labels > 0.01).sum(1) == 2).any()


@pytest.mark.parametrize("seed", range(4))
def test_cutmix_labels_are_the_shares_of_pixels(seed):
    images, labels = mixed(seed, mixup=0)
    shares = np.stack([(images[..., 0] == k).mean((1, 2)) for k in range(N)], axis=1)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(labels, shares, atol=0.07)  # a row and a column, where the box ends within pixels
    assert ((shares > 0.05).sum(1) == 2).any()


def test_each_batch_draws_one_of_the_two():
    layer = MixUpCutMix(classes=N, mixup=1)
    flat = []
    for seed in range(60):
        images = numpy(layer.transform(IMAGES, LABELS, seed)[0])
        flat.append((images == images[:, :1, :1]).all())
    assert 12 < sum(flat) < 48  # 30 expected; 4.6 standard deviations


def test_a_function_of_the_seed():
    one, other = mixed(5), mixed(5)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert (mixed(6)[0] != one[0]).any()
    by_tensor = MixUpCutMix(classes=N).transform(IMAGES, LABELS, keras.ops.convert_to_tensor(5))
    np.testing.assert_array_equal(numpy(by_tensor[0]), one[0])
    a, b = MixUpCutMix(classes=N, seed=1), MixUpCutMix(classes=N, seed=1)
    first = numpy(a(IMAGES, LABELS)[0])
    np.testing.assert_array_equal(first, numpy(b(IMAGES, LABELS)[0]))
    assert (first != numpy(a(IMAGES, LABELS)[0])).any()


def test_one_hot_and_integer_labels_and_dtypes():
    hot = np.eye(N, dtype="float32")
    np.testing.assert_array_equal(numpy(MixUpCutMix().transform(IMAGES, hot, 3)[1]), mixed()[1])
    images, labels = MixUpCutMix(classes=N, dtype="mixed_float16")(IMAGES.astype("uint8"), LABELS)
    assert keras.backend.standardize_dtype(images.dtype) == "float16"
    assert keras.backend.standardize_dtype(labels.dtype) == "float32"
    images, labels = MixUpCutMix(classes=N)(IMAGES, LABELS, training=False)
    np.testing.assert_array_equal(numpy(images), IMAGES)
    np.testing.assert_array_equal(numpy(labels), hot)


def test_channels_first():
    first = MixUpCutMix(classes=N, mixup=0, data_format="channels_first")
    images, _ = first.transform(np.moveaxis(IMAGES, -1, 1), LABELS, 2)
    np.testing.assert_array_equal(np.moveaxis(numpy(images), 1, -1), mixed(2, mixup=0)[0])


def test_config():
    layer = MixUpCutMix(classes=5, mixup=0.3, cutmix=0.5, seed=2)
    again = MixUpCutMix.from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()
    assert tuple(layer.compute_output_shape((2, 4, 4, 3), (2,))[1]) == (2, 5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"classes": 1}, "classes"),
        ({"mixup": 2}, "mixup within"),
        ({"cutmix": -1}, "cutmix within"),
        ({"mixup": 0, "cutmix": 0}, "0 for both"),
        ({"data_format": "x"}, "data_format"),
        ({"seed": "a"}, "seed"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MixUpCutMix(**arguments)
    if arguments == {"classes": 1}:
        with pytest.raises(ValueError, match="one-hot labels"):
            MixUpCutMix()(IMAGES, LABELS)
        with pytest.raises(ValueError, match="batch of images"):
            MixUpCutMix(classes=N)(IMAGES[0], LABELS)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.data is TensorFlow's")
def test_in_a_pipeline_and_fit():
    import tensorflow as tf

    x, y = draw((40, 8, 8, 3), low=0, high=255), np.arange(40) % 4
    mix = MixUpCutMix(classes=4, seed=1)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    images, labels = next(iter(dataset.map(mix)))
    assert images.shape == (8, 8, 8, 3) and labels.shape == (8, 4)
    by_step = dataset.enumerate().map(lambda step, pair: mix.transform(*pair, step), num_parallel_calls=4)
    runs = [np.concatenate([labels.numpy() for _, labels in by_step]) for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    assert (runs[0][:8] != runs[0][8:16]).any()
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    plain = dataset.map(lambda *pair: mix(*pair, training=False))
    history = model.fit(dataset.map(mix), validation_data=plain, epochs=1, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()


def test_empty_batch():
    images, labels = MixUpCutMix(classes=N, seed=1)(IMAGES[:0], LABELS[:0])
    assert tuple(images.shape) == IMAGES[:0].shape and tuple(labels.shape) == (0, N)
