"""VGG against keras.applications, weights copied in, and its tables."""

import keras
import numpy as np
import pytest
from harness import draw, numpy

from convcraft import zoo
from convcraft.zoo import Design

slow = pytest.mark.slow
# facts.md 10.1: without the biases that batch normalization makes superfluous
WITHOUT_BIAS = {
    "vgg11_bn": 132_866_088,
    "vgg13_bn": 133_050_792,
    "vgg16_bn": 138_361_768,
    "vgg19_bn": 143_672_744,
}


@pytest.fixture
def copied(randomize):
    """keras.applications' model with informative weights, and ours with the same."""

    def build(name, size):
        options = {"weights": None, "input_shape": (*size, 3), "classes": 7, "classifier_activation": None}
        theirs = randomize(getattr(keras.applications, name)(**options))
        ours = zoo.create(name, classes=7, input_shape=(*size, 3))
        sources = [layer for layer in theirs.layers if layer.weights]
        targets = [layer for layer in ours.layers if layer.weights]
        for source, target in zip(sources, targets, strict=True):
            target.set_weights(source.get_weights())
        kernel, bias = sources[0].get_weights()
        targets[0].set_weights([kernel[:, :, ::-1], bias])  # their images are BGR
        return theirs, ours

    return build


def difference(theirs, ours, size):
    """Largest difference of the logits of four images, in parts of the largest logit."""
    x = draw((4, *size, 3), low=0, high=255)
    expected = theirs.predict(keras.applications.vgg16.preprocess_input(x.copy()), verbose=0)
    assert np.abs(expected - expected.mean(0)).max() > 1e-2 * np.abs(expected).max(), "the images look alike"
    return np.abs(ours.predict(x, verbose=0) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(
    "name, size",
    [
        ("VGG16", (32, 65)),
        *(pytest.param(n, s, marks=slow) for n in ("VGG16", "VGG19") for s in ((224, 224), (150, 101))),
    ],
)
def test_the_network_is_that_of_keras_applications(name, size, copied):
    theirs, ours = copied(name, size)
    found = difference(theirs, ours, size)
    print(f"{name} at {size}: {found:.1e}")
    assert found <= 1e-4
    for layer in ("stage1_conv2", "stage4_conv3")[-1 if size[0] < 99 else 0 :]:
        kernel, bias = ours.get_layer(layer).get_weights()
        permuted = kernel[..., np.random.default_rng(0).permutation(kernel.shape[-1])]
        ours.get_layer(layer).set_weights([permuted, bias])
        assert difference(theirs, ours, size) > 1e-2
        ours.get_layer(layer).set_weights([kernel, bias])


@slow
@pytest.mark.parametrize("name", WITHOUT_BIAS)
def test_counts_without_biases(name):
    model = zoo.create(name, conv_bias=False)
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == WITHOUT_BIAS[name]


def test_small_forms_of_any_depth():
    """facts.md 10.3: 14,728,266 with the rows of VGG-16, 9,416,010 with those of VGG-13."""
    model = zoo.create("vgg_cifar", design=Design(depth=2))
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == 9_416_010
    biased = [layer.use_bias for layer in zoo.create("vgg_cifar", conv_bias=False).layers if hasattr(layer, "groups")]
    assert len(biased) == 13 and not any(biased)


@slow
def test_multiply_adds_of_vgg16():
    assert zoo.info("vgg16").multiply_adds == pytest.approx(15.47e9, rel=0.01)  # torchvision


def test_layer_names():
    """Weights are found by these names: a change breaks files that users have."""
    model = zoo.create("vgg16_bn", input_shape=(32, 32, 3), design=Design(width=0.1))
    convolutions = [f"stage{stage}_conv{number}" for stage in range(1, 6) for number in range(1, 3 + (stage > 2))]
    expected = [name for conv in ["stem", *convolutions[1:]] for name in (conv, f"{conv}_norm")]
    expected += ["head_dense1", "head_dense2", "head"]
    assert [layer.name for layer in model.layers if layer.weights] == expected


def test_widths_by_schedule():
    def widths(**knobs):
        model = zoo.create("vgg_cifar", head="none", design=Design(width=0.25, **knobs))
        return [model.get_layer(f"stage{row}_conv2").filters for row in range(1, 6)]

    assert widths() == widths(width_schedule="pyramid") == [16, 32, 64, 128, 128]
    assert widths(width_schedule="inverse") == [128, 128, 64, 32, 16]
    assert widths(width_schedule="flat") == [74] * 5  # a quarter of the mean


def test_images_below_the_documented_size_are_refused_where_the_size_is_open():
    free = zoo.create("vgg11", classes=3, input_shape=(None, None, 3), design=Design(width=0.1))
    assert free.get_layer("head_dense1").kernel_size == (7, 7)
    with pytest.raises(ValueError, match="SlidingDense: expected features of at least 7x7"):
        free(draw((1, 223, 240, 3)))
    assert np.isfinite(numpy(free(draw((1, 224, 256, 3), low=0, high=255)))).all()
