"""What recipes bring of their own: beginnings, scenes, noise."""

import keras
import numpy as np
import pytest

from convcraft import layers, zoo
from convcraft.recipes import ensemble_cifar10, fast_cifar10, noisy_labels_mnist, segment_shapes
from convcraft.training import adapt


class TestFast:
    def test_dirac_passes_each_channel_through(self):
        kernel = fast_cifar10.dirac(np.random.default_rng(0).normal(size=(3, 3, 4, 6)).astype("float32"))
        layer = keras.layers.Conv2D(6, 3, padding="same", use_bias=False)
        layer.build((None, 5, 5, 4))
        layer.set_weights([kernel])
        x = np.random.default_rng(1).normal(size=(2, 5, 5, 4)).astype("float32")
        y = keras.ops.convert_to_numpy(layer(x))
        np.testing.assert_allclose(y[..., :4], x, rtol=1e-6)
        assert np.abs(y[..., 4:]).max() > 0.1, "the others are as they were drawn"
        assert np.array_equal(fast_cifar10.dirac(np.ones((3, 3, 6, 4)))[1, 1], np.eye(6, 4))

    def test_the_first_layer_whitens_patches_of_the_images(self):
        config = fast_cifar10.Config(data="digits", width=0.25)
        images = fast_cifar10.data(config)
        net = fast_cifar10.model(config, images)
        layer = next(layer for layer in net.layers if isinstance(layer, layers.Whitening))
        assert adapt.to_data(net, images).layers == [layer.name]
        patches = keras.Model(net.input, layer.output).predict(images.arrays("train")[0][:300], verbose=0)
        spread = np.cov(patches.reshape(-1, 4).T)
        np.testing.assert_allclose(spread, np.diag(np.diag(spread)), atol=0.05)  # the statistics of a sample of images
        np.testing.assert_allclose(np.diag(spread)[:2], 1, atol=0.1)  # eps dampens what has next to no variance
        assert zoo.class_names(net) == images.class_names

    def test_digits_are_not_mirrored(self):
        assert not fast_cifar10.data(fast_cifar10.Config(data="digits")).alternate_flip


class TestScenes:
    def test_shapes_are_of_one_size_and_where_they_should_be(self):
        y, x = np.mgrid[:200, :200] - 99.5
        areas = [segment_shapes.shape(kind, x, y, 50, angle).sum() for kind in (1, 2, 3) for angle in (0.0, 0.7)]
        assert areas[:2] == [pytest.approx(np.pi * 50**2, rel=0.01)] * 2
        assert areas[2:4] == [pytest.approx(np.pi * 50**2, rel=0.05)] * 2
        assert areas[4:] == [pytest.approx(np.pi * 50**2, rel=0.05)] * 2
        square = segment_shapes.shape(2, x, y, 50, 0.0)
        side = 2 * 0.89 * 50
        assert square.any(0).sum() == pytest.approx(side, abs=1.5) and square.any(1).sum() == pytest.approx(
            side, abs=1.5
        )
        triangle = segment_shapes.shape(3, x, y, 50, 0.0)  # a height of three times the distance of its sides
        assert triangle.any(0).sum() == pytest.approx(3 * 0.78 * 50, abs=1.5)

    def test_masks_say_where_the_picture_differs_from_its_background(self):
        images, masks = segment_shapes.scenes(60, 48)
        assert set(np.unique(masks)) == {0, 1, 2, 3} and images.dtype == np.uint8
        again = segment_shapes.scenes(60, 48)
        assert np.array_equal(images, again[0]) and np.array_equal(masks, again[1])
        # within a shape a colour varies by its noise alone; over the background by its gradient as well
        for kind in (1, 2, 3):
            spreads = [image[mask == kind].std(axis=0).mean() for image, mask in zip(images, masks, strict=True)
                       if 50 < (mask == kind).sum() < 200]  # fmt: skip
            assert np.median(spreads) < 26

    def test_other_data_are_refused(self):
        with pytest.raises(ValueError, match="data to be scenes"):
            segment_shapes.data(segment_shapes.Config(data="cifar10"))

    @pytest.mark.parametrize("network", ["water_unet", "fcn8s"])
    def test_both_networks_answer_with_a_map(self, network):
        config = segment_shapes.Config(
            network=network, images=20, image_size=32, width=0.1 if network[0] == "f" else 0.5
        )
        images = segment_shapes.data(config)
        net = segment_shapes.model(config, images)
        assert net.output_shape == (None, 32, 32, 4) and zoo.class_names(net) == segment_shapes.CLASSES


def test_labels_are_wrong_to_train_on_and_right_to_test():
    config = noisy_labels_mnist.Config(data="digits", noise=0.4)
    noisy, clean = noisy_labels_mnist.data(config), noisy_labels_mnist.training.load(config)
    wrong = {split: (noisy.arrays(split)[1] != clean.arrays(split)[1]).mean() for split in ("train", "val", "test")}
    assert wrong == {"train": pytest.approx(0.4, abs=0.01), "val": pytest.approx(0.4, abs=0.01), "test": 0}
    with pytest.raises(ValueError, match="plain, soft or hard; received 'mild'"):
        noisy_labels_mnist.loss(noisy_labels_mnist.Config(loss="mild"))


def test_snapshots_follow_a_rate_that_restarts(tmp_path):
    config = ensemble_cifar10.Config(data="digits", epochs=6, members=3, image_size=16, strategy="none")
    run = ensemble_cifar10.training.Run(tmp_path, config, "r", "c")
    images = ensemble_cifar10.data(config)
    net = ensemble_cifar10.compiled(config, run, images, cycles=3)
    rate = net.optimizer._learning_rate
    steps = images.feed("train").steps * 2
    rates = [float(rate(step)) for step in (0, steps // 2, steps - 1, steps, 2 * steps - 1, 2 * steps)]
    assert rates[0] == rates[3] == rates[5] == pytest.approx(0.1)
    assert rates[1] == pytest.approx(0.05, rel=0.1) and max(rates[2], rates[4]) < 0.005
