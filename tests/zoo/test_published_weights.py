"""Weights that others trained and published, put into our networks, must recognize what they recognized elsewhere."""

import json

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from convcraft import zoo
from convcraft.zoo import Design


@pytest.fixture(scope="module")
def squeezenet(shared):
    """SqueezeNet 1.1 with the authors' ImageNet weights, in Caffe's order and colours."""
    source = shared / "weights/squeezenet_v1.1/squeezenet_v1.1_from_ncnn_fp16.npz"
    return zoo.convert("squeezenet1_1", source, input_shape=(227, 227, 3))


@pytest.fixture(scope="module")
def imagenet(shared):
    """One image of every tenth class: crops of 227 pixels, and the classes' numbers."""
    files = sorted((shared / "data/imagenet_sample").glob("*.JPEG"))
    assert len(files) == 100
    crops = []
    for file in files:
        image = np.asarray(Image.open(file).convert("RGB"))
        assert min(image.shape[:2]) == 256
        top, left = ((size - 227) // 2 for size in image.shape[:2])
        crops.append(image[top : top + 227, left : left + 227])
    return np.stack(crops), np.arange(0, 1000, 10)


def hits(model, images, labels):
    """How many are recognized, at first and within five guesses."""
    guesses = np.argsort(-model.predict(images, batch_size=25, verbose=0), axis=1)[:, :5]
    return (guesses[:, 0] == labels).sum(), (guesses == labels[:, None]).any(axis=1).sum()


def test_squeezenet_recognizes_imagenet(squeezenet, imagenet):
    # another implementation of the same weights: 66 and 86
    top1, top5 = hits(squeezenet, *imagenet)
    print(f"SqueezeNet 1.1 on 100 ImageNet images: top-1 {top1}, top-5 {top5}")
    assert 64 <= top1 <= 68 and 84 <= top5 <= 88


@pytest.mark.parametrize("harm", ["one kernel permuted", "colours reversed"])
def test_the_check_on_imagenet_has_teeth(squeezenet, imagenet, harm):
    layer = squeezenet.get_layer("fire4_expand3x3" if harm == "one kernel permuted" else "stem")
    kernel, bias = layer.get_weights()
    harmed = kernel[..., np.random.default_rng(0).permutation(kernel.shape[-1])]
    try:
        layer.set_weights([harmed if harm == "one kernel permuted" else kernel[:, :, ::-1], bias])
        top1, top5 = hits(squeezenet, *imagenet)
    finally:
        layer.set_weights([kernel, bias])
    assert top1 < 64 and top5 < 84


def test_keras_file_of_squeezenet_has_the_same_features(squeezenet, imagenet, shared):
    """Written by an early Keras, without a classifier; the arrays beside it are in half precision."""
    source = shared / "weights/squeezenet_v1.1/squeezenet_v1.1_keras_tf_notop.h5"
    body = zoo.create("squeezenet1_1", input_shape=(227, 227, 3), head="none")
    report = zoo.load_weights(body, source)
    assert len(report.loaded) == 25 and not report.skipped and not report.reinitialized
    images = imagenet[0][:20]
    layer = squeezenet.get_layer("fire9_concat").output
    expected = keras.Model(squeezenet.input, keras.layers.GlobalAveragePooling2D()(layer)).predict(images, verbose=0)
    found = body.predict(images, verbose=0)
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    print(f"SqueezeNet's features from Keras's file: largest relative difference {difference:.1e}")
    assert difference < 1e-2
    kernel, bias = body.get_layer("stem").get_weights()
    body.get_layer("stem").set_weights([kernel[:, :, ::-1], bias])
    assert np.abs(body.predict(images, verbose=0) - expected).max() / np.abs(expected).max() > 0.1
    # with a classifier, it is new, and said to be
    assert zoo.load_weights(zoo.create("squeezenet1_1", classes=5), source).reinitialized == ("head",)


@pytest.fixture(scope="module")
def resnet(shared):
    """ResNet-20 with akamaster's CIFAR-10 weights; images are standardized as there."""
    return zoo.convert("resnet20_cifar", shared / "weights/cifar_resnet20/resnet20_float32.npz")


def accuracy(model, shared, batches):
    rows = [np.asarray(Image.open(shared / f"data/cifar10/cifar10_batch_{k}.png")) for k in range(batches)]
    images = np.concatenate([row.reshape(-1, 32, 32, 3) for row in rows])
    labels = np.load(shared / "data/cifar10/jpegq75_train.npz")["labels"][: len(images)]
    found = (model.predict(images, batch_size=250, verbose=0).argmax(axis=1) == labels).mean()
    print(f"ResNet-20 on {len(images)} CIFAR-10 training images: {found:.2%}")
    return found


@pytest.mark.parametrize("batches", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_resnet_recognizes_cifar(resnet, shared, batches):
    assert accuracy(resnet, shared, batches) >= 0.99


@pytest.mark.parametrize("harm", ["one kernel permuted", "scaled 255 times", "kernels flipped"])
def test_the_check_on_cifar_has_teeth(resnet, shared, harm):
    layer, first = resnet.get_layer("stage2_block1_conv2"), resnet.get_layer("preprocess")
    weights, scale, offset = layer.get_weights(), first.scale, first.offset
    try:
        if harm == "one kernel permuted":
            layer.set_weights([weights[0][..., np.random.default_rng(0).permutation(32)]])
        elif harm == "kernels flipped":
            layer.set_weights([weights[0][::-1, ::-1]])
        else:  # as though images were expected from 0 to 1
            first.scale, first.offset = [255 * s for s in scale], offset
        resnet.predict_function = None  # the layer's numbers are part of the compiled function
        assert accuracy(resnet, shared, 1) < 0.97
    finally:
        layer.set_weights(weights)
        first.scale, first.offset = scale, offset
        resnet.predict_function = None


class OldDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """As Keras 2.4 wrote it: with an argument that this Keras refuses."""

    def __init__(self, *, groups=1, **kwargs):
        super().__init__(**kwargs)


@pytest.fixture
def wake_words(shared):
    """The path of MLPerf Tiny's MobileNet for visual wake words, and the model as Keras itself loads it."""
    path = shared / "weights/mlperf_tiny/mobilenetv1_0.25_vww_96.h5"
    own = {"DepthwiseConv2D": OldDepthwiseConv2D}
    return path, keras.models.load_model(path, custom_objects=own, compile=False)


def test_mobilenet_of_mlperf(wake_words):
    """Convolutions with biases before normalizations, ReLU, images divided by 255: the same probabilities in ours."""
    path, theirs = wake_words
    design = Design(width=0.25, activation="relu")
    ours = zoo.create("mobilenet_v1", classes=2, input_shape=(96, 96, 3), design=design)
    zoo.convert(ours, path, mean=(0, 0, 0), std=(255, 255, 255))
    tiles = np.random.default_rng(0).uniform(0, 255, (8, 12, 12, 3)).repeat(8, 1).repeat(8, 2).astype("float32")
    expected = theirs.predict(tiles / 255, verbose=0)
    assert expected[:, 0].std() > 0.02
    found = keras.ops.convert_to_numpy(keras.ops.softmax(ours.predict(tiles, verbose=0)))
    print(f"MobileNet 0.25 of MLPerf Tiny: largest difference {np.abs(found - expected).max():.1e}")
    np.testing.assert_allclose(found, expected, atol=1e-4)
    named = zoo.convert(
        "mobilenet_v1", path, input_shape=(96, 96, 3), design=design, mean=(0, 0, 0), std=(255, 255, 255)
    )
    assert named.output_shape == (None, 2), "by name, it has as many classes as the file"
    np.testing.assert_allclose(keras.ops.softmax(named.predict(tiles, verbose=0)), found, atol=1e-6)
    # padded on both sides alike, or with another activation, it is another network
    other = zoo.create("mobilenet_v1", classes=2, input_shape=(96, 96, 3), design=Design(width=0.25))
    zoo.convert(other, path, mean=(0, 0, 0), std=(255, 255, 255))
    assert np.abs(keras.ops.softmax(other.predict(tiles, verbose=0)) - expected).max() > 1e-2


def test_resnet8_of_mlperf_is_refused(shared):
    """Its convolutions pad at the end where they stride, and its projections are not normalized: ours do neither."""
    path = shared / "weights/mlperf_tiny/resnet8_cifar10_pretrainedResnet.h5"
    nearest = zoo.create("resnet20_cifar", shortcut="B", design=Design(depth=1))
    with pytest.raises(ValueError, match="resnet8_cifar10.* are not those of resnet20_cifar.*paddings"):
        zoo.load_weights(nearest, path)
    with h5py.File(path) as file:
        layers = [layer["config"] for layer in json.loads(file.attrs["model_config"])["config"]["layers"]]
        (names,) = [file["model_weights"].attrs["layer_names"]]
    strided = [layer for layer in layers if layer.get("strides") == [2, 2] and layer.get("kernel_size") == [3, 3]]
    assert len(strided) == 2 and {layer["padding"] for layer in strided} == {"same"}  # Keras's: at the end
    normalized = sum(b"batch_normalization" in bytes(name) for name in names)
    assert normalized == 7 < sum(layer.name.endswith("_norm") for layer in nearest.layers)
